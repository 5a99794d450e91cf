using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Emulator.Hardware.Memory;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>
/// Vector registers by name. They are always written 16 bytes wide, also by scalar instructions: a later load of the whole register
/// then finds all of it in the host's store buffer. What lies above bit 127 of a slot is kept, as legacy SSE does.
/// </summary>
internal static unsafe class Xmm
{
    /// <summary>An operation names a vector register by this many times its number, so that the host's addressing does the rest of the multiplication.</summary>
    public const int Scale = 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    // In bounds: Binding.Offset gives Scale times 15 at most, of VectorCount slots, and no more for any other register.
    public static byte* Register(VcpuState* c, byte name) => (byte*)c + VcpuRegisters.VectorsOffset + (nuint)name * (VcpuRegisters.VectorSlot / Scale);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Destination(VcpuState* c, Op* op) => Register(c, op->Dst);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Source(VcpuState* c, Op* op) => Register(c, op->Src);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<byte> Read(byte* register) => *(Vector128<byte>*)register;

    /// <summary>Writes a whole register, or the lowest element of one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write<T>(byte* register, T value) where T : unmanaged
    {
        if (sizeof(T) == 16)
            *(T*)register = value;
        else if (typeof(T) == typeof(float))
            *(Vector128<float>*)register = (*(Vector128<float>*)register).WithElement(0, Unsafe.BitCast<T, float>(value));
        else if (typeof(T) == typeof(double))
            *(Vector128<double>*)register = (*(Vector128<double>*)register).WithElement(0, Unsafe.BitCast<T, double>(value));
        else if (sizeof(T) == 8)
            *(Vector128<ulong>*)register = (*(Vector128<ulong>*)register).WithElement(0, Unsafe.BitCast<T, ulong>(value));
        else
            *(Vector128<uint>*)register = (*(Vector128<uint>*)register).WithElement(0, Unsafe.BitCast<T, uint>(value));
    }
}

internal readonly unsafe struct XmmSource : ISource
{
    public static bool Faults => false;
    public static nint Missed(VcpuState* c, Op* op, int size) => Chain.Fault(c, op);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Place(VcpuState* c, Op* op, int size) => (ulong)(Xmm.Source(c, op));
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsThere(VcpuState* c, ulong place, int size) => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* At(VcpuState* c, ulong place) => (void*)place;
}

/// <summary>A 16-byte memory operand that must be aligned (SDM vol. 1, 10.7 "Accessing Memory").</summary>
internal readonly unsafe struct Aligned<TAddress> : ISource where TAddress : struct, IAddress
{
    public static bool Faults => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Place(VcpuState* c, Op* op, int size)
    {
        ulong address = TAddress.Of(c, op);
        if (TAddress.IsQuick)
            return address;
        return (ulong)(Access.CanLoadAligned(c, address) ? Access.Loadable(c, address) : VectorAccess.ReadAlignedSlow(c, address));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsThere(VcpuState* c, ulong place, int size) => TAddress.IsQuick ? Access.CanLoadAligned(c, place) : place != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* At(VcpuState* c, ulong place) => TAddress.IsQuick ? Access.Loadable(c, place) : (void*)place;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static nint Missed(VcpuState* c, Op* op, int size)
        => TAddress.IsQuick ? Chain.Missed(c, op, size, store: false, aligned: true) : Chain.Fault(c, op);
}

/// <summary>Stores of vector registers. The value is named by a pointer: passing it to the slow path by value would take a local's address.</summary>
internal static unsafe class VectorAccess
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Store<T>(VcpuState* c, ulong address, T* value) where T : unmanaged
        => Access.Poke(c, address, *value) || Mmu.WriteSlow(c, address, (byte*)value, sizeof(T));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool PokeAligned(VcpuState* c, ulong address, byte* value)
    {
        FrontEntry* entry = Access.StoreSlot(c, address);
        if (entry->Tag != (address & ~0xFF0UL))
            return false;
        *(Vector128<byte>*)(address + (ulong)entry->Addend) = *(Vector128<byte>*)value;
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool StoreAligned(VcpuState* c, ulong address, byte* value) => PokeAligned(c, address, value) || StoreAlignedSlow(c, address, value);


    [MethodImpl(MethodImplOptions.NoInlining)]
    public static byte* ReadAlignedSlow(VcpuState* c, ulong address)
        => Misaligned(c, address) ? null : Mmu.ReadSlow(c, address, 16);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool StoreAlignedSlow(VcpuState* c, ulong address, byte* value)
        => !Misaligned(c, address) && Mmu.WriteSlow(c, address, value, 16);

    // The linear address is checked for alignment before it is translated.
    private static bool Misaligned(VcpuState* c, ulong address)
    {
        if ((address & 15) == 0)
            return false;
        c->Vector = Vector.GeneralProtection;
        c->ErrorCode = 0;
        return true;
    }
}
