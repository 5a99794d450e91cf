using System.Numerics;
using Emulator.Hardware.Cpu.X87;

namespace Emulator.Tests.Cpu.X87;

internal sealed class Float80ArithmeticTests
{
    private const int Cases = 40_000;
    private const uint Judged = X87Status.Overflow | X87Status.Underflow | X87Status.Precision | X87Status.C1;

    private delegate Float80 Operation(Float80 a, Float80 b, ref X87Context cx);

    [Test]
    public void Addition_rounds_the_exact_sum() => Check(1, Float80Arithmetic.Add, ExactOracle.Add);

    [Test]
    public void Subtraction_rounds_the_exact_difference()
        => Check(2, Float80Arithmetic.Subtract, static (a, b) => ExactOracle.Add(a, b with { Numerator = -b.Numerator }));

    [Test]
    public void Multiplication_rounds_the_exact_product() => Check(3, Float80Arithmetic.Multiply, ExactOracle.Multiply);

    [Test]
    public void Division_rounds_the_exact_quotient() => Check(4, Float80Arithmetic.Divide, ExactOracle.Divide);

    private static void Check(int seed, Operation operation, Func<ExactOracle.Rational, ExactOracle.Rational, ExactOracle.Rational> exact)
    {
        var samples = new Samples(seed);
        for (int i = 0; i < Cases; i++)
        {
            Float80 a = samples.Finite(), b = samples.Next(30) == 0 ? a : samples.Finite();
            X87Rounding rounding = samples.Rounding();
            int precision = samples.Precision();
            X87Context cx = new(Samples.Control(rounding, precision));
            Float80 result = operation(a, b, ref cx);
            ExactOracle.Rational value = exact(ExactOracle.Exact(a), ExactOracle.Exact(b));
            ExactOracle.Rounded expected = value.Numerator.IsZero
                ? new ExactOracle.Rounded(Float80.Zero(rounding == X87Rounding.Down), 0)
                : ExactOracle.Round(value, precision, rounding);
            if (result != expected.Value || (cx.Raised & Judged) != expected.Flags)
                Assert.Fail($"{a} and {b}, {rounding} to {precision} bits: {result} raising {cx.Raised:X}, not {expected.Value} raising {expected.Flags:X}");
        }
    }

    [Test]
    public void A_square_root_is_the_rounded_root()
    {
        var samples = new Samples(5);
        for (int i = 0; i < Cases; i++)
        {
            Float80 a = samples.Finite().Magnitude;
            X87Rounding rounding = samples.Rounding();
            X87Context cx = new(Samples.Control(rounding, 64));
            Float80 root = Float80Arithmetic.SquareRoot(a, ref cx);

            // The root and its neighbours enclose the exact one: compare squares.
            ExactOracle.Rational below = ExactOracle.Exact(root), square = ExactOracle.Multiply(below, below);
            int order = Compare(square, ExactOracle.Exact(a));
            Assert.That((cx.Raised & X87Status.Precision) == 0, Is.EqualTo(order == 0), $"exactness of the root of {a}");
            if (order == 0)
                continue;
            bool up = (cx.Raised & X87Status.C1) != 0;
            Assert.That(order > 0, Is.EqualTo(up), $"C1 of the root of {a}");
            ExactOracle.Rational middle = new((below.Numerator << 1) + (up ? -1 : 1), 1, below.Scale - 1);
            int half = Compare(ExactOracle.Multiply(middle, middle), ExactOracle.Exact(a));
            bool expectedUp = rounding switch { X87Rounding.Nearest => half < 0, X87Rounding.Up => true, _ => false };
            Assert.That(up, Is.EqualTo(expectedUp), $"rounding of the root of {a}, {rounding}");
        }
    }

    private static int Compare(ExactOracle.Rational a, ExactOracle.Rational b)
    {
        int scale = Math.Min(a.Scale, b.Scale);
        return (a.Numerator << (a.Scale - scale)).CompareTo(b.Numerator << (b.Scale - scale));
    }

    [Test]
    public void At_53_bits_the_host_agrees()
    {
        var samples = new Samples(6);
        for (int i = 0; i < Cases; i++)
        {
            X87Context cx = new(Samples.Control(X87Rounding.Nearest, 53));
            double a = Ordinary(samples), b = Ordinary(samples);
            Float80 x = Float80Conversion.FromDouble(BitConverter.DoubleToUInt64Bits(a), ref cx);
            Float80 y = Float80Conversion.FromDouble(BitConverter.DoubleToUInt64Bits(b), ref cx);
            Assert.That(ToDouble(Float80Arithmetic.Add(x, y, ref cx)), Is.EqualTo(a + b));
            Assert.That(ToDouble(Float80Arithmetic.Multiply(x, y, ref cx)), Is.EqualTo(a * b));
            Assert.That(ToDouble(Float80Arithmetic.Divide(x, y, ref cx)), Is.EqualTo(a / b));
            Assert.That(ToDouble(Float80Arithmetic.SquareRoot(x.Magnitude, ref cx)), Is.EqualTo(Math.Sqrt(Math.Abs(a))));
        }
    }

    private static double Ordinary(Samples samples)
        => BitConverter.UInt64BitsToDouble((samples.Bits() & 0x800FFFFFFFFFFFFF) | ((ulong)(1023 + samples.Next(100) - 50) << 52));

    private static double ToDouble(Float80 value)
    {
        X87Context cx = new(Samples.Control(X87Rounding.Nearest, 64));
        return BitConverter.UInt64BitsToDouble(Float80Conversion.ToDouble(value, ref cx));
    }

    [Test]
    public void A_remainder_is_exact_and_gives_the_quotients_low_bits([Values] bool nearest)
    {
        var samples = new Samples(7);
        for (int i = 0; i < Cases; i++)
        {
            Float80 a = samples.Normal(-30, 60), b = samples.Normal(-30, 30);
            X87Context cx = new(Samples.Control(X87Rounding.Nearest, 64));
            Float80 rest = Float80Remainder.Remainder(a, b, nearest, ref cx);
            if (a.Exponent - b.Exponent >= 64)
            {
                Assert.That(cx.Raised & X87Status.C2, Is.Not.Zero);
                continue;
            }
            int scale = Math.Min(a.Exponent, b.Exponent);
            BigInteger x = (BigInteger)a.Significand << (a.Exponent - scale), y = (BigInteger)b.Significand << (b.Exponent - scale);
            BigInteger quotient = BigInteger.DivRem(x, y, out BigInteger expected);
            int half = (expected << 1).CompareTo(y);
            if (nearest && (half > 0 || (half == 0 && !quotient.IsEven)))
            {
                quotient++;
                expected -= y;
            }
            ExactOracle.Rational value = ExactOracle.Exact(rest);
            BigInteger actual = value.Numerator * (a.Sign ? -1 : 1) << Math.Max(0, value.Scale - (scale - Float80.Bias - 63));
            Assert.That(value.Scale >= scale - Float80.Bias - 63 || rest.IsZero ? actual : actual >> (scale - Float80.Bias - 63 - value.Scale), Is.EqualTo(expected), $"{a} rem {b}");
            uint bits = (uint)(quotient & 7);
            uint codes = ((bits & 1) != 0 ? X87Status.C1 : 0) | ((bits & 2) != 0 ? X87Status.C3 : 0) | ((bits & 4) != 0 ? X87Status.C0 : 0);
            Assert.That(cx.Raised & X87Status.Conditions, Is.EqualTo(codes), $"quotient of {a} rem {b}");
        }
    }

    [Test]
    public void Comparison_orders_the_exact_values()
    {
        var samples = new Samples(8);
        for (int i = 0; i < Cases; i++)
        {
            Float80 a = samples.Finite(), b = samples.Next(10) == 0 ? a : samples.Finite();
            X87Context cx = new(Samples.Control(X87Rounding.Nearest, 64));
            Float80Order expected = Compare(ExactOracle.Exact(a), ExactOracle.Exact(b)) switch
            {
                < 0 => Float80Order.Less,
                0 => Float80Order.Equal,
                _ => Float80Order.Greater,
            };
            Assert.That(Float80Arithmetic.Compare(a, b, quiet: false, ref cx), Is.EqualTo(expected), $"{a} to {b}");
        }
    }
}
