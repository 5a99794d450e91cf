using System.Numerics;
using Emulator.Hardware.Cpu.X87;

namespace Emulator.Tests.Cpu.X87;

internal sealed class Float80ConversionTests
{
    private const int Cases = 40_000;

    private static X87Context Nearest => new(Samples.Control(X87Rounding.Nearest, 64));

    [Test]
    public void Every_double_and_single_survives_the_round_trip()
    {
        var samples = new Samples(21);
        for (int i = 0; i < Cases; i++)
        {
            X87Context cx = Nearest;
            ulong bits = samples.Bits();
            double value = BitConverter.UInt64BitsToDouble(bits);
            if (!double.IsNaN(value))
                Assert.That(Float80Conversion.ToDouble(Float80Conversion.FromDouble(bits, ref cx), ref cx), Is.EqualTo(bits));
            float single = BitConverter.UInt32BitsToSingle((uint)bits);
            if (!float.IsNaN(single))
                Assert.That(Float80Conversion.ToSingle(Float80Conversion.FromSingle((uint)bits, ref cx), ref cx), Is.EqualTo((uint)bits));
        }
    }

    [Test]
    public void Narrowing_to_single_rounds_as_the_host_does_from_double()
    {
        var samples = new Samples(22);
        for (int i = 0; i < Cases; i++)
        {
            X87Context cx = Nearest;
            double value = BitConverter.UInt64BitsToDouble((samples.Bits() & 0x800FFFFFFFFFFFFF) | ((ulong)(1023 + samples.Next(320) - 160) << 52));
            Float80 wide = Float80Conversion.FromDouble(BitConverter.DoubleToUInt64Bits(value), ref cx);
            Assert.That(BitConverter.UInt32BitsToSingle(Float80Conversion.ToSingle(wide, ref cx)), Is.EqualTo((float)value));
        }
    }

    [Test]
    public void Integers_round_by_the_control_word_and_overflow_to_the_indefinite()
    {
        var samples = new Samples(23);
        for (int i = 0; i < Cases; i++)
        {
            Float80 value = samples.Normal(-4, 66);
            X87Rounding rounding = samples.Rounding();
            int bits = samples.Next(3) switch { 0 => 16, 1 => 32, _ => 64 };
            X87Context cx = new(Samples.Control(rounding, 64));
            long actual = Float80Conversion.ToInteger(value, bits, rounding, ref cx);
            BigInteger exact = Integer(value, rounding, out bool inexact);
            BigInteger limit = BigInteger.One << (bits - 1);
            if (exact >= limit || exact < -limit)
            {
                Assert.That((actual, cx.Raised), Is.EqualTo(((long)-limit, X87Status.Invalid)), $"{value}");
            }
            else
            {
                Assert.That((BigInteger)actual, Is.EqualTo(exact), $"{value} {rounding}");
                Assert.That((cx.Raised & X87Status.Precision) != 0, Is.EqualTo(inexact));
            }
        }
    }

    private static BigInteger Integer(Float80 value, X87Rounding rounding, out bool inexact)
    {
        int below = Float80.Bias + 63 - value.Exponent;
        BigInteger significand = value.Significand;
        inexact = false;
        BigInteger magnitude = below <= 0 ? significand << -below : significand >> below;
        if (below > 0)
        {
            BigInteger rest = significand - (magnitude << below);
            inexact = !rest.IsZero;
            int half = (rest << 1).CompareTo(BigInteger.One << below);
            bool up = rounding switch
            {
                X87Rounding.Nearest => half > 0 || (half == 0 && !magnitude.IsEven),
                X87Rounding.Down => value.Sign && inexact,
                X87Rounding.Up => !value.Sign && inexact,
                _ => false,
            };
            if (up)
                magnitude++;
        }
        return value.Sign ? -magnitude : magnitude;
    }

    [Test]
    public void Packed_decimals_survive_the_round_trip()
    {
        var samples = new Samples(24);
        for (int i = 0; i < Cases; i++)
        {
            long value = (long)(samples.Bits() >> samples.Next(64)) % 1_000_000_000_000_000_000;
            X87Context cx = Nearest;
            (ulong low, ushort high) = Float80Conversion.ToBcd(Float80Conversion.FromInt64(value), ref cx);
            string digits = $"{high & 0xFF:X2}{low:X16}";
            Assert.That((digits, high >> 15), Is.EqualTo(($"{Math.Abs(value):D18}", value < 0 ? 1 : 0)));
            Assert.That(Float80Conversion.FromBcd(low, high), Is.EqualTo(Float80Conversion.FromInt64(value)));
        }
    }
}
