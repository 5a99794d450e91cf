using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>
/// What must hold of an operation's operands and result so that it can have raised no flag but PE. The tests are cheap and only need to be
/// sufficient: when one fails, <see cref="CheckedFloat"/> finds out what the processor would do.
/// </summary>
[Flags]
internal enum Clean
{
    Always = 0,
    FirstNotDenormal = 1,
    SecondNotDenormal = 2,
    FirstOrdered = 4,
    SecondOrdered = 8,
    ResultNotDenormal = 16,
    ResultFinite = 32,
    /// <summary>Finite, and so far from the smallest normal number that it was not tiny before rounding.</summary>
    ResultAmple = 64,
    /// <summary>Not the integer that stands for an invalid conversion.</summary>
    ResultDefinite = 128,

    NotDenormal = FirstNotDenormal | SecondNotDenormal,
    /// <summary>Additions: a tiny sum is exact, but DAZ, FTZ and an unmasked underflow look at it.</summary>
    Sum = NotDenormal | ResultNotDenormal | ResultFinite,
    Product = NotDenormal | ResultAmple,
    Comparison = NotDenormal | FirstOrdered | SecondOrdered,
    /// <summary>Square roots and conversions to a wider format: a result is never tiny.</summary>
    NeverTiny = SecondNotDenormal | ResultFinite,
    Narrowing = SecondNotDenormal | ResultAmple,
    Rounding = SecondNotDenormal | SecondOrdered,
}

/// <summary>Tests of numbers by their bits, for float, double and vectors of them. The sign is shifted out, which leaves unsigned ranges. In bounds: no pointers.</summary>
internal static class Ieee
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Asks(this Clean test, Clean what) => (test & what) != Clean.Always;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsClean<TIn, TOut>(Clean test, TIn first, TIn second, TOut result) where TIn : unmanaged where TOut : unmanaged
    {
        if (typeof(TIn) == typeof(float))
            return Inputs<uint>(test, Unsafe.BitCast<TIn, uint>(first), Unsafe.BitCast<TIn, uint>(second)) && Result(test, result);
        if (typeof(TIn) == typeof(double))
            return Inputs<ulong>(test, Unsafe.BitCast<TIn, ulong>(first), Unsafe.BitCast<TIn, ulong>(second)) && Result(test, result);
        if (typeof(TIn) == typeof(Vector128<float>))
            return Inputs(test, Unsafe.BitCast<TIn, Vector128<int>>(first), Unsafe.BitCast<TIn, Vector128<int>>(second)) && Result(test, result);
        if (typeof(TIn) == typeof(Vector128<double>))
            return Inputs(test, Unsafe.BitCast<TIn, Vector128<long>>(first), Unsafe.BitCast<TIn, Vector128<long>>(second)) && Result(test, result);
        if (typeof(TIn) == typeof(Vector64<float>))
        {
            Vector128<int> both = Vector128.Create(Unsafe.BitCast<TIn, ulong>(second)).AsInt32();
            return Inputs(test, both, both) && Result(test, result);
        }
        return Result(test, result);
    }

    /// <summary>
    /// Whether the lowest doubles of both have exponents between -255 and 256. Then their sum, difference, product and quotient are normal numbers (differences also zero), and
    /// the operation has raised no flag but PE: one test of the operands says all that <see cref="Clean"/> can ask. Zeros do not pass; for them there is <see cref="IsClean"/>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AreOrdinary(Vector128<double> first, Vector128<double> second)
    {
        // The addition moves these exponents to those whose two upper bits are set.
        Vector128<long> both = Sse2.UnpackLow(first, second).AsInt64() + Vector128.Create(768L << 52);
        return Sse41.TestC(both, Vector128.Create(3L << 61));
    }

    /// <summary>Whether any element is a denormal number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AnyDenormal<T>(T value) where T : unmanaged => !Result(Clean.ResultNotDenormal, value);

    /// <summary>The x86 rule for two NaNs: the first operand, made quiet, wherever it is a NaN.</summary>
    public static T FirstNan<T>(T first, T result) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
            return FirstNan(Unsafe.BitCast<T, uint>(first), 0x7F80_0000u, 0x40_0000u) is var quiet and not 0 ? Unsafe.BitCast<uint, T>(quiet) : result;
        if (typeof(T) == typeof(double))
            return FirstNan(Unsafe.BitCast<T, ulong>(first), 0x7FF0_0000_0000_0000u, 0x8_0000_0000_0000u) is var quiet and not 0
                ? Unsafe.BitCast<ulong, T>(quiet) : result;
        if (typeof(T) == typeof(Vector128<float>))
        {
            Vector128<float> a = Unsafe.BitCast<T, Vector128<float>>(first), r = Unsafe.BitCast<T, Vector128<float>>(result);
            Vector128<float> nan = IsNan(a.AsInt32()).AsSingle();
            return Unsafe.BitCast<Vector128<float>, T>(Vector128.ConditionalSelect(nan, a | Vector128.Create(0x40_0000).AsSingle(), r));
        }
        else
        {
            Vector128<double> a = Unsafe.BitCast<T, Vector128<double>>(first), r = Unsafe.BitCast<T, Vector128<double>>(result);
            Vector128<double> nan = IsNan(a.AsInt64()).AsDouble();
            return Unsafe.BitCast<Vector128<double>, T>(Vector128.ConditionalSelect(nan, a | Vector128.Create(0x8_0000_0000_0000).AsDouble(), r));
        }
    }

    private static T FirstNan<T>(T bits, T infinity, T quiet) where T : IBinaryInteger<T>
        => bits + bits > infinity + infinity ? bits | quiet : T.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Result<T>(Clean test, T result) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
            return ResultBits(test, Unsafe.BitCast<T, uint>(result));
        if (typeof(T) == typeof(double))
            return ResultBits(test, Unsafe.BitCast<T, ulong>(result));
        if (typeof(T) == typeof(Vector128<float>))
            return Result(test, Unsafe.BitCast<T, Vector128<int>>(result));
        if (typeof(T) == typeof(Vector128<double>))
            return Result(test, Unsafe.BitCast<T, Vector128<long>>(result));
        if (!test.Asks(Clean.ResultDefinite))
            return true;
        if (typeof(T) == typeof(uint))
            return Unsafe.BitCast<T, uint>(result) != 0x8000_0000;
        if (typeof(T) == typeof(ulong))
            return Unsafe.BitCast<T, ulong>(result) != 0x8000_0000_0000_0000;
        return !Vector128.EqualsAny(Unsafe.BitCast<T, Vector128<int>>(result), Vector128.Create(int.MinValue));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Inputs<T>(Clean test, T a, T b) where T : unmanaged, IBinaryInteger<T>
        => !(test.Asks(Clean.FirstNotDenormal) && IsDenormal(a)
            || test.Asks(Clean.SecondNotDenormal) && IsDenormal(b)
            || test.Asks(Clean.FirstOrdered) && a + a > Infinity<T>()
            || test.Asks(Clean.SecondOrdered) && b + b > Infinity<T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool ResultBits<T>(Clean test, T r) where T : unmanaged, IBinaryInteger<T>
    {
        if (test.Asks(Clean.ResultAmple))
            return r + r - Ample<T>() < Infinity<T>() - Ample<T>();
        if (test.Asks(Clean.ResultFinite) && test.Asks(Clean.ResultNotDenormal))
            return r + r - Normal<T>() < Infinity<T>() - Normal<T>() || r + r == T.Zero;
        return test.Asks(Clean.ResultFinite) ? r + r < Infinity<T>() : !test.Asks(Clean.ResultNotDenormal) || !IsDenormal(r);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Inputs<T>(Clean test, Vector128<T> a, Vector128<T> b) where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
    {
        Vector128<T> unclean = default;
        if (test.Asks(Clean.FirstNotDenormal))
            unclean |= IsDenormal(a);
        if (test.Asks(Clean.SecondNotDenormal))
            unclean |= IsDenormal(b);
        if (test.Asks(Clean.FirstOrdered))
            unclean |= IsNan(a);
        if (test.Asks(Clean.SecondOrdered))
            unclean |= IsNan(b);
        return unclean == default;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Result<T>(Clean test, Vector128<T> r) where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
    {
        Vector128<T> unclean = default;
        if (test.Asks(Clean.ResultNotDenormal))
            unclean |= IsDenormal(r);
        // Unsigned compares, as signed ones of numbers moved by half the range.
        if (test.Asks(Clean.ResultFinite))
            unclean |= Vector128.GreaterThan(r + r + Vector128.Create(T.MinValue), Vector128.Create(T.MinValue + Infinity<T>() - T.One));
        if (test.Asks(Clean.ResultAmple))
            unclean |= Vector128.GreaterThan(r + r + Vector128.Create(T.MinValue - Ample<T>()), Vector128.Create(T.MinValue + Infinity<T>() - Ample<T>() - T.One));
        return unclean == default;
    }

    // A denormal number's bits without the sign are above 0 and below the smallest normal number's.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool IsDenormal<T>(T bits) where T : unmanaged, IBinaryInteger<T> => bits + bits - T.One < Normal<T>() - T.One;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<T> IsDenormal<T>(Vector128<T> bits) where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
        => Vector128.LessThan(bits + bits + Vector128.Create(T.MaxValue), Vector128.Create(T.MinValue + Normal<T>() - T.One));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<T> IsNan<T>(Vector128<T> bits) where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
        => Vector128.GreaterThan(bits + bits + Vector128.Create(T.MinValue), Vector128.Create(T.MinValue + Infinity<T>()));

    // Infinity, the smallest normal number and one with two binades below it, each without the sign.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe T Infinity<T>() where T : unmanaged, IBinaryInteger<T> => T.CreateTruncating(sizeof(T) == 4 ? 0xFF00_0000u : 0xFFE0_0000_0000_0000);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe T Normal<T>() where T : unmanaged, IBinaryInteger<T> => T.CreateTruncating(sizeof(T) == 4 ? 1UL << 24 : 1UL << 53);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static unsafe T Ample<T>() where T : unmanaged, IBinaryInteger<T> => T.CreateTruncating(sizeof(T) == 4 ? 2UL << 24 : 2UL << 53);
}
