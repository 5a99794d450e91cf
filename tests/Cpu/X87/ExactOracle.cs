using System.Numerics;
using Emulator.Hardware.Cpu.X87;

namespace Emulator.Tests.Cpu.X87;

/// <summary>Exact rational arithmetic and rounding by big integers: what the format's operations must give, by definition and slowly.</summary>
internal static class ExactOracle
{
    private const int MinExponent = -16382, MaxExponent = 16383;

    /// <summary>numerator / denominator * 2^scale.</summary>
    internal readonly record struct Rational(BigInteger Numerator, BigInteger Denominator, int Scale);

    internal readonly record struct Rounded(Float80 Value, uint Flags);

    public static Rational Exact(Float80 value)
    {
        BigInteger significand = value.Significand;
        return new Rational(value.Sign ? -significand : significand, 1, Math.Max(value.Exponent, 1) - 16383 - 63);
    }

    public static Rational Add(Rational a, Rational b)
    {
        int scale = Math.Min(a.Scale, b.Scale);
        return new Rational((a.Numerator << (a.Scale - scale)) + (b.Numerator << (b.Scale - scale)), 1, scale);
    }

    public static Rational Multiply(Rational a, Rational b) => new(a.Numerator * b.Numerator, 1, a.Scale + b.Scale);

    public static Rational Divide(Rational a, Rational b)
        => new(a.Numerator * b.Numerator.Sign, BigInteger.Abs(b.Numerator), a.Scale - b.Scale);

    /// <summary>Rounds a value that is not zero to <paramref name="precision"/> bits, all exceptions masked.</summary>
    public static Rounded Round(Rational value, int precision, X87Rounding mode)
    {
        bool negative = value.Numerator.Sign < 0;
        BigInteger magnitude = BigInteger.Abs(value.Numerator);
        // The place of the leading bit: 2^top <= value < 2^(top + 1).
        int top = (int)(magnitude.GetBitLength() - value.Denominator.GetBitLength());
        if ((top >= 0 ? magnitude : magnitude << -top) < (top >= 0 ? value.Denominator << top : value.Denominator))
            top--;
        top += value.Scale;

        (BigInteger unbounded, _, _) = Cut(magnitude, value, top - precision + 1, negative, mode);
        bool tiny = top + (unbounded.GetBitLength() > precision ? 1 : 0) < MinExponent;
        // Denormals keep the places of the smallest normal number's significand.
        int last = Math.Max(top, MinExponent) - precision + 1;
        (BigInteger kept, bool inexact, bool up) = Cut(magnitude, value, last, negative, mode);
        uint flags = inexact ? X87Status.Precision | (up ? X87Status.C1 : 0) : 0;
        if (tiny && inexact)
            flags |= X87Status.Underflow;

        BigInteger significand = kept << (precision <= 64 ? 64 - precision : 0);
        int exponent = Math.Max(top, MinExponent);
        if (significand.GetBitLength() > 64)
        {
            significand >>= 1;
            exponent++;
        }
        if (exponent > MaxExponent)
        {
            bool infinite = mode == X87Rounding.Nearest || mode == (negative ? X87Rounding.Down : X87Rounding.Up);
            flags = X87Status.Overflow | X87Status.Precision | (infinite ? X87Status.C1 : 0);
            return new Rounded(infinite ? Float80.Infinity(negative) : new Float80(negative, 0x7FFE, ulong.MaxValue << (64 - precision)), flags);
        }
        bool normal = significand.GetBitLength() == 64;
        return new Rounded(new Float80(negative, normal ? exponent + 16383 : 0, (ulong)significand), flags);
    }

    /// <summary>The magnitude in units of 2^last, rounded.</summary>
    private static (BigInteger Kept, bool Inexact, bool Up) Cut(BigInteger magnitude, Rational value, int last, bool negative, X87Rounding mode)
    {
        int shift = value.Scale - last;
        BigInteger numerator = shift >= 0 ? magnitude << shift : magnitude;
        BigInteger denominator = shift >= 0 ? value.Denominator : value.Denominator << -shift;
        BigInteger kept = BigInteger.DivRem(numerator, denominator, out BigInteger rest);
        int half = (rest << 1).CompareTo(denominator);
        bool up = mode switch
        {
            X87Rounding.Nearest => half > 0 || (half == 0 && !kept.IsEven),
            X87Rounding.Down => negative && !rest.IsZero,
            X87Rounding.Up => !negative && !rest.IsZero,
            _ => false,
        };
        return (up ? kept + 1 : kept, !rest.IsZero, up);
    }
}
