namespace Emulator.Hardware.Cpu.X87;

/// <summary>FPREM, FPREM1, FSCALE and FXTRACT (SDM vol. 2).</summary>
internal static class Float80Remainder
{
    /// <summary>
    /// Partial remainder: reduces the exponents' difference by less than 64 a time, with C2 set while it is not finished and the quotient's
    /// low bits in C1, C3 and C0 when it is.
    /// </summary>
    /// <param name="nearest">FPREM1: the quotient is rounded to nearest, not cut.</param>
    public static Float80 Remainder(Float80 a, Float80 b, bool nearest, ref X87Context cx)
    {
        if (!a.IsNormal || !b.IsNormal)
        {
            if (cx.NotNumbers(a, b, out Float80 nan))
                return nan;
            if (a.IsInfinity || b.IsZero)
                return cx.Invalid();
            cx.Denormals(a, b);
            if (a.IsZero)
                return a;
            if (b.IsInfinity)
                return Canonical(a);
        }
        ulong x = a.Normalize(out int exponentA), y = b.Normalize(out int exponentB);
        int difference = exponentA - exponentB;
        if (difference < (nearest ? -1 : 0))
            return Same(a, ref cx);
        if (difference >= 64)
        {
            // Any step from 32 to 63 is allowed; this is the one that processors take.
            int step = 32 + (difference % 32);
            cx.Raised |= X87Status.C2;
            UInt128 partial = ((UInt128)x << step) % y;
            return Rest(a.Sign, exponentB + difference - step, partial, ref cx);
        }

        bool sign = a.Sign;
        UInt128 quotient, rest, divisor;
        int exponent;
        if (difference < 0)
        {
            (quotient, rest, divisor, exponent) = (0, x, (UInt128)y << 1, exponentA);
        }
        else
        {
            (quotient, rest) = UInt128.DivRem((UInt128)x << difference, y);
            (divisor, exponent) = (y, exponentB);
        }
        if (nearest && (rest << 1 > divisor || (rest << 1 == divisor && UInt128.IsOddInteger(quotient))))
        {
            rest = divisor - rest;
            quotient++;
            sign = !sign;
        }
        uint bits = (uint)quotient;
        cx.Raised |= ((bits & 1) != 0 ? X87Status.C1 : 0) | ((bits & 2) != 0 ? X87Status.C3 : 0) | ((bits & 4) != 0 ? X87Status.C0 : 0);
        return rest == 0 ? Float80.Zero(a.Sign) : Rest(sign, exponent, rest, ref cx);
    }

    private static Float80 Rest(bool sign, int exponent, UInt128 rest, ref X87Context cx)
        => rest == 0 ? Float80.Zero(sign) : Float80Rounding.NormalizeAndRound(sign, exponent + 64, (ulong)(rest >> 64), (ulong)rest, 0, ref cx);

    /// <summary>The operand untouched, but for a pseudo-denormal's exponent field.</summary>
    private static Float80 Canonical(Float80 a) => (long)a.Significand < 0 ? new Float80(a.Sign, a.EffectiveExponent, a.Significand) : a;

    /// <summary>A result that equals the operand: a denormal one still underflows when that is unmasked.</summary>
    private static Float80 Same(Float80 a, ref X87Context cx)
    {
        if (a.IsNormal)
            return a;
        ulong significand = a.Normalize(out int exponent);
        return Float80Rounding.Round(a.Sign, exponent, significand, 0, 0, ref cx);
    }

    /// <summary>FSCALE: a * 2^trunc(b).</summary>
    public static Float80 Scale(Float80 a, Float80 b, ref X87Context cx)
    {
        if (!a.IsNormal || !b.IsNormal)
        {
            if (cx.NotNumbers(a, b, out Float80 nan))
                return nan;
            if (b.IsInfinity)
            {
                if (b.Sign ? a.IsInfinity : a.IsZero)
                    return cx.Invalid();
                cx.Denormals(a, a);
                return b.Sign ? Float80.Zero(a.Sign) : Float80.Infinity(a.Sign);
            }
            cx.Denormals(a, b);
            if (a.IsZero || a.IsInfinity)
                return a;
            if (b.IsZero)
                return Canonical(a);
            if (b.IsDenormal)
                return Same(a, ref cx);
        }
        int magnitude = b.Exponent < Float80.Bias ? 0
            : b.Exponent > Float80.Bias + 16 ? 1 << 17
            : (int)(b.Significand >> (Float80.Bias + 63 - b.Exponent));
        ulong significand = a.Normalize(out int exponent);
        return Float80Rounding.Round(a.Sign, exponent + (b.Sign ? -magnitude : magnitude), significand, 0, 0, ref cx);
    }

    /// <summary>FXTRACT: the exponent as a number, and the significand with exponent 0.</summary>
    public static Float80 Extract(Float80 a, out Float80 significand, ref X87Context cx)
    {
        if (!a.IsNormal)
        {
            if (cx.NotNumber(a, out Float80 nan))
                return significand = nan;
            significand = a;
            if (a.IsInfinity)
                return Float80.Infinity(false);
            if (a.IsZero)
            {
                cx.Raised |= X87Status.ZeroDivide;
                return Float80.Infinity(true);
            }
            cx.Denormals(a, a);
        }
        ulong bits = a.Normalize(out int exponent);
        significand = new Float80(a.Sign, Float80.Bias, bits);
        return Float80Conversion.FromInt64(exponent - Float80.Bias);
    }
}
