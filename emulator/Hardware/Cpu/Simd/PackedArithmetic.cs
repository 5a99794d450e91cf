using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Packed integer addition, multiplication, comparison, minimum, maximum and logic.</summary>
internal static unsafe class PackedArithmetic
{
    public static Handler Bind(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Paddb => Packed.Bind<Add<byte>>(ref b),
        Mnemonic.Paddw => Packed.Bind<Add<ushort>>(ref b),
        Mnemonic.Paddd => Packed.Bind<Add<uint>>(ref b),
        Mnemonic.Paddq => Packed.Bind<Add<ulong>>(ref b),
        Mnemonic.Psubb => Packed.Bind<Subtract<byte>>(ref b),
        Mnemonic.Psubw => Packed.Bind<Subtract<ushort>>(ref b),
        Mnemonic.Psubd => Packed.Bind<Subtract<uint>>(ref b),
        Mnemonic.Psubq => Packed.Bind<Subtract<ulong>>(ref b),
        Mnemonic.Paddsb => Packed.Bind<AddSaturate<sbyte>>(ref b),
        Mnemonic.Paddsw => Packed.Bind<AddSaturate<short>>(ref b),
        Mnemonic.Paddusb => Packed.Bind<AddSaturate<byte>>(ref b),
        Mnemonic.Paddusw => Packed.Bind<AddSaturate<ushort>>(ref b),
        Mnemonic.Psubsb => Packed.Bind<SubtractSaturate<sbyte>>(ref b),
        Mnemonic.Psubsw => Packed.Bind<SubtractSaturate<short>>(ref b),
        Mnemonic.Psubusb => Packed.Bind<SubtractSaturate<byte>>(ref b),
        Mnemonic.Psubusw => Packed.Bind<SubtractSaturate<ushort>>(ref b),
        Mnemonic.Pavgb => Packed.Bind<AverageBytes>(ref b),
        Mnemonic.Pavgw => Packed.Bind<AverageWords>(ref b),
        Mnemonic.Pminub => Packed.Bind<Min<byte>>(ref b),
        Mnemonic.Pminuw => Packed.Bind<Min<ushort>>(ref b),
        Mnemonic.Pminud => Packed.Bind<Min<uint>>(ref b),
        Mnemonic.Pminsb => Packed.Bind<Min<sbyte>>(ref b),
        Mnemonic.Pminsw => Packed.Bind<Min<short>>(ref b),
        Mnemonic.Pminsd => Packed.Bind<Min<int>>(ref b),
        Mnemonic.Pmaxub => Packed.Bind<Max<byte>>(ref b),
        Mnemonic.Pmaxuw => Packed.Bind<Max<ushort>>(ref b),
        Mnemonic.Pmaxud => Packed.Bind<Max<uint>>(ref b),
        Mnemonic.Pmaxsb => Packed.Bind<Max<sbyte>>(ref b),
        Mnemonic.Pmaxsw => Packed.Bind<Max<short>>(ref b),
        Mnemonic.Pmaxsd => Packed.Bind<Max<int>>(ref b),
        Mnemonic.Pcmpeqb => Packed.Bind<Equal<byte>>(ref b),
        Mnemonic.Pcmpeqw => Packed.Bind<Equal<ushort>>(ref b),
        Mnemonic.Pcmpeqd => Packed.Bind<Equal<uint>>(ref b),
        Mnemonic.Pcmpeqq => Packed.Bind<Equal<ulong>>(ref b),
        Mnemonic.Pcmpgtb => Packed.Bind<Greater<sbyte>>(ref b),
        Mnemonic.Pcmpgtw => Packed.Bind<Greater<short>>(ref b),
        Mnemonic.Pcmpgtd => Packed.Bind<Greater<int>>(ref b),
        Mnemonic.Pcmpgtq => Packed.Bind<Greater<long>>(ref b),
        Mnemonic.Pabsb => Packed.Bind<Absolute<sbyte>>(ref b),
        Mnemonic.Pabsw => Packed.Bind<Absolute<short>>(ref b),
        Mnemonic.Pabsd => Packed.Bind<Absolute<int>>(ref b),
        Mnemonic.Psignb => Packed.Bind<Sign<sbyte>>(ref b),
        Mnemonic.Psignw => Packed.Bind<Sign<short>>(ref b),
        Mnemonic.Psignd => Packed.Bind<Sign<int>>(ref b),
        Mnemonic.Pand or Mnemonic.Andps or Mnemonic.Andpd => Packed.Bind<And>(ref b),
        Mnemonic.Pandn or Mnemonic.Andnps or Mnemonic.Andnpd => Packed.Bind<AndNot>(ref b),
        Mnemonic.Por or Mnemonic.Orps or Mnemonic.Orpd => Packed.Bind<Or>(ref b),
        Mnemonic.Pxor or Mnemonic.Xorps or Mnemonic.Xorpd => Packed.Bind<Xor>(ref b),
        Mnemonic.Pmullw => Packed.Bind<Multiply<ushort>>(ref b),
        Mnemonic.Pmulld => Packed.Bind<Multiply<uint>>(ref b),
        Mnemonic.Pmulhw => Packed.Bind<MultiplyHigh>(ref b),
        Mnemonic.Pmulhuw => Packed.Bind<MultiplyHighUnsigned>(ref b),
        Mnemonic.Pmulhrsw => Packed.Bind<MultiplyHighRounded>(ref b),
        Mnemonic.Pmuludq => Packed.Bind<MultiplyEvenUnsigned>(ref b),
        Mnemonic.Pmuldq => Packed.Bind<MultiplyEven>(ref b),
        Mnemonic.Pmaddwd => Packed.Bind<MultiplyAddWords>(ref b),
        Mnemonic.Pmaddubsw => Packed.Bind<MultiplyAddBytes>(ref b),
        Mnemonic.Psadbw => Packed.Bind<SumAbsoluteDifferences>(ref b),
        Mnemonic.Mpsadbw => Packed.Bind<MultipleSums>(ref b),
        Mnemonic.Phminposuw => Packed.Bind<MinimumPosition>(ref b),
        Mnemonic.Phaddw => Packed.Bind<HorizontalAdd<short>>(ref b),
        Mnemonic.Phaddd => Packed.Bind<HorizontalAdd<int>>(ref b),
        Mnemonic.Phaddsw => Packed.Bind<HorizontalAddSaturate>(ref b),
        Mnemonic.Phsubw => Packed.Bind<HorizontalSubtract<short>>(ref b),
        Mnemonic.Phsubd => Packed.Bind<HorizontalSubtract<int>>(ref b),
        Mnemonic.Phsubsw => Packed.Bind<HorizontalSubtractSaturate>(ref b),
        _ => null,
    };

    // In bounds: values only; Packed has the operands.
    private readonly struct Add<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => (a.As<byte, T>() + b.As<byte, T>()).AsByte();
    }

    private readonly struct Subtract<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => (a.As<byte, T>() - b.As<byte, T>()).AsByte();
    }

    private readonly struct AddSaturate<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.AddSaturate(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct SubtractSaturate<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.SubtractSaturate(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct AverageBytes : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Sse2.IsSupported ? Sse2.Average(a, b) : (a | b) - ((a ^ b) >>> 1);
    }

    private readonly struct AverageWords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Sse2.IsSupported
                ? Sse2.Average(a.AsUInt16(), b.AsUInt16()).AsByte()
                : ((a | b).AsUInt16() - ((a ^ b).AsUInt16() >>> 1)).AsByte();
    }

    private readonly struct Min<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.Min(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct Max<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.Max(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct Equal<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.Equals(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct Greater<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.GreaterThan(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct Absolute<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            Vector128<T> value = b.As<byte, T>(), sign = Vector128.LessThan(value, Vector128<T>.Zero);
            return ((value ^ sign) - sign).AsByte();
        }
    }

    private readonly struct Sign<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            Vector128<T> control = b.As<byte, T>(), negative = Vector128.LessThan(control, Vector128<T>.Zero);
            Vector128<T> signed = (a.As<byte, T>() ^ negative) - negative;
            return Vector128.AndNot(signed, Vector128.Equals(control, Vector128<T>.Zero)).AsByte();
        }
    }

    private readonly struct And : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => a & b;
    }

    private readonly struct AndNot : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => ~a & b;
    }

    private readonly struct Or : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => a | b;
    }

    private readonly struct Xor : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => a ^ b;
    }

    private readonly struct Multiply<T> : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => (a.As<byte, T>() * b.As<byte, T>()).AsByte();
    }

    private readonly struct MultiplyHigh : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Sse2.IsSupported ? Sse2.MultiplyHigh(a.AsInt16(), b.AsInt16()).AsByte() : Products.HighHalves(a.AsInt16(), b.AsInt16(), 16, 0);
    }

    private readonly struct MultiplyHighUnsigned : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            if (Sse2.IsSupported)
                return Sse2.MultiplyHigh(a.AsUInt16(), b.AsUInt16()).AsByte();
            Vector128<ushort> x = a.AsUInt16(), y = b.AsUInt16();
            return Vector128.Narrow((Vector128.WidenLower(x) * Vector128.WidenLower(y)) >>> 16, (Vector128.WidenUpper(x) * Vector128.WidenUpper(y)) >>> 16).AsByte();
        }
    }

    private readonly struct MultiplyHighRounded : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Ssse3.IsSupported
                ? Ssse3.MultiplyHighRoundScale(a.AsInt16(), b.AsInt16()).AsByte()
                : Products.HighHalves(a.AsInt16(), b.AsInt16(), 15, 1 << 14);
    }

    private readonly struct MultiplyEvenUnsigned : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Sse2.IsSupported
                ? Sse2.Multiply(a.AsUInt32(), b.AsUInt32()).AsByte()
                : ((a.AsUInt64() & Vector128.Create(0xFFFFFFFFUL)) * (b.AsUInt64() & Vector128.Create(0xFFFFFFFFUL))).AsByte();
    }

    private readonly struct MultiplyEven : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Sse41.IsSupported
                ? Sse41.Multiply(a.AsInt32(), b.AsInt32()).AsByte()
                : (((a.AsInt64() << 32) >> 32) * ((b.AsInt64() << 32) >> 32)).AsByte();
    }

    private readonly struct MultiplyAddWords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            if (Sse2.IsSupported)
                return Sse2.MultiplyAddAdjacent(a.AsInt16(), b.AsInt16()).AsByte();
            Vector128<int> x = a.AsInt32(), y = b.AsInt32();
            return ((((x << 16) >> 16) * ((y << 16) >> 16)) + ((x >> 16) * (y >> 16))).AsByte();
        }
    }

    /// <summary>Unsigned bytes of the first operand by signed bytes of the second, neighbours added with saturation.</summary>
    private readonly struct MultiplyAddBytes : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            if (Ssse3.IsSupported)
                return Ssse3.MultiplyAddAdjacent(a, b.AsSByte()).AsByte();
            Vector128<short> x = a.AsInt16(), y = b.AsInt16();
            return Vector128.AddSaturate((x & Vector128.Create((short)0xFF)) * ((y << 8) >> 8), (x >>> 8) * (y >> 8)).AsByte();
        }
    }

    private readonly struct SumAbsoluteDifferences : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            if (Sse2.IsSupported)
                return Sse2.SumAbsoluteDifferences(a, b).AsByte();
            Vector128<byte> d = Vector128.Max(a, b) - Vector128.Min(a, b);
            return Vector128.Create((ulong)Vector128.Sum(Vector128.WidenLower(d)), Vector128.Sum(Vector128.WidenUpper(d))).AsByte();
        }
    }

    /// <summary>MPSADBW: eight sums, each of four differences between a fixed group of the source and a sliding one of the destination.</summary>
    private readonly struct MultipleSums : IPacked
    {
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            // In bounds: groups begin at 12 and 4 at most, of 16 bytes, and elements are checked besides.
            int fixedGroup = ((int)immediate & 3) * 4, sliding = (int)immediate & 4;
            Vector128<ushort> sums = default;
            for (int i = 0; i < 8; i++)
            {
                int sum = 0;
                for (int j = 0; j < 4; j++)
                    sum += Math.Abs(a.GetElement(sliding + i + j) - b.GetElement(fixedGroup + j));
                sums = sums.WithElement(i, (ushort)sum);
            }
            return sums.AsByte();
        }
    }

    private readonly struct MinimumPosition : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            if (Sse41.IsSupported)
                return Sse41.MinHorizontal(b.AsUInt16()).AsByte();
            Vector128<ushort> words = b.AsUInt16();
            int position = 0;
            for (int i = 1; i < 8; i++)
                if (words.GetElement(i) < words.GetElement(position))
                    position = i;
            return Vector128.CreateScalar((uint)words.GetElement(position) | (uint)position << 16).AsByte();
        }
    }

    private readonly struct HorizontalAdd<T> : IPacked where T : IBinaryInteger<T>
    {
        public static MmxPart Mmx => MmxPart.Joined;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => (Pairs<T>.Even(a, b) + Pairs<T>.Odd(a, b)).AsByte();
    }

    private readonly struct HorizontalSubtract<T> : IPacked where T : IBinaryInteger<T>
    {
        public static MmxPart Mmx => MmxPart.Joined;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => (Pairs<T>.Even(a, b) - Pairs<T>.Odd(a, b)).AsByte();
    }

    private readonly struct HorizontalAddSaturate : IPacked
    {
        public static MmxPart Mmx => MmxPart.Joined;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.AddSaturate(Pairs<short>.Even(a, b), Pairs<short>.Odd(a, b)).AsByte();
    }

    private readonly struct HorizontalSubtractSaturate : IPacked
    {
        public static MmxPart Mmx => MmxPart.Joined;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.SubtractSaturate(Pairs<short>.Even(a, b), Pairs<short>.Odd(a, b)).AsByte();
    }

    /// <summary>The elements of even and of odd position of two vectors in a row.</summary>
    private static class Pairs<T> where T : IBinaryInteger<T>
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Even(Vector128<byte> a, Vector128<byte> b)
            => typeof(T) == typeof(short)
                ? Vector128.Narrow(a.AsInt32(), b.AsInt32()).As<short, T>()
                : Vector128.Narrow(a.AsInt64(), b.AsInt64()).As<int, T>();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<T> Odd(Vector128<byte> a, Vector128<byte> b)
            => typeof(T) == typeof(short)
                ? Vector128.Narrow(a.AsInt32() >> 16, b.AsInt32() >> 16).As<short, T>()
                : Vector128.Narrow((a.AsUInt64() >> 32).AsInt64(), (b.AsUInt64() >> 32).AsInt64()).As<int, T>();
    }

    private static class Products
    {
        public static Vector128<byte> HighHalves(Vector128<short> a, Vector128<short> b, int shift, int round)
        {
            Vector128<int> half = Vector128.Create(round);
            Vector128<int> low = (Vector128.WidenLower(a) * Vector128.WidenLower(b) + half) >> shift;
            Vector128<int> high = (Vector128.WidenUpper(a) * Vector128.WidenUpper(b) + half) >> shift;
            return Vector128.Narrow(low, high).AsByte();
        }
    }
}
