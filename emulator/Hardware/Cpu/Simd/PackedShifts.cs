using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Packed shifts by one count for all elements, and shifts of the whole register by bytes.</summary>
internal static class PackedShifts
{
    public static unsafe Handler Bind(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Psllw => Packed.Bind<Left<ushort>>(ref b),
        Mnemonic.Pslld => Packed.Bind<Left<uint>>(ref b),
        Mnemonic.Psllq => Packed.Bind<Left<ulong>>(ref b),
        Mnemonic.Psrlw => Packed.Bind<Right<ushort>>(ref b),
        Mnemonic.Psrld => Packed.Bind<Right<uint>>(ref b),
        Mnemonic.Psrlq => Packed.Bind<Right<ulong>>(ref b),
        Mnemonic.Psraw => Packed.Bind<RightArithmetic<short>>(ref b),
        Mnemonic.Psrad => Packed.Bind<RightArithmetic<int>>(ref b),
        Mnemonic.Pslldq => Packed.Bind<LeftBytes>(ref b),
        Mnemonic.Psrldq => Packed.Bind<RightBytes>(ref b),
        _ => null,
    };

    // In bounds: values only; counts are compared with the width before they are cut.
    // The count is the low 64 bits of the source; a count of the element's width or more shifts everything out.
    private readonly struct Left<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            ulong count = b.AsUInt64().ToScalar();
            return count < (ulong)Unsafe.SizeOf<T>() * 8 ? (a.As<byte, T>() << (int)count).AsByte() : default;
        }
    }

    private readonly struct Right<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            ulong count = b.AsUInt64().ToScalar();
            return count < (ulong)Unsafe.SizeOf<T>() * 8 ? (a.As<byte, T>() >>> (int)count).AsByte() : default;
        }
    }

    private readonly struct RightArithmetic<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => (a.As<byte, T>() >> (int)Math.Min(b.AsUInt64().ToScalar(), (ulong)Unsafe.SizeOf<T>() * 8 - 1)).AsByte();
    }

    private readonly struct LeftBytes : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.Shuffle(a, Vector128<byte>.Indices - Vector128.Create((byte)Math.Min(immediate, 16)));
    }

    private readonly struct RightBytes : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.Shuffle(a, Vector128<byte>.Indices + Vector128.Create((byte)Math.Min(immediate, 16)));
    }
}
