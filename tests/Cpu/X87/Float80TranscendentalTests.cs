using System.Numerics;
using Emulator.Hardware.Cpu.X87;

namespace Emulator.Tests.Cpu.X87;

/// <summary>Transcendental functions against series summed to 300 bits; the manual allows one unit of the last place (SDM vol. 1, 8.3.10).</summary>
internal sealed class Float80TranscendentalTests
{
    private const int Cases = 2_000, Scale = 300;

    private static readonly BigInteger One = BigInteger.One << Scale;
    private static readonly BigInteger Ln2 = 2 * AreaTangent(One / 3);

    [Test]
    public void Sines_and_cosines_are_within_half_a_unit_and_a_little()
    {
        var samples = new Samples(31);
        // The processor's own pi of 66 bits; the nearest multiple of its half is taken off.
        BigInteger halfPi = BigInteger.Parse("3243F6A8885A308D3", System.Globalization.NumberStyles.HexNumber, null) << (Scale - 65);
        for (int i = 0; i < Cases; i++)
        {
            Float80 a = samples.Normal(-20, 40);
            BigInteger x = Fixed(a), quadrant = Floor(x + (halfPi >> 1), halfPi), rest = x - (quadrant * halfPi);
            (BigInteger sine, BigInteger cosine) = (Sine(rest), Cosine(rest));
            (BigInteger s, BigInteger c) = (int)(quadrant & 3) switch { 0 => (sine, cosine), 1 => (cosine, -sine), 2 => (-sine, -cosine), _ => (-cosine, sine) };
            X87Context cx = Nearest;
            AssertClose(Float80Trigonometry.Sine(a, ref cx), s, $"sin {a}");
            AssertClose(Float80Trigonometry.Cosine(a, ref cx), c, $"cos {a}");
            AssertClose(Float80Trigonometry.Tangent(a, out _, ref cx), (s << Scale) / c, $"tan {a}");
        }
    }

    [Test]
    public void An_arctangent_inverts_the_tangent()
    {
        var samples = new Samples(32);
        for (int i = 0; i < Cases; i++)
        {
            Float80 y = samples.Normal(-10, 10).Magnitude, x = samples.Normal(-10, 10).Magnitude;
            X87Context cx = Nearest;
            Float80 angle = Float80Trigonometry.Arctangent(x, y, ref cx);
            // tan(atan(y/x)) = y/x: the error of the angle times the derivative is that of the tangent.
            BigInteger fixedAngle = Fixed(angle), sine = Sine(fixedAngle), cosine = Cosine(fixedAngle);
            BigInteger error = ((sine * Fixed(x)) - (cosine * Fixed(y))) / BigInteger.Max(Fixed(x), Fixed(y));
            BigInteger unit = BigInteger.One << (Scale + angle.Exponent - Float80.Bias - 63);
            Assert.That(BigInteger.Abs(error), Is.LessThan(unit * 3 / 4), $"atan({y}/{x}) = {angle}");
        }
    }

    [Test]
    public void Powers_of_two_minus_one_are_within_half_a_unit_and_a_little()
    {
        var samples = new Samples(33);
        for (int i = 0; i < Cases; i++)
        {
            Float80 a = samples.Normal(-30, 0);
            X87Context cx = Nearest;
            AssertClose(Float80Logarithm.PowerMinusOne(a, ref cx), ExponentialMinusOne((Fixed(a) * Ln2) >> Scale), $"2^{a} - 1");
        }
    }

    [Test]
    public void Logarithms_are_within_half_a_unit_and_a_little()
    {
        var samples = new Samples(34);
        for (int i = 0; i < Cases; i++)
        {
            Float80 x = samples.Normal(-30, 30).Magnitude, y = samples.Normal(-4, 4), small = samples.Normal(-30, -2);
            X87Context cx = Nearest;
            AssertClose(Float80Logarithm.LogarithmTimes(x, y, ref cx), Product(Logarithm(Fixed(x)), y), $"{y} log2 {x}");
            AssertClose(Float80Logarithm.LogarithmPlusOneTimes(small, y, ref cx), Product(Logarithm(Fixed(small) + One), y), $"{y} log2(1 + {small})");
        }
    }

    private static X87Context Nearest => new(Samples.Control(X87Rounding.Nearest, 64));

    private static BigInteger Fixed(Float80 value)
    {
        int shift = Scale + value.Exponent - Float80.Bias - 63;
        BigInteger magnitude = (BigInteger)value.Significand << shift;
        return value.Sign ? -magnitude : magnitude;
    }

    private static void AssertClose(Float80 actual, BigInteger exact, string what)
    {
        if (exact.IsZero && actual.IsZero)
            return;
        BigInteger unit = BigInteger.One << (Scale + actual.Exponent - Float80.Bias - 63);
        Assert.That(BigInteger.Abs(Fixed(actual) - exact) * 1000, Is.LessThanOrEqualTo(unit * 501), what);
    }

    private static BigInteger Floor(BigInteger a, BigInteger b)
    {
        BigInteger quotient = BigInteger.DivRem(a, b, out BigInteger rest);
        return rest.Sign < 0 ? quotient - 1 : quotient;
    }

    private static BigInteger Product(BigInteger a, Float80 b) => (a * Fixed(b)) >> Scale;

    private static BigInteger Sine(BigInteger x) => Series(x, x, 2);

    private static BigInteger Cosine(BigInteger x) => Series(One, x, 1);

    /// <summary>term - term x^2 / (n (n + 1)) + ...</summary>
    private static BigInteger Series(BigInteger term, BigInteger x, int n)
    {
        BigInteger sum = 0, square = (x * x) >> Scale;
        for (; !term.IsZero && term != -1; n += 2)
        {
            sum += term;
            term = -((term * square) >> Scale) / (n * (n + 1));
        }
        return sum;
    }

    private static BigInteger ExponentialMinusOne(BigInteger x)
    {
        BigInteger sum = 0, term = x;
        for (int n = 2; !term.IsZero && term != -1; n++)
        {
            sum += term;
            term = ((term * x) >> Scale) / n;
        }
        return sum;
    }

    private static BigInteger AreaTangent(BigInteger z)
    {
        BigInteger sum = 0, power = z, square = (z * z) >> Scale;
        for (int n = 1; !power.IsZero && power != -1; n += 2)
        {
            sum += power / n;
            power = (power * square) >> Scale;
        }
        return sum;
    }

    /// <summary>log2, for any positive x.</summary>
    private static BigInteger Logarithm(BigInteger x)
    {
        int power = (int)x.GetBitLength() - 1 - Scale;
        BigInteger mantissa = power >= 0 ? x >> power : x << -power;
        BigInteger remainder = power > 0 ? x - (mantissa << power) : 0;
        Assert.That(remainder.IsZero, "the scale holds all of the argument");
        return (power * One) + ((2 * AreaTangent(((mantissa - One) << Scale) / (mantissa + One)) << Scale) / Ln2);
    }
}
