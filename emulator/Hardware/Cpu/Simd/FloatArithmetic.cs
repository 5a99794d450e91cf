using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>An operation that exists for both formats, packed and scalar.</summary>
internal interface IArithmetic : IFloat<float, float>, IFloat<double, double>,
    IFloat<Vector128<float>, Vector128<float>>, IFloat<Vector128<double>, Vector128<double>>;

/// <summary>An operation of two doubles whose flags their exponents foretell (<see cref="Ieee.AreOrdinary"/>).</summary>
internal interface IForetold : IArithmetic
{
    /// <summary>The first vector with the result in place of its lowest element, on x86 hosts.</summary>
    static abstract Vector128<double> Lowest(Vector128<double> a, Vector128<double> b);
}

/// <summary>ADD, SUB, MUL, DIV, SQRT, MIN, MAX, ADDSUB of singles and doubles, packed and scalar.</summary>
internal static unsafe class FloatArithmetic
{
    public static Handler Bind(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Addsd => Double<Add>(ref b),
        Mnemonic.Subsd => Double<Subtract>(ref b),
        Mnemonic.Mulsd => Double<Multiply>(ref b),
        Mnemonic.Divsd => Double<Divide>(ref b),
        Mnemonic.Addss or Mnemonic.Addps or Mnemonic.Addpd => Bind<Add>(ref b),
        Mnemonic.Subss or Mnemonic.Subps or Mnemonic.Subpd => Bind<Subtract>(ref b),
        Mnemonic.Mulss or Mnemonic.Mulps or Mnemonic.Mulpd => Bind<Multiply>(ref b),
        Mnemonic.Divss or Mnemonic.Divps or Mnemonic.Divpd => Bind<Divide>(ref b),
        Mnemonic.Sqrtss or Mnemonic.Sqrtsd or Mnemonic.Sqrtps or Mnemonic.Sqrtpd => Bind<SquareRoot>(ref b),
        Mnemonic.Minss or Mnemonic.Minsd or Mnemonic.Minps or Mnemonic.Minpd => Bind<Min>(ref b),
        Mnemonic.Maxss or Mnemonic.Maxsd or Mnemonic.Maxps or Mnemonic.Maxpd => Bind<Max>(ref b),
        Mnemonic.Addsubps => Float.Packed<AddSubtract, Vector128<float>, Vector128<float>>(ref b),
        Mnemonic.Addsubpd => Float.Packed<AddSubtract, Vector128<double>, Vector128<double>>(ref b),
        _ => null,
    };

    /// <summary>Binds the packed or scalar form that the instruction's memory operand would have.</summary>
    public static Handler Bind<TFloat>(ref Binding b) where TFloat : struct, IArithmetic => Shape(b.Instruction.Mnemonic) switch
    {
        ('s', 's') => Float.Scalar<TFloat, float, float>(ref b),
        ('s', 'd') => Float.Scalar<TFloat, double, double>(ref b),
        ('p', 's') => Float.Packed<TFloat, Vector128<float>, Vector128<float>>(ref b),
        _ => Float.Packed<TFloat, Vector128<double>, Vector128<double>>(ref b),
    };

    private static Handler Double<TFloat>(ref Binding b) where TFloat : struct, IForetold
    {
        if (!Sse41.IsSupported)
            return Float.Scalar<TFloat, double, double>(ref b);
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &Steps.One<Foretold<TFloat, XmmSource>>,
            OperandForm.Base => &Steps.One<Foretold<TFloat, Memory<BaseAddress>>>,
            OperandForm.Index => &Steps.One<Foretold<TFloat, Memory<IndexAddress>>>,
            _ => &Float.ToVector<TFloat, double, double, Memory<AnyAddress>>,
        };
    }

    /// <summary>The operation on doubles of the commonest sizes; what else there may be, <see cref="Float"/> does.</summary>
    internal readonly unsafe struct Foretold<TFloat, TSource> : IStep where TFloat : struct, IForetold where TSource : struct, ISource
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Run(VcpuState* c, Op* op)
        {
            ulong place = TSource.Place(c, op, sizeof(double));
            if (!TSource.IsThere(c, place, sizeof(double)) || !Float.IsPlain(c))
                return false;
            var target = (Vector128<double>*)Xmm.Destination(c, op);
            Vector128<double> a = *target, b = Vector128.CreateScalarUnsafe(*(double*)TSource.At(c, place));
            if (!Ieee.AreOrdinary(a, b))
                return false;
            *target = TFloat.Lowest(a, b);
            return true;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Otherwise(VcpuState* c, Op* op) => Float.ToVector<TFloat, double, double, TSource>(c, op);
    }

    // The last two letters say it: PS, PD, SS, SD.
    private static (char, char) Shape(Mnemonic mnemonic) => mnemonic switch
    {
        Mnemonic.Addss or Mnemonic.Subss or Mnemonic.Mulss or Mnemonic.Divss or Mnemonic.Sqrtss or Mnemonic.Minss or Mnemonic.Maxss or Mnemonic.Cmpss => ('s', 's'),
        Mnemonic.Sqrtsd or Mnemonic.Minsd or Mnemonic.Maxsd or Mnemonic.Cmpsd => ('s', 'd'),
        Mnemonic.Addps or Mnemonic.Subps or Mnemonic.Mulps or Mnemonic.Divps or Mnemonic.Sqrtps or Mnemonic.Minps or Mnemonic.Maxps or Mnemonic.Cmpps => ('p', 's'),
        _ => ('p', 'd'),
    };

    // In bounds: values only; Float has the operands.
    internal readonly struct Add : IForetold
    {
        public static Clean Clean => Clean.Sum;
        public static Range Range => Range.Sum;
        public static bool PassesFirstNan => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b) => a + b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b) => a + b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => a + b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => a + b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Lowest(Vector128<double> a, Vector128<double> b) => Sse2.AddScalar(a, b);
    }

    internal readonly struct Subtract : IForetold
    {
        public static Clean Clean => Clean.Sum;
        public static Range Range => Range.Sum;
        public static bool PassesFirstNan => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b) => a - b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b) => a - b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => a - b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => a - b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Lowest(Vector128<double> a, Vector128<double> b) => Sse2.SubtractScalar(a, b);
    }

    internal readonly struct Multiply : IForetold
    {
        public static Clean Clean => Clean.Product;
        public static Range Range => Range.Product;
        public static bool PassesFirstNan => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b) => a * b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b) => a * b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => a * b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => a * b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Lowest(Vector128<double> a, Vector128<double> b) => Sse2.MultiplyScalar(a, b);
    }

    internal readonly struct Divide : IForetold
    {
        public static Clean Clean => Clean.Product;
        public static Range Range => Range.Product;
        public static bool PassesFirstNan => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b) => a / b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b) => a / b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => a / b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => a / b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Lowest(Vector128<double> a, Vector128<double> b) => Sse2.DivideScalar(a, b);
    }

    private readonly struct SquareRoot : IArithmetic
    {
        public static Clean Clean => Clean.NeverTiny;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b) => MathF.Sqrt(b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b) => Math.Sqrt(b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => Vector128.Sqrt(b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => Vector128.Sqrt(b);
    }

    /// <summary>The second operand unless the first is less: also when they are equal, both zero, or one is a NaN.</summary>
    private readonly struct Min : IArithmetic
    {
        public static Clean Clean => Clean.Comparison;
        public static bool Rounds => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b)
            => Sse.IsSupported ? Sse.MinScalar(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : a < b ? a : b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b)
            => Sse2.IsSupported ? Sse2.MinScalar(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : a < b ? a : b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b)
            => Sse.IsSupported ? Sse.Min(a, b) : Vector128.ConditionalSelect(Vector128.LessThan(a, b), a, b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b)
            => Sse2.IsSupported ? Sse2.Min(a, b) : Vector128.ConditionalSelect(Vector128.LessThan(a, b), a, b);
    }

    private readonly struct Max : IArithmetic
    {
        public static Clean Clean => Clean.Comparison;
        public static bool Rounds => false;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b)
            => Sse.IsSupported ? Sse.MaxScalar(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : a > b ? a : b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b)
            => Sse2.IsSupported ? Sse2.MaxScalar(Vector128.CreateScalarUnsafe(a), Vector128.CreateScalarUnsafe(b)).ToScalar() : a > b ? a : b;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b)
            => Sse.IsSupported ? Sse.Max(a, b) : Vector128.ConditionalSelect(Vector128.GreaterThan(a, b), a, b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b)
            => Sse2.IsSupported ? Sse2.Max(a, b) : Vector128.ConditionalSelect(Vector128.GreaterThan(a, b), a, b);
    }

    /// <summary>Elements of even position are subtracted, those of odd position added.</summary>
    private readonly struct AddSubtract : IFloat<Vector128<float>, Vector128<float>>, IFloat<Vector128<double>, Vector128<double>>
    {
        public static Clean Clean => Clean.Sum;
        public static Range Range => Range.Sum;
        public static bool PassesFirstNan => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b)
            => Sse3.IsSupported ? Sse3.AddSubtract(a, b) : Vector128.ConditionalSelect(Vector128.Create(-1, 0, -1, 0).AsSingle(), a - b, a + b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b)
            => Sse3.IsSupported ? Sse3.AddSubtract(a, b) : Vector128.ConditionalSelect(Vector128.Create(-1L, 0).AsDouble(), a - b, a + b);
    }
}
