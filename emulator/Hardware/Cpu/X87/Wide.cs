using System.Numerics;
using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>
/// A number of 128 significant bits in which the transcendental functions are computed: (-1)^Sign * Bits * 2^(Exponent - 127), the top bit
/// of <see cref="Bits"/> set unless the number is zero. Results are cut, not rounded: the error of one operation is a few units of 2^-126, far below
/// the 2^-64 that the final rounding sees.
/// </summary>
internal readonly struct Wide(bool sign, int exponent, UInt128 bits)
{
    public readonly UInt128 Bits = bits;
    public readonly int Exponent = exponent;
    public readonly bool Sign = sign;

    public static UInt128 TopBit => UInt128.One << 127;

    public static Wide One => new(false, 0, TopBit);

    public static Wide Pi => new(false, 1, new UInt128(0xC90FDAA22168C234, 0xC4C6628B80DC1CD1));

    /// <summary>Natural logarithm of 2.</summary>
    public static Wide Ln2 => new(false, -1, new UInt128(0xB17217F7D1CF79AB, 0xC9E3B39803F2F6AF));

    /// <summary>1 / ln 2.</summary>
    public static Wide Log2E => new(false, 0, new UInt128(0xB8AA3B295C17F0BB, 0xBE87FED0691D3E88));

    public Wide Negated => new(!Sign, Exponent, Bits);

    public Wide Magnitude => new(false, Exponent, Bits);

    /// <summary>The number multiplied by 2^<paramref name="power"/>.</summary>
    public Wide Scaled(int power) => new(Sign, Exponent + power, Bits);

    /// <summary>A finite number; denormals too.</summary>
    public static Wide From(Float80 value)
    {
        if (value.IsZero)
            return default;
        ulong significand = value.Normalize(out int exponent);
        return new Wide(value.Sign, exponent - Float80.Bias, new UInt128(significand, 0));
    }

    public static Wide From(int value) => Normalized(value < 0, 127, (UInt128)(uint)Math.Abs(value));

    /// <summary>Makes bits * 2^(exponent - 127) of any bits.</summary>
    public static Wide Normalized(bool sign, int exponent, UInt128 bits)
    {
        if (bits == 0)
            return default;
        int shift = (int)UInt128.LeadingZeroCount(bits);
        return new Wide(sign, exponent - shift, bits << shift);
    }

    /// <summary>The upper half of the product of two 128-bit fractions.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static UInt128 MultiplyHigh(UInt128 a, UInt128 b)
    {
        ulong aHigh = (ulong)(a >> 64), aLow = (ulong)a, bHigh = (ulong)(b >> 64), bLow = (ulong)b;
        ulong high = Math.BigMul(aHigh, bHigh, out ulong low);
        UInt128 product = new(high, low);
        product += Math.BigMul(aHigh, bLow, out _);
        product += Math.BigMul(aLow, bHigh, out _);
        return product;
    }

    public static Wide operator *(Wide a, Wide b)
    {
        UInt128 product = MultiplyHigh(a.Bits, b.Bits);
        return (product & TopBit) != 0
            ? new Wide(a.Sign != b.Sign, a.Exponent + b.Exponent + 1, product)
            : Normalized(a.Sign != b.Sign, a.Exponent + b.Exponent + 1, product);
    }

    public static Wide operator +(Wide a, Wide b)
    {
        if (a.Bits == 0)
            return b;
        if (b.Bits == 0)
            return a;
        if (a.Exponent < b.Exponent || (a.Exponent == b.Exponent && a.Bits < b.Bits))
            (a, b) = (b, a);
        int shift = a.Exponent - b.Exponent;
        UInt128 lesser = shift < 128 ? b.Bits >> shift : 0;
        if (a.Sign != b.Sign)
            return Normalized(a.Sign, a.Exponent, a.Bits - lesser);
        UInt128 sum = a.Bits + lesser;
        return sum < lesser
            ? new Wide(a.Sign, a.Exponent + 1, (sum >> 1) | TopBit)
            : new Wide(a.Sign, a.Exponent, sum);
    }

    public static Wide operator -(Wide a, Wide b) => a + b.Negated;

    /// <summary>One Newton step doubles the 63 good bits of a quotient by the divisor's upper half.</summary>
    public static Wide operator /(Wide a, Wide b)
    {
        Wide divisor = new(b.Sign, 0, b.Bits);
        Wide estimate = Normalized(b.Sign, 62, UInt128.MaxValue / (ulong)(b.Bits >> 64));
        Wide reciprocal = estimate + (estimate * (One - (divisor * estimate)));
        return (a * reciprocal).Scaled(-b.Exponent);
    }

    /// <summary>The magnitude, less than 1, as a fraction of 2^128.</summary>
    public UInt128 Fraction => Exponent < -128 ? 0 : Bits >> (-1 - Exponent);

    /// <summary>
    /// c0 -/+ c1 x + c2 x^2 -/+ ... for x a fraction of 2^128 and coefficients in units of 2^-127; the sum must lie in [1/2, 2). Never exactly 1 for
    /// an alternating series, so that the rounding of a result sees on which side it is.
    /// </summary>
    public static Wide Series(ReadOnlySpan<UInt128> coefficients, UInt128 x, bool alternating)
    {
        UInt128 sum = coefficients[^1];
        x = UInt128.Max(x, 32);
        for (int i = coefficients.Length - 2; i >= 0; i--)
            sum = alternating ? coefficients[i] - MultiplyHigh(sum, x) : coefficients[i] + MultiplyHigh(sum, x);
        return Normalized(false, 0, sum);
    }

    /// <summary>
    /// The number as a result. One that lies nearer to a representable value than these computations can tell becomes that value, in every rounding
    /// mode, as on processors (the sine of a small argument is the argument); #P is raised all the same, for a transcendental value is never exact.
    /// </summary>
    public Float80 Round(ref X87Context cx)
    {
        const ulong noise = 1 << 12;
        UInt128 bits = (ulong)Bits + noise < 2 * noise ? Bits + noise : Bits;
        ulong low = bits != Bits ? 0 : (ulong)bits | 1;
        bool carried = bits < Bits;
        Float80 result = Float80Rounding.Round(Sign, Exponent + Float80.Bias + (carried ? 1 : 0), carried ? Float80.IntegerBit : (ulong)(bits >> 64), low, 0, ref cx);
        cx.Raised |= X87Status.Precision | (result.Exponent == 0 ? X87Status.Underflow : 0);
        return result;
    }
}
