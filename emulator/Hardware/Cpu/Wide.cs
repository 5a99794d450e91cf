using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// Integers of 1, 2, 4 and 8 bytes as 64-bit ones: handlers compute with these, because the ahead-of-time compiler leaves operators of a type parameter to the JIT.
/// Of a result only the lower <c>size</c> bytes count.
/// </summary>
/// <remarks>In bounds: sizes are of types, constants of the callers.</remarks>
internal static class Wide
{
    // Not by switches: the JIT imports all their arms, among them casts between sizes, which then forbid the tail call.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Of<T>(T value) where T : unmanaged
    {
        if (sizeof(T) == 8)
            return Unsafe.BitCast<T, ulong>(value);
        if (sizeof(T) == 4)
            return Unsafe.BitCast<T, uint>(value);
        if (sizeof(T) == 2)
            return Unsafe.BitCast<T, ushort>(value);
        return Unsafe.BitCast<T, byte>(value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe T To<T>(ulong value) where T : unmanaged
    {
        if (sizeof(T) == 8)
            return Unsafe.BitCast<ulong, T>(value);
        if (sizeof(T) == 4)
            return Unsafe.BitCast<uint, T>((uint)value);
        if (sizeof(T) == 2)
            return Unsafe.BitCast<ushort, T>((ushort)value);
        return Unsafe.BitCast<byte, T>((byte)value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long SignExtend(ulong value, int size)
    {
        if (size == 8)
            return (long)value;
        if (size == 4)
            return (int)value;
        if (size == 2)
            return (short)value;
        return (sbyte)value;
    }

    /// <summary>The number at an address.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe ulong Read(void* from, int size)
    {
        if (size == 8)
            return *(ulong*)from;
        if (size == 4)
            return *(uint*)from;
        if (size == 2)
            return *(ushort*)from;
        return *(byte*)from;
    }
}

/// <summary>
/// A width as a type of our own: a static member of a generic structure is left to the JIT where the structure's arguments are the framework's types, as <c>ulong</c> is.
/// </summary>
internal interface IWidth
{
    /// <summary>In bytes.</summary>
    static abstract int Size { get; }
}

internal readonly struct Byte : IWidth
{
    public static int Size => 1;
}

internal readonly struct Word : IWidth
{
    public static int Size => 2;
}

internal readonly struct Dword : IWidth
{
    public static int Size => 4;
}

internal readonly struct Qword : IWidth
{
    public static int Size => 8;
}
