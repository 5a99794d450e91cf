using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>Compare-and-exchange of any width on guest memory, atomic between vCPUs on different host threads.</summary>
internal static unsafe class Locked
{
    /// <summary>
    /// Stores <paramref name="now"/> if the memory still holds <paramref name="old"/>. An operand inside one host word is exchanged by the
    /// host's own instruction; in the bounce buffer of a page-crossing operand no other vCPU sees it (LIMITS.md).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool CompareExchange<T>(VcpuState* c, T* target, T now, T old) where T : unmanaged => sizeof(T) switch
    {
        1 => Interlocked.CompareExchange(ref *(byte*)target, Unsafe.BitCast<T, byte>(now), Unsafe.BitCast<T, byte>(old)) == Unsafe.BitCast<T, byte>(old),
        2 => Interlocked.CompareExchange(ref *(ushort*)target, Unsafe.BitCast<T, ushort>(now), Unsafe.BitCast<T, ushort>(old)) == Unsafe.BitCast<T, ushort>(old),
        4 => Interlocked.CompareExchange(ref *(uint*)target, Unsafe.BitCast<T, uint>(now), Unsafe.BitCast<T, uint>(old)) == Unsafe.BitCast<T, uint>(old),
        _ => Interlocked.CompareExchange(ref *(ulong*)target, Unsafe.BitCast<T, ulong>(now), Unsafe.BitCast<T, ulong>(old)) == Unsafe.BitCast<T, ulong>(old),
    };
}
