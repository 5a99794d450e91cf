using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Emulator.Hardware.Memory;

namespace Emulator.Hardware.Cpu;

/// <summary>The x87 unit. MMX register <c>MMi</c> is the significand of physical register <c>i</c> (SDM vol. 1, 9.2).</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct X87State
{
    /// <summary>Eight physical registers, 16 bytes each: significand, then sign and exponent in the next two bytes.</summary>
    public fixed ulong Registers[16];
    public ushort Control;
    /// <summary>The status word; TOP is kept in bits 11 to 13 as in FSTSW.</summary>
    public ushort Status;
    /// <summary>One bit for each physical register: 1 when it holds a value (the abridged tag of FXSAVE).</summary>
    public byte Valid;
    public ushort Opcode;
    public ulong InstructionPointer;
    public ulong DataPointer;
}

/// <summary>
/// The architectural registers of a vCPU: what a task keeps while another one runs. The general registers lie at offset 0 so that
/// an operation names any of the first fields by a byte offset (<see cref="Op"/>).
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct VcpuRegisters
{
    /// <summary>RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15, as instructions number them.</summary>
    public fixed ulong Gpr[16];
    /// <summary>Always 0: the base or index of an operand that has none. Never written.</summary>
    public ulong None;
    /// <summary>Always 0: the segment "base" of operands that fault with #SS instead of #GP. Never written.</summary>
    public ulong StackNone;
    public ulong FsBase;
    public ulong GsBase;
    /// <summary>Linear address of the running block's first byte; RIP-relative operands use it as their base.</summary>
    public ulong BlockRip;
    /// <summary>ES, CS, SS, DS, FS, GS, as instructions number them. In 64-bit mode they hold what was loaded and mean nothing more.</summary>
    public fixed ushort Selectors[8];
    /// <summary>The instruction pointer, exact whenever <see cref="Vcpu.Run"/> is not running.</summary>
    public ulong Rip;
    /// <summary>Sign-extended result from which ZF, SF and PF are read (<see cref="Flags"/>).</summary>
    public long FlagResult;
    /// <summary>CF, OF, AF, and corrections to SF and PF (<see cref="Flags"/>).</summary>
    public ulong FlagCarries;
    /// <summary>RFLAGS bits other than the six arithmetic ones.</summary>
    public ulong FlagsSystem;
    /// <summary>MXCSR with <see cref="UsualMxcsr"/> inverted, so that one test tells whether arithmetic may take the short way (<see cref="Simd.Float.IsPlain"/>).</summary>
    internal uint UnusualMxcsr;
    public X87State X87;
    /// <summary>Vector registers in slots of 64 bytes, so that wider registers fit the same layout later.</summary>
    public fixed byte Vectors[VectorCount * VectorSlot];

    public const int VectorSlot = 64, VectorCount = 16;
    /// <summary>Of <see cref="Vectors"/>. A constant, because the address of a field that is reached through a pointer costs a check for null.</summary>
    internal const int VectorsOffset = 0x178;
    public const int Cs = 1, Ss = 2, Fs = 4, Gs = 5;
    public const int Rax = 0, Rcx = 1, Rdx = 2, Rbx = 3, Rsp = 4, Rbp = 5, Rsi = 6, Rdi = 7;

    /// <summary>PE and PM: after a program's first operations both are set for good.</summary>
    private const uint UsualMxcsr = Simd.Mxcsr.Precision | Simd.Mxcsr.PrecisionMask;

    public uint Mxcsr
    {
        readonly get => UnusualMxcsr ^ UsualMxcsr;
        set => UnusualMxcsr = value ^ UsualMxcsr;
    }

    /// <summary>RFLAGS, computed from the lazy form on reading.</summary>
    public ulong Rflags
    {
        readonly get => Flags.Read(FlagResult, FlagCarries) | FlagsSystem | 2;
        set
        {
            Flags.Write(out FlagResult, out FlagCarries, value);
            FlagsSystem = value & ~(Flags.Arithmetic | 2);
        }
    }

    /// <summary>As Linux gives FS a base: with a null selector (arch/x86/kernel/process_64.c:do_arch_prctl_64).</summary>
    public void SetFsBase(ulong address) => (FsBase, Selectors[Fs]) = (address, 0);

    /// <summary>As <see cref="SetFsBase"/>, for GS.</summary>
    public void SetGsBase(ulong address) => (GsBase, Selectors[Gs]) = (address, 0);

    /// <summary>The state after reset as Linux gives it to a new program: x87 and SSE defaults, interrupts on.</summary>
    public void Reset()
    {
        this = default;
        Rflags = Flags.Interrupt;
        Mxcsr = 0x1F80;
        X87.Control = 0x37F;
        Selectors[Cs] = DescriptorTable.UserCode;
        Selectors[Ss] = DescriptorTable.UserData;
    }
}

/// <summary>Why an instruction that a processor executes raises #UD here.</summary>
public enum Unsupported
{
    /// <summary>A processor raises it too.</summary>
    No,
    NotImplemented,
    /// <summary>The machine's <see cref="CpuFeatures"/> lack it.</summary>
    SwitchedOff,
    /// <summary>It leads to 32-bit code, or is a 32-bit system call.</summary>
    CompatibilityMode,
}

/// <summary>Everything that a handler touches, in native memory of fixed layout. One for each vCPU.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct VcpuState
{
    public VcpuRegisters Registers;

    /// <summary>Instructions left before <see cref="Vcpu.Run"/> returns; counted down at taken branches and block ends.</summary>
    public long Budget;
    /// <summary>Instructions that this vCPU has executed in all; up to date when it is not running.</summary>
    public long Instructions;
    /// <summary>Negative when something waits for this vCPU; polled together with <see cref="Budget"/>. Written by any thread.</summary>
    public long Attention;
    /// <summary>Memory accesses made through the TLB, counted for each block (a block knows how many it makes).</summary>
    public long Accesses;

    /// <summary>The exception that ended <see cref="Vcpu.Run"/>: vector, error code, and CR2 for #PF.</summary>
    public int Vector;
    public uint ErrorCode;
    public ulong FaultAddress;
    /// <summary>Not zero while one instruction is executed from a scratch block: a store to code need not be retried.</summary>
    public int Single;
    /// <summary>Not zero while EFLAGS.AC is set: misaligned accesses raise #AC (CR0.AM is always set, as Linux has it).</summary>
    public int AlignmentCheck;
    /// <summary>Host stack address at the last exit: equal for all exits when every handler tail-calls the next one.</summary>
    public nint ExitStack;

    /// <summary>Linear RIP to block, direct-mapped; a subset of the instruction TLB (<see cref="JumpCache"/>).</summary>
    public JumpCacheEntry* JumpCache;
    /// <summary>The TLB's fast front, a strict subset of it: <see cref="FrontEntry.Count"/> entries for loads, then as many for stores; then the large front, the same of <see cref="FrontEntry.LargeCount"/>.</summary>
    public FrontEntry* Front;
    /// <summary>TLB, paging-structure cache, counters.</summary>
    public TlbState Tlb;

    /// <summary>The direct branch that asks for its target; the run loop links it when it may.</summary>
    public Op* LinkFrom;
    /// <summary>The newest retirement of decoded code that this vCPU may not have seen; long.MaxValue while it runs no block (<see cref="BlockCache"/>).</summary>
    public long CodeEpoch;
    /// <summary>For #UD: why a processor would not have raised it.</summary>
    public Unsupported Unsupported;

    /// <summary>
    /// <see cref="Chain.Missed"/>, called through a pointer so that the JIT does not inline it: the handlers would save registers for the calls in it. To forbid inlining
    /// would forbid its tail calls. The same between the two, of which the first makes no call.
    /// </summary>
    internal delegate*<VcpuState*, Op*, int, bool, bool, nint> Refill, RefillSlowly;

    /// <summary>Machine code for CMPXCHG16B on hosts that have it, else null.</summary>
    public void* WideExchange;
    /// <summary>Machine code that loads and stores the host's MXCSR on hosts that have one, else null.</summary>
    public void* LoadMxcsr, StoreMxcsr;

    /// <summary>Handle of the managed <see cref="Smp.Vcpu"/>, for slow paths.</summary>
    public nint Self;
    /// <summary>Scratch for accesses that cross a page. In bounds: its users' sizes and places in it are constants.</summary>
    public fixed byte Bounce[128];

    /// <summary>The vector that <see cref="Mmu"/> records for a non-canonical address; becomes #GP or #SS by the operand's segment.</summary>
    public const int NonCanonical = 0x100;
    /// <summary>The vector that <see cref="Mmu"/> records when a store hit decoded code: the instruction runs again, singly.</summary>
    public const int Retry = 0x101;

    // In bounds: for who looks at the state from outside, with a number of his own; handlers use Xmm.Register.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* VectorRegister(int n) => (byte*)Unsafe.AsPointer(ref Registers.Vectors[n * VcpuRegisters.VectorSlot]);
}
