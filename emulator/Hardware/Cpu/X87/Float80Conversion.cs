using System.Numerics;
using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>Conversions between the register format and the memory formats (SDM vol. 1, 4.8.4.2, 8.1.2 and 8.3.3).</summary>
internal static class Float80Conversion
{
    /// <summary>The 80-bit packed BCD encoding of an invalid result, upper two bytes; the rest is C000_0000_0000_0000h.</summary>
    private const ushort BcdIndefiniteHigh = 0xFFFF;
    private const ulong BcdIndefiniteLow = 0xC000000000000000;
    private const ulong BcdLimit = 1_000_000_000_000_000_000;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Float80 FromInt64(long value)
    {
        if (value == 0)
            return default;
        ulong magnitude = (ulong)(value < 0 ? -value : value);
        int shift = BitOperations.LeadingZeroCount(magnitude);
        return new Float80(value < 0, Float80.Bias + 63 - shift, magnitude << shift);
    }

    /// <summary>Widens an operand of an arithmetic instruction: a NaN is not quieted yet, a denormal is marked in the context.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Float80 FromDouble(ulong bits, ref X87Context cx)
    {
        int exponent = (int)(bits >> 52) & 0x7FF;
        ushort sign = (ushort)((bits >> 48) & 0x8000);
        if ((uint)(exponent - 1) < 0x7FE)
            return new Float80(Float80.IntegerBit | (bits << 11), (ushort)(sign | (exponent + Float80.Bias - 0x3FF)));
        return FromSpecial(sign, exponent, bits << 12 >> 1, Float80.Bias - 0x3FF, ref cx);
    }

    /// <inheritdoc cref="FromDouble"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Float80 FromSingle(uint bits, ref X87Context cx)
    {
        int exponent = (int)(bits >> 23) & 0xFF;
        ushort sign = (ushort)((bits >> 16) & 0x8000);
        if ((uint)(exponent - 1) < 0xFE)
            return new Float80(Float80.IntegerBit | ((ulong)bits << 40), (ushort)(sign | (exponent + Float80.Bias - 0x7F)));
        return FromSpecial(sign, exponent, (ulong)bits << 41 >> 1, Float80.Bias - 0x7F, ref cx);
    }

    private static Float80 FromSpecial(ushort sign, int exponent, ulong fraction, int rebias, ref X87Context cx)
    {
        if (exponent != 0)
            return new Float80(Float80.IntegerBit | fraction, (ushort)(sign | Float80.MaxExponent));
        if (fraction == 0)
            return new Float80(0, sign);
        cx.DenormalSource = true;
        int shift = BitOperations.LeadingZeroCount(fraction);
        return new Float80(fraction << shift, (ushort)(sign | (rebias + 1 - shift)));
    }

    /// <summary>What a load of a narrower format raises beyond the widening: #IA for a signaling NaN, #D for a denormal.</summary>
    public static Float80 Loaded(Float80 value, ref X87Context cx)
    {
        if (cx.DenormalSource)
            cx.Raised |= X87Status.Denormal;
        if (!value.IsSignalingNaN)
            return value;
        cx.Raised |= X87Status.Invalid;
        return value.Quieted;
    }

    public static uint ToSingle(Float80 value, ref X87Context cx) => (uint)Narrow(value, 8, 23, ref cx);

    public static ulong ToDouble(Float80 value, ref X87Context cx)
    {
        int exponent = value.Exponent - (Float80.Bias - 0x3FF);
        if ((uint)(exponent - 1) < 0x7FE && (value.Significand & 0x7FF) == 0 && (long)value.Significand < 0)
            return ((ulong)(value.SignExponent & 0x8000) << 48) | ((ulong)exponent << 52) | (value.Significand << 1 >> 12);
        return Narrow(value, 11, 52, ref cx);
    }

    /// <summary>Rounds to a format with the given numbers of exponent and fraction bits.</summary>
    private static ulong Narrow(Float80 value, int exponentBits, int fractionBits, ref X87Context cx)
    {
        int maximum = (1 << exponentBits) - 1;
        ulong sign = value.Sign ? 1UL << (exponentBits + fractionBits) : 0;
        int drop = 63 - fractionBits;
        if (!value.IsNormal)
        {
            if (value.IsZero)
                return sign;
            if (value.IsInfinity)
                return sign | ((ulong)maximum << fractionBits);
            if (cx.NotNumber(value, out Float80 nan))
                return (nan.Sign ? 1UL << (exponentBits + fractionBits) : 0) | ((ulong)maximum << fractionBits) | (nan.Significand << 1 >> (drop + 1));
        }
        ulong significand = value.Normalize(out int exponent);
        exponent -= Float80.Bias - (maximum >> 1);

        ulong rounded = RoundBits(value.Sign, significand, drop, cx.Rounding, out bool inexact, out bool up);
        bool carried = rounded == 0;
        int unbounded = carried ? exponent + 1 : exponent;
        if (unbounded >= maximum)
        {
            cx.Raised |= X87Status.Overflow;
            if (cx.IsUnmasked(X87Status.Overflow))
                return 0;
            cx.Raised |= X87Status.Precision;
            bool toInfinity = cx.Rounding == X87Rounding.Nearest || Float80Rounding.RoundsAway(cx.Rounding, value.Sign);
            if (toInfinity)
                cx.Raised |= X87Status.C1;
            return sign | (((ulong)maximum << fractionBits) - (toInfinity ? 0UL : 1UL));
        }
        bool tiny = unbounded < 1;
        if (tiny && cx.IsUnmasked(X87Status.Underflow))
        {
            cx.Raised |= X87Status.Underflow;
            return 0;
        }
        if (exponent < 1)
        {
            ulong lost = 0;
            Float80Rounding.ShiftRightSticky(ref significand, ref lost, 1 - exponent);
            rounded = RoundBits(value.Sign, significand | (lost != 0 ? 1UL : 0), drop, cx.Rounding, out inexact, out up);
            exponent = 0;
            if (inexact)
                cx.Raised |= tiny ? X87Status.Underflow : 0;
        }
        if (inexact)
            cx.Raised |= X87Status.Precision | (up ? X87Status.C1 : 0);
        if (exponent == 0)
            // A carry into the integer bit makes the smallest normal number by itself.
            return sign | (rounded >> drop);
        return sign | ((ulong)unbounded << fractionBits) | (carried ? 0 : rounded << 1 >> (drop + 1));
    }

    /// <summary>Clears the low <paramref name="drop"/> bits by rounding; 0 stands for a carry out of the top.</summary>
    private static ulong RoundBits(bool sign, ulong significand, int drop, X87Rounding mode, out bool inexact, out bool up)
    {
        ulong fraction = significand << (64 - drop);
        ulong kept = significand >> drop << drop;
        inexact = fraction != 0;
        up = Float80Rounding.RoundsUp(mode, sign, (significand & (1UL << drop)) != 0, fraction);
        return up ? kept + (1UL << drop) : kept;
    }

    /// <summary>FIST, FISTTP: rounds to a signed integer of the given width; what does not fit is invalid and gives the integer indefinite.</summary>
    public static long ToInteger(Float80 value, int bits, X87Rounding mode, ref X87Context cx)
    {
        ulong limit = 1UL << (bits - 1);
        if (!RoundMagnitude(value, mode, out ulong magnitude, out bool inexact, out bool up)
            || magnitude > (value.Sign ? limit : limit - 1))
        {
            cx.Raised |= X87Status.Invalid;
            return -(long)limit;
        }
        if (inexact)
            cx.Raised |= X87Status.Precision | (up ? X87Status.C1 : 0);
        return value.Sign ? -(long)magnitude : (long)magnitude;
    }

    /// <summary>The magnitude rounded to an integer below 2^64; false for what has none.</summary>
    private static bool RoundMagnitude(Float80 value, X87Rounding mode, out ulong magnitude, out bool inexact, out bool up)
    {
        inexact = up = false;
        magnitude = 0;
        if (value.IsZero)
            return true;
        int below = Float80.Bias + 63 - value.EffectiveExponent;
        if (below < 0 || value.IsUnsupported)
            return false;
        ulong fraction = 0;
        magnitude = value.Significand;
        Float80Rounding.ShiftRightSticky(ref magnitude, ref fraction, below);
        inexact = fraction != 0;
        up = Float80Rounding.RoundsUp(mode, value.Sign, (magnitude & 1) != 0, fraction);
        return !up || ++magnitude != 0;
    }

    /// <summary>FRNDINT.</summary>
    public static Float80 RoundToInteger(Float80 value, ref X87Context cx)
    {
        if (!value.IsNormal)
        {
            if (cx.NotNumber(value, out Float80 nan))
                return nan;
            if (value.IsZero || value.IsInfinity)
                return value;
            cx.Denormals(value, value);
        }
        if (value.Exponent >= Float80.Bias + 63)
            return value;
        RoundMagnitude(value, cx.Rounding, out ulong magnitude, out bool inexact, out bool up);
        if (inexact)
            cx.Raised |= X87Status.Precision | (up ? X87Status.C1 : 0);
        if (magnitude == 0)
            return Float80.Zero(value.Sign);
        int shift = BitOperations.LeadingZeroCount(magnitude);
        return new Float80(value.Sign, Float80.Bias + 63 - shift, magnitude << shift);
    }

    /// <summary>FBLD. The manual leaves digits above 9 undefined; processors give them their weight as well.</summary>
    public static Float80 FromBcd(ulong low, ushort high)
    {
        ulong value = 0;
        for (int shift = 4; shift >= 0; shift -= 4)
            value = (value * 10) + (((ulong)high >> shift) & 15);
        for (int shift = 60; shift >= 0; shift -= 4)
            value = (value * 10) + ((low >> shift) & 15);
        Float80 magnitude = default;
        if (value != 0)
        {
            int shift = BitOperations.LeadingZeroCount(value);
            magnitude = new Float80(false, Float80.Bias + 63 - shift, value << shift);
        }
        return (high & 0x8000) != 0 ? magnitude.Negated : magnitude;
    }

    /// <summary>FBSTP.</summary>
    public static (ulong Low, ushort High) ToBcd(Float80 value, ref X87Context cx)
    {
        if (!RoundMagnitude(value, cx.Rounding, out ulong magnitude, out bool inexact, out bool up) || magnitude >= BcdLimit)
        {
            cx.Raised |= X87Status.Invalid;
            return (BcdIndefiniteLow, BcdIndefiniteHigh);
        }
        if (inexact)
            cx.Raised |= X87Status.Precision | (up ? X87Status.C1 : 0);
        ulong low = 0;
        for (int shift = 0; shift < 64; shift += 4)
        {
            (magnitude, ulong digit) = Math.DivRem(magnitude, 10);
            low |= digit << shift;
        }
        return (low, (ushort)((magnitude % 10) | (magnitude / 10 << 4) | (value.Sign ? 0x8000u : 0)));
    }
}
