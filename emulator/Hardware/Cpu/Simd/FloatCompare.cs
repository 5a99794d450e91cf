using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>CMPccPS, PD, SS, SD with their eight predicates; COMIS and UCOMIS.</summary>
internal static unsafe class FloatCompare
{
    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            // The string instruction of this name has no vector operand.
            case Mnemonic.Cmpps or Mnemonic.Cmppd or Mnemonic.Cmpss or Mnemonic.Cmpsd when b.Instruction.Op0Register.IsXMM():
                return (b.Instruction.GetImmediate(2) & 7) switch
                {
                    0 => FloatArithmetic.Bind<Equal>(ref b),
                    1 => FloatArithmetic.Bind<Less>(ref b),
                    2 => FloatArithmetic.Bind<LessOrEqual>(ref b),
                    3 => FloatArithmetic.Bind<Unordered>(ref b),
                    4 => FloatArithmetic.Bind<Not<Equal>>(ref b),
                    5 => FloatArithmetic.Bind<Not<Less>>(ref b),
                    6 => FloatArithmetic.Bind<Not<LessOrEqual>>(ref b),
                    _ => FloatArithmetic.Bind<Not<Unordered>>(ref b),
                };
            case Mnemonic.Comiss:
                return Float.ToFlags<Signalling, float>(ref b);
            case Mnemonic.Comisd:
                return Float.ToFlags<Signalling, double>(ref b);
            case Mnemonic.Ucomiss:
                return Float.ToFlags<Quiet, float>(ref b);
            case Mnemonic.Ucomisd:
                return Float.ToFlags<Quiet, double>(ref b);
            default:
                return null;
        }
    }

    // In bounds: values only; Float has the operands. The predicate is masked to three bits, as processors do.
    /// <summary>A predicate: elements become all ones or all zeros.</summary>
    private interface IPredicate : IArithmetic
    {
        static Clean IFloat.Clean => Clean.Comparison;
        static bool IFloat.Rounds => false;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Mask(bool holds, float _) => BitConverter.Int32BitsToSingle(holds ? -1 : 0);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static double Mask(bool holds, double _) => BitConverter.Int64BitsToDouble(holds ? -1 : 0);

    private readonly struct Equal : IPredicate
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b)
            => Sse.IsSupported ? Sse.CompareScalarEqual(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : Mask(a == b, a);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b)
            => Sse2.IsSupported ? Sse2.CompareScalarEqual(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : Mask(a == b, a);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => Vector128.Equals(a, b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => Vector128.Equals(a, b);
    }

    private readonly struct Less : IPredicate
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b)
            => Sse.IsSupported ? Sse.CompareScalarLessThan(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : Mask(a < b, a);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b)
            => Sse2.IsSupported ? Sse2.CompareScalarLessThan(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : Mask(a < b, a);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => Vector128.LessThan(a, b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => Vector128.LessThan(a, b);
    }

    private readonly struct LessOrEqual : IPredicate
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b)
            => Sse.IsSupported ? Sse.CompareScalarLessThanOrEqual(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : Mask(a <= b, a);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b)
            => Sse2.IsSupported ? Sse2.CompareScalarLessThanOrEqual(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : Mask(a <= b, a);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => Vector128.LessThanOrEqual(a, b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => Vector128.LessThanOrEqual(a, b);
    }

    private readonly struct Unordered : IPredicate
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b)
            => Sse.IsSupported
                ? Sse.CompareScalarUnordered(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar()
                : Mask(float.IsNaN(a) || float.IsNaN(b), a);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b)
            => Sse2.IsSupported
                ? Sse2.CompareScalarUnordered(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar()
                : Mask(double.IsNaN(a) || double.IsNaN(b), a);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b)
            => Sse.IsSupported ? Sse.CompareUnordered(a, b) : ~(Vector128.Equals(a, a) & Vector128.Equals(b, b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b)
            => Sse2.IsSupported ? Sse2.CompareUnordered(a, b) : ~(Vector128.Equals(a, a) & Vector128.Equals(b, b));
    }

    private readonly struct Not<T> : IPredicate where T : struct, IPredicate
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b) => BitConverter.Int32BitsToSingle(~BitConverter.SingleToInt32Bits(T.Run(a, b)));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b) => BitConverter.Int64BitsToDouble(~BitConverter.DoubleToInt64Bits(T.Run(a, b)));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => ~T.Run(a, b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => ~T.Run(a, b);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Order(bool less, bool equal, bool unordered)
        => unordered ? (uint)(Flags.Zero | Flags.Parity | Flags.Carry) : (equal ? (uint)Flags.Zero : 0) | (less ? (uint)Flags.Carry : 0);

    /// <summary>Sets the flags by two numbers that are not NaNs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetOrder<T>(VcpuState* c, T a, T b) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
            Flags.SetOrder(c, Unsafe.BitCast<T, float>(a) < Unsafe.BitCast<T, float>(b), Unsafe.BitCast<T, float>(a) == Unsafe.BitCast<T, float>(b));
        else
            Flags.SetOrder(c, Unsafe.BitCast<T, double>(a) < Unsafe.BitCast<T, double>(b), Unsafe.BitCast<T, double>(a) == Unsafe.BitCast<T, double>(b));
    }

    /// <summary>COMIS: any NaN is invalid.</summary>
    private readonly struct Signalling : IFloat<float, uint>, IFloat<double, uint>
    {
        public static Clean Clean => Clean.Comparison;
        public static bool Rounds => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static uint Run(float a, float b)
        {
            if (!Sse.IsSupported)
                return Order(a < b, a == b, float.IsNaN(a) || float.IsNaN(b));
            Vector128<float> x = Vector128.CreateScalarUnsafe(a), y = Vector128.CreateScalarUnsafe(b);
            return Order(Sse.CompareScalarOrderedLessThan(x, y), Sse.CompareScalarOrderedEqual(x, y), IsNaN(a) || IsNaN(b));
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static uint Run(double a, double b)
        {
            if (!Sse2.IsSupported)
                return Order(a < b, a == b, double.IsNaN(a) || double.IsNaN(b));
            Vector128<double> x = Vector128.CreateScalarUnsafe(a), y = Vector128.CreateScalarUnsafe(b);
            return Order(Sse2.CompareScalarOrderedLessThan(x, y), Sse2.CompareScalarOrderedEqual(x, y), IsNaN(a) || IsNaN(b));
        }
    }

    /// <summary>UCOMIS: only a signalling NaN is invalid.</summary>
    private readonly struct Quiet : IFloat<float, uint>, IFloat<double, uint>
    {
        public static Clean Clean => Clean.Comparison;
        public static bool Rounds => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static uint Run(float a, float b)
        {
            if (!Sse.IsSupported)
                return Order(a < b, a == b, float.IsNaN(a) || float.IsNaN(b));
            Vector128<float> x = Vector128.CreateScalarUnsafe(a), y = Vector128.CreateScalarUnsafe(b);
            return Order(Sse.CompareScalarUnorderedLessThan(x, y), Sse.CompareScalarUnorderedEqual(x, y), IsNaN(a) || IsNaN(b));
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static uint Run(double a, double b)
        {
            if (!Sse2.IsSupported)
                return Order(a < b, a == b, double.IsNaN(a) || double.IsNaN(b));
            Vector128<double> x = Vector128.CreateScalarUnsafe(a), y = Vector128.CreateScalarUnsafe(b);
            return Order(Sse2.CompareScalarUnorderedLessThan(x, y), Sse2.CompareScalarUnorderedEqual(x, y), IsNaN(a) || IsNaN(b));
        }
    }

    // By their bits: a comparison would raise flags of its own.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsNaN(float value) => (BitConverter.SingleToUInt32Bits(value) << 1) > 0xFF00_0000;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsNaN(double value) => (BitConverter.DoubleToUInt64Bits(value) << 1) > 0xFFE0_0000_0000_0000;
}
