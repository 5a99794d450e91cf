using System.Buffers.Binary;
using Emulator.Kernel;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Tasks;

/// <summary>Programs of a few instructions, assembled here: one loadable segment at a fixed address, readable, writable and executable.</summary>
internal static class TinyGuest
{
    public const ulong Base = 0x40_0000;

    /// <summary>Where the assembled code begins.</summary>
    public const ulong Code = Base + HeaderSize;

    private const int HeaderSize = 0x78;
    private const int DataRoom = 0x1000;

    public static ExitStatus Run(MachineOptions options, Action<Assembler> program, Action<Machine>? inspect = null)
    {
        string path = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"tiny-{Guid.NewGuid():N}");
        File.WriteAllBytes(path, Build(program));
        try
        {
            if (OperatingSystem.IsLinux())
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            using var machine = new Machine(options with { Stdin = -1, Stdout = -1, Stderr = -1, LockDep = true, Check = true });
            ExitStatus status = machine.Run(path, ["tiny"u8.ToArray()], []);
            inspect?.Invoke(machine);
            Assert.That(machine.Violations.All, Is.Empty);
            return status;
        }
        finally
        {
            File.Delete(path);
        }
    }

    /// <summary>mov eax, number; the arguments; syscall.</summary>
    public static void Call(this Assembler a, int number, params long[] arguments)
    {
        AssemblerRegister64[] registers = [rdi, rsi, rdx, r10, r8, r9];
        for (int i = 0; i < arguments.Length; i++)
            a.mov(registers[i], arguments[i]);
        a.mov(eax, number);
        a.syscall();
    }

    private static byte[] Build(Action<Assembler> program)
    {
        var assembler = new Assembler(64);
        program(assembler);
        using var code = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(code), Code);
        byte[] image = new byte[HeaderSize + code.Length];
        code.ToArray().CopyTo(image, HeaderSize);
        "\u007fELF\u0002\u0001\u0001"u8.CopyTo(image);
        Span<byte> header = image;
        BinaryPrimitives.WriteUInt16LittleEndian(header[16..], 2); // ET_EXEC
        BinaryPrimitives.WriteUInt16LittleEndian(header[18..], 62); // EM_X86_64
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], 1);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], Code);
        BinaryPrimitives.WriteUInt64LittleEndian(header[32..], 64); // program headers
        BinaryPrimitives.WriteUInt16LittleEndian(header[52..], 64);
        BinaryPrimitives.WriteUInt16LittleEndian(header[54..], 56);
        BinaryPrimitives.WriteUInt16LittleEndian(header[56..], 1);
        Span<byte> segment = header[64..];
        BinaryPrimitives.WriteUInt32LittleEndian(segment, 1); // PT_LOAD
        BinaryPrimitives.WriteUInt32LittleEndian(segment[4..], 7); // RWX
        BinaryPrimitives.WriteUInt64LittleEndian(segment[16..], Base);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[24..], Base);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[32..], (ulong)image.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[40..], (ulong)image.Length + DataRoom);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[48..], 0x1000);
        return image;
    }
}
