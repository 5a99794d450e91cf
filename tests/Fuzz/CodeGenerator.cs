using Emulator.Tests.Guests;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Fuzz;

/// <summary>Code that nobody would write: random bytes, opcodes with random operands, pieces of real programs with bits turned over, and code that changes itself.</summary>
internal sealed class CodeGenerator(int seed)
{
    private static readonly byte[] RealCode = File.ReadAllBytes(GuestPrograms.Guest("floating").Program)[0x1000..0x3000];
    private static readonly byte[] Prefixes = [0x66, 0xF2, 0xF3, 0xF0, 0x2E, 0x64, 0x65, 0x67, 0x40, 0x48, 0x4F, 0x41, 0x44];

    public Random Random { get; } = new(seed);

    /// <summary>Bytes of one of the kinds.</summary>
    public byte[] Next(int length)
    {
        byte[] code = new byte[length];
        switch (Random.Next(4))
        {
            case 0:
                Random.NextBytes(code);
                break;
            case 1:
                RealCode.AsSpan(Random.Next(RealCode.Length - length), length).CopyTo(code);
                for (int flips = Random.Next(1, 12); flips > 0; flips--)
                    code[Random.Next(length)] ^= (byte)(1 << Random.Next(8));
                break;
            default:
                for (int at = 0; at < length;)
                    at += Instruction(code.AsSpan(at));
                break;
        }
        return code;
    }

    /// <summary>Prefixes, an opcode of one of the maps, and operands that mostly name memory which is there.</summary>
    private int Instruction(Span<byte> code)
    {
        Span<byte> made = stackalloc byte[24];
        int at = 0;
        for (int prefixes = Random.Next(6) switch { 0 => 3, 1 or 2 => 1, _ => 0 }; prefixes > 0; prefixes--)
            made[at++] = Prefixes[Random.Next(Prefixes.Length)];
        if (Random.Next(2) == 0)
        {
            made[at++] = 0x0F;
            if (Random.Next(4) == 0)
                made[at++] = Random.Next(2) == 0 ? (byte)0x38 : (byte)0x3A;
        }
        made[at++] = (byte)Random.Next(256);
        made[at++] = (byte)Random.Next(256);
        for (int operands = Random.Next(6); operands > 0; operands--)
            made[at++] = (byte)(Random.Next(3) == 0 ? Random.Next(256) : Random.Next(3) == 0 ? 0xFF : 0);
        int length = Math.Min(at, code.Length);
        made[..length].CopyTo(code);
        return length;
    }

    /// <summary>A loop whose instructions overwrite each other: stores into the code ahead and behind, copies over it, calls with the stack in it.</summary>
    /// <param name="address">Where it will lie.</param>
    /// <param name="room">Bytes of code memory from there on.</param>
    /// <param name="data">Memory beside it.</param>
    public byte[] SelfModifying(ulong address, int room, ulong data)
    {
        var a = new Assembler(64);
        AssemblerRegister64[] registers = [rax, rbx, rdx, rsi, rdi, r8, r9, r10];
        Label[] labels = [.. Enumerable.Range(0, 30).Select(_ => a.CreateLabel())];
        for (int i = 0; i < labels.Length; i++)
        {
            a.Label(ref labels[i]);
            AssemblerRegister64 register = registers[Random.Next(registers.Length)];
            ulong target = address + (ulong)Random.Next(Random.Next(2) == 0 ? 300 : room - 64);
            Label other = labels[Random.Next(labels.Length)];
            a.mov(rdi, target);
            switch (Random.Next(12))
            {
                case 0: a.mov(__byte_ptr[rdi], Random.Next(128)); break;
                case 1: a.mov(__qword_ptr[rdi], register); break;
                case 2: a.@lock.inc(__dword_ptr[rdi]); break;
                case 3: a.xchg(__qword_ptr[rdi], register); break;
                case 4: a.mov(__word_ptr[rdi], 0x9090); break;
                case 5:
                    a.lea(rsi, __[other]);
                    a.mov(ecx, Random.Next(40));
                    a.rep.movsb();
                    break;
                case 6:
                    a.mov(ecx, Random.Next(20));
                    a.mov(eax, 0x90);
                    a.rep.stosb();
                    break;
                case 7:
                    a.lea(rsp, __[rdi + 64]);
                    a.call(other);
                    break;
                case 8: a.movups(__[rdi], xmm0); break;
                case 9: a.jmp(other); break;
                case 10:
                    a.add(register, 1);
                    a.jnz(other);
                    break;
                default:
                    a.mov(rsp, data + 0x800);
                    a.mov(__qword_ptr[rsp], register);
                    a.@lock.cmpxchg(__qword_ptr[rdi], register);
                    break;
            }
        }
        a.jmp(labels[0]);
        using var code = new MemoryStream();
        a.Assemble(new StreamCodeWriter(code), address);
        return code.ToArray();
    }
}
