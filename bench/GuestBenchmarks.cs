using System.Buffers.Binary;
using BenchmarkDotNet.Attributes;
using Emulator.Hardware;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel;

namespace Emulator.Bench;

/// <summary>One instruction of small loops, and one access that misses the TLB.</summary>
[BenchmarkCategory("Quick")]
public unsafe class InterpreterBenchmarks : IDisposable
{
    private const int Rounds = 1 << 20, Pages = 1 << 12;
    private const ulong Code = 0x40_0000, Data = 0x80_0000;
    private const ulong Mixed = Code, Doubles = Code + 0x100, Calls = Code + 0x200, Misses = Code + 0x300;

    /// <summary>1: add rax,rcx; xor rdx,rax; mov [rdi],rax; mov rbx,[rdi+8]; dec rcx; jnz 1b; syscall.</summary>
    private static ReadOnlySpan<byte> MixedLoop => [0x48, 0x01, 0xC8, 0x48, 0x31, 0xC2, 0x48, 0x89, 0x07, 0x48, 0x8B, 0x5F, 0x08, 0x48, 0xFF, 0xC9, 0x75, 0xEE, 0x0F, 0x05];

    /// <summary>1: mulsd xmm0,xmm1; addsd xmm0,xmm2; movsd [rdi],xmm0; movsd xmm3,[rdi+8]; dec rcx; jnz 1b; syscall.</summary>
    private static ReadOnlySpan<byte> DoublesLoop =>
        [0xF2, 0x0F, 0x59, 0xC1, 0xF2, 0x0F, 0x58, 0xC2, 0xF2, 0x0F, 0x11, 0x07, 0xF2, 0x0F, 0x10, 0x5F, 0x08, 0x48, 0xFF, 0xC9, 0x75, 0xEA, 0x0F, 0x05];

    /// <summary>1: call 2f; dec rcx; jnz 1b; syscall; 2: ret.</summary>
    private static ReadOnlySpan<byte> CallsLoop => [0xE8, 0x07, 0, 0, 0, 0x48, 0xFF, 0xC9, 0x75, 0xF6, 0x0F, 0x05, 0xC3];

    /// <summary>1: imul eax,eax,1664525; add eax,1013904223; mov edx,eax; shr edx,20; shl edx,12; mov rbx,[rdi+rdx]; dec rcx; jnz 1b; syscall.</summary>
    private static ReadOnlySpan<byte> MissesLoop =>
        [0x69, 0xC0, 0x0D, 0x66, 0x19, 0, 0x05, 0x5F, 0xF3, 0x6E, 0x3C, 0x89, 0xC2, 0xC1, 0xEA, 0x14, 0xC1, 0xE2, 0x0C, 0x48, 0x8B, 0x1C, 0x17, 0x48, 0xFF, 0xC9, 0x75, 0xE4, 0x0F, 0x05];

    private Platform _platform = null!;
    private ulong _nextFrame = 1;

    [GlobalSetup]
    public void Load()
    {
        _platform = new Platform(new PhysicalMemory(1 << 26), 1, TlbGeometry.Default);
        Vcpu vcpu = _platform.Vcpus[0];
        vcpu.Enter();
        Span<byte> code = _platform.Memory.BytesOf(Map(Code));
        MixedLoop.CopyTo(code);
        DoublesLoop.CopyTo(code[(int)(Doubles - Code)..]);
        CallsLoop.CopyTo(code[(int)(Calls - Code)..]);
        MissesLoop.CopyTo(code[(int)(Misses - Code)..]);
        for (ulong page = 0; page < Pages; page++)
            Map(Data + page * Pfn.Size);
        VcpuRegisters* registers = &vcpu.State->Registers;
        registers->Reset();
        *(double*)vcpu.State->VectorRegister(1) = 0.75;
        *(double*)vcpu.State->VectorRegister(2) = 0.1;
        Mmu.LoadCr3(vcpu.State, new Pfn(0), 0, noFlush: false);
    }

    private Pfn Map(ulong address)
    {
        var table = (ulong*)_platform.Memory.Pointer(new Pfn(0));
        for (int level = PageTable.RootLevel; ; level--)
        {
            ref ulong entry = ref table[PageTable.Index(address, level)];
            if (entry == 0)
                entry = new Pfn(_nextFrame++).Address | (ulong)(Pte.Present | Pte.Writable | Pte.User);
            var next = new Pfn((entry & (ulong)Pte.Frame) >> Pfn.Shift);
            if (level == 0)
                return next;
            table = (ulong*)_platform.Memory.Pointer(next);
        }
    }

    /// <summary>Four instructions of registers, a load and a store.</summary>
    [Benchmark(OperationsPerInvoke = Rounds * 6)]
    public VcpuExit Instruction() => Run(Mixed);

    /// <summary>Two operations on doubles, their load and store, two of the loop.</summary>
    [Benchmark(OperationsPerInvoke = Rounds * 6)]
    public VcpuExit DoubleInstruction() => Run(Doubles);

    /// <summary>A call and its return.</summary>
    [Benchmark(OperationsPerInvoke = Rounds)]
    public VcpuExit CallAndReturn() => Run(Calls);

    /// <summary>A load from one of 4,096 pages: it nearly always misses the first level of the TLB, two times in three also the second.</summary>
    [Benchmark(OperationsPerInvoke = Rounds)]
    public VcpuExit Miss() => Run(Misses);

    private VcpuExit Run(ulong rip)
    {
        VcpuState* c = _platform.Vcpus[0].State;
        c->Registers.Rip = rip;
        c->Registers.Gpr[VcpuRegisters.Rcx] = Rounds;
        c->Registers.Gpr[VcpuRegisters.Rdi] = Data;
        c->Registers.Gpr[VcpuRegisters.Rsp] = Data + 0x800;
        c->Budget = long.MaxValue;
        return _platform.Vcpus[0].Run();
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _platform.Vcpus[0].Leave();
        _platform.Dispose();
        GC.SuppressFinalize(this);
    }
}

/// <summary>A system call that does nothing (getpid): the way into the kernel and back. A machine's whole life is in it, a small share.</summary>
[BenchmarkCategory("Quick")]
public class SyscallBenchmarks : IDisposable
{
    private const int Calls = 1 << 20;
    private const ulong Base = 0x40_0000, HeaderSize = 0x78;

    /// <summary>mov ebx,Calls; 1: mov eax,39; syscall; dec ebx; jnz 1b; mov eax,231; xor edi,edi; syscall.</summary>
    private static readonly byte[] Code = [0xBB, 0, 0, 0x10, 0, 0xB8, 39, 0, 0, 0, 0x0F, 0x05, 0xFF, 0xCB, 0x75, 0xF5, 0xB8, 231, 0, 0, 0, 0x31, 0xFF, 0x0F, 0x05];

    private readonly string _program = Path.Combine(Path.GetTempPath(), $"bench-{Guid.NewGuid():N}");

    /// <summary>One loadable segment, header and code.</summary>
    [GlobalSetup]
    public void Write()
    {
        byte[] image = new byte[(int)HeaderSize + Code.Length];
        Code.CopyTo(image, (int)HeaderSize);
        "\u007fELF\u0002\u0001\u0001"u8.CopyTo(image);
        Span<byte> header = image, segment = header[64..];
        BinaryPrimitives.WriteUInt16LittleEndian(header[16..], 2); // ET_EXEC
        BinaryPrimitives.WriteUInt16LittleEndian(header[18..], 62); // EM_X86_64
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], 1);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], Base + HeaderSize);
        BinaryPrimitives.WriteUInt64LittleEndian(header[32..], 64); // program headers
        BinaryPrimitives.WriteUInt16LittleEndian(header[52..], 64);
        BinaryPrimitives.WriteUInt16LittleEndian(header[54..], 56);
        BinaryPrimitives.WriteUInt16LittleEndian(header[56..], 1);
        BinaryPrimitives.WriteUInt32LittleEndian(segment, 1); // PT_LOAD
        BinaryPrimitives.WriteUInt32LittleEndian(segment[4..], 5); // R-X
        BinaryPrimitives.WriteUInt64LittleEndian(segment[16..], Base);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[32..], (ulong)image.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[40..], (ulong)image.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(segment[48..], 0x1000);
        File.WriteAllBytes(_program, image);
        if (OperatingSystem.IsLinux())
            File.SetUnixFileMode(_program, UnixFileMode.UserRead | UnixFileMode.UserExecute);
    }

    [Benchmark(OperationsPerInvoke = Calls)]
    public ExitStatus Getpid()
    {
        using var machine = new Machine(new MachineOptions { Stdin = -1, Stdout = -1, Stderr = -1 });
        ExitStatus status = machine.Run(_program, ["bench"u8.ToArray()], []);
        return status.Code == 0 && machine.SyscallCount > Calls ? status : throw new InvalidOperationException(status.ToString());
    }

    [GlobalCleanup]
    public void Dispose()
    {
        File.Delete(_program);
        GC.SuppressFinalize(this);
    }
}
