using System.Numerics;
using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>Rounding of exact results into the format, with overflow and underflow (SDM vol. 1, 4.8.4, 4.9.1.4 to 4.9.1.6).</summary>
internal static class Float80Rounding
{
    /// <summary>What an unmasked overflow subtracts from, and an unmasked underflow adds to, a result's exponent.</summary>
    public const int WrapBias = 24576;

    /// <summary>Whether a magnitude goes up to the next representable one; <paramref name="fraction"/> is the part below it in units of 2^-64.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool RoundsUp(X87Rounding mode, bool sign, bool odd, ulong fraction)
    {
        if (mode == X87Rounding.Nearest)
            return fraction > Float80.IntegerBit - (odd ? 1UL : 0UL);
        return fraction != 0 && RoundsAway(mode, sign);
    }

    /// <summary>Whether a directed rounding goes away from zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool RoundsAway(X87Rounding mode, bool sign) => mode == (sign ? X87Rounding.Down : X87Rounding.Up);

    /// <summary>
    /// Rounds (high + low / 2^64) * 2^(exponent - bias - 63); high has its integer bit, low's last bit may stand for everything below it.
    /// </summary>
    /// <param name="drop">Significand bits that the precision in force does not have.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Float80 Round(bool sign, int exponent, ulong high, ulong low, int drop, ref X87Context cx)
    {
        // The common case: all 64 bits, nothing near the ends of the exponent range.
        if (drop != 0 || (uint)(exponent - 1) >= Float80.MaxExponent - 2)
            return RoundGeneral(sign, exponent, high, low, drop, ref cx);
        if (low != 0)
        {
            // The direction is a coin toss: no branch depends on it.
            uint up = RoundsUp(cx.Rounding, sign, (high & 1) != 0, low) ? 1u : 0;
            cx.Raised |= X87Status.Precision | (up * X87Status.C1);
            high += up;
            if (high == 0)
            {
                high = Float80.IntegerBit;
                exponent++;
            }
        }
        return new Float80(sign, exponent, high);
    }

    private static Float80 RoundGeneral(bool sign, int exponent, ulong high, ulong low, int drop, ref X87Context cx)
    {
        if (exponent < 1)
            return RoundTiny(sign, exponent, high, low, drop, ref cx);
        RoundBits(sign, ref high, low, drop, ref exponent, ref cx);
        if (exponent >= Float80.MaxExponent)
            return Overflow(sign, exponent, high, drop, ref cx);
        return new Float80(sign, exponent, high);
    }

    /// <summary>Normalises 128 bits, not all zero, and rounds them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Float80 NormalizeAndRound(bool sign, int exponent, ulong high, ulong low, int drop, ref X87Context cx)
    {
        if (high == 0)
        {
            high = low;
            low = 0;
            exponent -= 64;
        }
        int shift = BitOperations.LeadingZeroCount(high);
        if (shift != 0)
        {
            high = (high << shift) | (low >> (64 - shift));
            low <<= shift;
            exponent -= shift;
        }
        return Round(sign, exponent, high, low, drop, ref cx);
    }

    /// <summary>Rounds the significand in place; raises #P and C1; true when it was inexact.</summary>
    private static bool RoundBits(bool sign, ref ulong high, ulong low, int drop, ref int exponent, ref X87Context cx)
    {
        ulong unit = 1UL << drop;
        ulong fraction = low;
        if (drop != 0)
        {
            fraction = (high << (64 - drop)) | (low >> drop) | (low << (64 - drop) != 0 ? 1UL : 0);
            high &= ~(unit - 1);
        }
        if (fraction == 0)
            return false;
        cx.Raised |= X87Status.Precision;
        if (RoundsUp(cx.Rounding, sign, (high & unit) != 0, fraction))
        {
            cx.Raised |= X87Status.C1;
            high += unit;
            if (high == 0)
            {
                high = Float80.IntegerBit;
                exponent++;
            }
        }
        return true;
    }

    private static Float80 Overflow(bool sign, int exponent, ulong high, int drop, ref X87Context cx)
    {
        cx.Raised |= X87Status.Overflow;
        bool toInfinity = cx.Rounding == X87Rounding.Nearest || RoundsAway(cx.Rounding, sign);
        if (cx.IsUnmasked(X87Status.Overflow))
        {
            if (exponent - WrapBias < Float80.MaxExponent)
                return new Float80(sign, exponent - WrapBias, high);
            // FSCALE only: too large even so (SDM vol. 2, FSCALE).
            toInfinity = true;
        }
        cx.Raised &= ~X87Status.C1;
        cx.Raised |= X87Status.Precision;
        if (!toInfinity)
            return new Float80(sign, Float80.MaxExponent - 1, ulong.MaxValue << drop);
        cx.Raised |= X87Status.C1;
        return Float80.Infinity(sign);
    }

    /// <summary>Tininess is judged after rounding to unbounded exponent, as x86 does (SDM vol. 1, 4.9.1.5).</summary>
    private static Float80 RoundTiny(bool sign, int exponent, ulong high, ulong low, int drop, ref X87Context cx)
    {
        X87Context unbounded = new(cx.Control);
        ulong rounded = high;
        int roundedExponent = exponent;
        RoundBits(sign, ref rounded, low, drop, ref roundedExponent, ref unbounded);
        bool tiny = roundedExponent < 1;
        if (tiny && cx.IsUnmasked(X87Status.Underflow))
        {
            cx.Raised |= X87Status.Underflow;
            cx.Raised |= unbounded.Raised;
            if (roundedExponent + WrapBias > 0)
                return new Float80(sign, roundedExponent + WrapBias, rounded);
            // FSCALE only: too small even so.
            cx.Raised |= X87Status.Precision;
            return Float80.Zero(sign);
        }
        ShiftRightSticky(ref high, ref low, 1 - exponent);
        int denormalExponent = 0;
        bool inexact = RoundBits(sign, ref high, low, drop, ref denormalExponent, ref cx);
        if (tiny && inexact)
            cx.Raised |= X87Status.Underflow;
        return new Float80(sign, (long)high < 0 ? 1 : 0, high);
    }

    /// <summary>Shifts 128 bits right; what falls out stays visible in the last bit.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ShiftRightSticky(ref ulong high, ref ulong low, int count)
    {
        if (count == 0)
            return;
        if (count < 64)
        {
            ulong lost = low << (64 - count);
            low = (low >> count) | (high << (64 - count)) | (lost != 0 ? 1UL : 0);
            high >>= count;
        }
        else if (count < 128)
        {
            ulong lost = count == 64 ? low : low | (high << (128 - count));
            low = (count == 64 ? high : high >> (count - 64)) | (lost != 0 ? 1UL : 0);
            high = 0;
        }
        else
        {
            low = (high | low) != 0 ? 1UL : 0;
            high = 0;
        }
    }
}
