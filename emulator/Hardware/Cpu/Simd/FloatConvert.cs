using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Conversions between floating-point formats and to and from integers, in vector and general registers.</summary>
internal static unsafe class FloatConvert
{
    public static Handler Bind(ref Binding b)
    {
        bool wide = b.Instruction.Op0Kind == OpKind.Register && b.Instruction.Op0Register.IsGPR64();
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Cvtsi2ss:
                return b.Size(1) == 8 ? Float.FromGeneral<FromInteger, long, float>(ref b) : Float.FromGeneral<FromInteger, int, float>(ref b);
            case Mnemonic.Cvtsi2sd:
                return b.Size(1) == 8 ? Float.FromGeneral<FromInteger, long, double>(ref b) : Float.FromGeneral<FromIntegerExact, int, double>(ref b);
            case Mnemonic.Cvtss2si:
                return wide ? Float.ToGeneral<ToInteger, float, ulong>(ref b) : Float.ToGeneral<ToInteger, float, uint>(ref b);
            case Mnemonic.Cvtsd2si:
                return wide ? Float.ToGeneral<ToInteger, double, ulong>(ref b) : Float.ToGeneral<ToInteger, double, uint>(ref b);
            case Mnemonic.Cvttss2si:
                return wide ? Float.ToGeneral<Truncate, float, ulong>(ref b) : Float.ToGeneral<Truncate, float, uint>(ref b);
            case Mnemonic.Cvttsd2si:
                return wide ? Float.ToGeneral<Truncate, double, ulong>(ref b) : Float.ToGeneral<Truncate, double, uint>(ref b);
            case Mnemonic.Cvtss2sd:
                return Float.Scalar<Widen, float, double>(ref b);
            case Mnemonic.Cvtsd2ss:
                return Float.Scalar<Narrow, double, float>(ref b);
            case Mnemonic.Cvtps2pd:
                return Float.Scalar<Widen, Vector64<float>, Vector128<double>>(ref b);
            case Mnemonic.Cvtpd2ps:
                return Float.Packed<Narrow, Vector128<double>, Vector128<float>>(ref b);
            case Mnemonic.Cvtdq2ps:
                return Float.Packed<FromInteger, Vector128<int>, Vector128<float>>(ref b);
            case Mnemonic.Cvtdq2pd:
                return Float.Scalar<FromIntegerExact, Vector64<int>, Vector128<double>>(ref b);
            case Mnemonic.Cvtps2dq:
                return Float.Packed<ToInteger, Vector128<float>, Vector128<int>>(ref b);
            case Mnemonic.Cvttps2dq:
                return Float.Packed<Truncate, Vector128<float>, Vector128<int>>(ref b);
            case Mnemonic.Cvtpd2dq:
                return Float.Packed<ToInteger, Vector128<double>, Vector128<int>>(ref b);
            case Mnemonic.Cvttpd2dq:
                return Float.Packed<Truncate, Vector128<double>, Vector128<int>>(ref b);
            default:
                return null;
        }
    }

    // In bounds: values only; Float has the operands. Integers that do not fit become the indefinite one.
    internal readonly struct FromInteger : IFloat<int, float>, IFloat<long, float>, IFloat<long, double>, IFloat<Vector128<int>, Vector128<float>>
    {
        public static Clean Clean => Clean.Always;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(int a, int b) => b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(long a, long b)
            => Sse.X64.IsSupported ? Sse.X64.ConvertScalarToVector128Single(default, b).ToScalar() : b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static double IFloat<long, double>.Run(long a, long b) => b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<int> a, Vector128<int> b) => Vector128.ConvertToSingle(b);
    }

    /// <summary>Every 32-bit integer is a double.</summary>
    private readonly struct FromIntegerExact : IFloat<int, double>, IFloat<Vector64<int>, Vector128<double>>
    {
        public static Clean Clean => Clean.Always;
        public static bool Rounds => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(int a, int b) => b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector64<int> a, Vector64<int> b)
            => Sse2.IsSupported ? Sse2.ConvertToVector128Double(b.ToVector128Unsafe()) : Vector128.Create((double)b.ToScalar(), b.GetElement(1));
    }

    private readonly struct Widen : IFloat<float, double>, IFloat<Vector64<float>, Vector128<double>>
    {
        public static Clean Clean => Clean.NeverTiny;
        public static bool Rounds => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(float a, float b) => b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector64<float> a, Vector64<float> b)
            => Sse2.IsSupported ? Sse2.ConvertToVector128Double(b.ToVector128Unsafe()) : Vector128.Create((double)b.ToScalar(), b.GetElement(1));
    }

    private readonly struct Narrow : IFloat<double, float>, IFloat<Vector128<double>, Vector128<float>>
    {
        public static Clean Clean => Clean.Narrowing;
        public static Range Range => Range.Narrowing;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(double a, double b) => (float)b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<double> a, Vector128<double> b)
            => Sse2.IsSupported
                ? Sse2.ConvertToVector128Single(b)
                : Vector128.Create((float)b.ToScalar(), (float)b.GetElement(1), 0, 0);
    }

    /// <summary>Rounds by MXCSR; what has no integer becomes the smallest one ("integer indefinite").</summary>
    internal readonly struct ToInteger : IFloat<float, uint>, IFloat<float, ulong>, IFloat<double, uint>, IFloat<double, ulong>,
        IFloat<Vector128<float>, Vector128<int>>, IFloat<Vector128<double>, Vector128<int>>
    {
        public static Clean Clean => Clean.ResultDefinite;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static uint IFloat<float, uint>.Run(float a, float b)
            => Sse.IsSupported ? (uint)Sse.ConvertToInt32(Vector128.CreateScalarUnsafe(b)) : (uint)Integer32(Math.Round((double)b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static ulong IFloat<float, ulong>.Run(float a, float b)
            => Sse.X64.IsSupported ? (ulong)Sse.X64.ConvertToInt64(Vector128.CreateScalarUnsafe(b)) : (ulong)Integer64(Math.Round((double)b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static uint IFloat<double, uint>.Run(double a, double b)
            => Sse2.IsSupported ? (uint)Sse2.ConvertToInt32(Vector128.CreateScalarUnsafe(b)) : (uint)Integer32(Math.Round(b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static ulong IFloat<double, ulong>.Run(double a, double b)
            => Sse2.X64.IsSupported ? (ulong)Sse2.X64.ConvertToInt64(Vector128.CreateScalarUnsafe(b)) : (ulong)Integer64(Math.Round(b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<int> Run(Vector128<float> a, Vector128<float> b)
            => Sse2.IsSupported ? Sse2.ConvertToVector128Int32(b) : Integers(Vector128.Round(b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<int> Run(Vector128<double> a, Vector128<double> b)
            => Sse2.IsSupported ? Sse2.ConvertToVector128Int32(b) : Integers(Vector128.Round(b));
    }

    internal readonly struct Truncate : IFloat<float, uint>, IFloat<float, ulong>, IFloat<double, uint>, IFloat<double, ulong>,
        IFloat<Vector128<float>, Vector128<int>>, IFloat<Vector128<double>, Vector128<int>>
    {
        public static Clean Clean => Clean.ResultDefinite;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static uint IFloat<float, uint>.Run(float a, float b)
            => Sse.IsSupported ? (uint)Sse.ConvertToInt32WithTruncation(Vector128.CreateScalarUnsafe(b)) : (uint)Integer32(Math.Truncate((double)b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static ulong IFloat<float, ulong>.Run(float a, float b)
            => Sse.X64.IsSupported ? (ulong)Sse.X64.ConvertToInt64WithTruncation(Vector128.CreateScalarUnsafe(b)) : (ulong)Integer64(Math.Truncate((double)b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static uint IFloat<double, uint>.Run(double a, double b)
            => Sse2.IsSupported ? (uint)Sse2.ConvertToInt32WithTruncation(Vector128.CreateScalarUnsafe(b)) : (uint)Integer32(Math.Truncate(b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static ulong IFloat<double, ulong>.Run(double a, double b)
            => Sse2.X64.IsSupported ? (ulong)Sse2.X64.ConvertToInt64WithTruncation(Vector128.CreateScalarUnsafe(b)) : (ulong)Integer64(Math.Truncate(b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<int> Run(Vector128<float> a, Vector128<float> b)
            => Sse2.IsSupported ? Sse2.ConvertToVector128Int32WithTruncation(b) : Integers(Vector128.Truncate(b));
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<int> Run(Vector128<double> a, Vector128<double> b)
            => Sse2.IsSupported ? Sse2.ConvertToVector128Int32WithTruncation(b) : Integers(Vector128.Truncate(b));
    }

    private static int Integer32(double value) => value is >= int.MinValue and <= int.MaxValue ? (int)value : int.MinValue;
    private static long Integer64(double value) => value is >= long.MinValue and < 9223372036854775808.0 ? (long)value : long.MinValue;

    private static Vector128<int> Integers(Vector128<float> value)
        => Vector128.Create(Integer32(value.GetElement(0)), Integer32(value.GetElement(1)), Integer32(value.GetElement(2)), Integer32(value.GetElement(3)));

    private static Vector128<int> Integers(Vector128<double> value) => Vector128.Create(Integer32(value.ToScalar()), Integer32(value.GetElement(1)), 0, 0);
}
