using System.Runtime.InteropServices;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// One decoded operation, bound to its handler. 32 bytes, so that two share a cache line. Register operands are byte offsets into
/// <see cref="VcpuRegisters"/> (AH is 1), x87 and MMX registers are numbers, vector registers <see cref="Simd.Xmm.Scale"/> times that.
/// </summary>
/// <remarks>In bounds: whatever byte names a register, <see cref="Reg"/>, <see cref="Simd.Xmm"/> and <see cref="Simd.Mmx"/> stay within the state.</remarks>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Op
{
    public Handler Fn;
    /// <summary>Immediate operand; for a direct branch, the linked target (an <see cref="Op"/> pointer) or 0.</summary>
    public long Imm;
    /// <summary>Displacement of the memory operand; for a direct branch, the low half of the target's distance from the block's first byte.</summary>
    public int Disp;
    public byte Dst;
    public byte Src;
    public byte Base;
    public byte Index;
    public byte Scale;
    /// <summary>Byte offset of the segment base: None, StackNone, FsBase or GsBase.</summary>
    public byte Seg;
    /// <summary>Length of the instruction in bytes.</summary>
    public byte Length;
    /// <summary>Free for the instruction family: a third operand, a predicate, an address-size mark; for a direct branch, what it has pushed.</summary>
    public byte Aux;
    /// <summary>Distance of this instruction from the block's first byte.</summary>
    public ushort Offset;
    /// <summary>Instructions from the block's start up to and with this one.</summary>
    public byte Count;
    /// <summary>Memory accesses from the block's start up to and with this one.</summary>
    public byte Accesses;
}

/// <summary>Why a chain of handlers returned to <see cref="Smp.Vcpu.Run"/>.</summary>
public enum HandlerExit
{
    /// <summary>RIP is set; find its block and go on.</summary>
    Lookup,
    /// <summary>The budget is used up or attention is wanted; RIP is set.</summary>
    Attention,
    /// <summary>An exception is recorded; RIP is what the processor would save.</summary>
    Exception,
    Syscall,
    /// <summary>The instruction at RIP must run again, alone (a store to decoded code).</summary>
    Retry,
}
