using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>The MMX registers: the significands of the physical x87 registers (SDM vol. 1, 9.2).</summary>
internal static unsafe class Mmx
{
    private const ushort ErrorSummary = 1 << 7, Top = 7 << 11;

    // In bounds: masked, of eight registers.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong* Register(VcpuState* c, byte number) => (ulong*)&c->Registers.X87 + (nuint)(number & 7) * 2;

    /// <summary>Whether an unmasked x87 exception waits: every MMX instruction raises #MF first.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Pending(VcpuState* c) => (c->Registers.X87.Status & ErrorSummary) != 0;

    /// <summary>What every MMX instruction but EMMS does: TOP becomes 0 and all registers valid (SDM vol. 1, 9.5.1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Enter(VcpuState* c)
    {
        ClearTop(c);
        c->Registers.X87.Valid = 0xFF;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ClearTop(VcpuState* c) => c->Registers.X87.Status &= unchecked((ushort)~Top);

    /// <summary>Writes a register; the sign and exponent become ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write(VcpuState* c, byte number, ulong value)
    {
        Enter(c);
        ulong* register = Register(c, number);
        register[0] = value;
        *(ushort*)(register + 1) = 0xFFFF;
    }
}

internal readonly unsafe struct MmxSource : ISource
{
    public static bool Faults => false;
    public static nint Missed(VcpuState* c, Op* op, int size) => Chain.Fault(c, op);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Place(VcpuState* c, Op* op, int size) => (ulong)(Mmx.Register(c, op->Src));
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsThere(VcpuState* c, ulong place, int size) => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* At(VcpuState* c, ulong place) => (void*)place;
}
