namespace Emulator.Hardware.Cpu.X87;

/// <summary>F2XM1, FYL2X, FYL2XP1 (SDM vol. 1, 8.3.9, 8.3.10).</summary>
internal static class Float80Logarithm
{
    /// <summary>1/1!, 1/2!, 1/3! ... in units of 2^-127.</summary>
    private static readonly UInt128[] ExponentialSeries = InverseFactorials();

    /// <summary>1, 1/3, 1/5 ... in units of 2^-127.</summary>
    private static readonly UInt128[] AreaTangentSeries = Float80Trigonometry.InverseOdds(24);

    private static UInt128[] InverseFactorials()
    {
        var series = new UInt128[26];
        series[0] = Wide.TopBit;
        for (int i = 1; i < series.Length; i++)
            series[i] = series[i - 1] / (uint)(i + 1);
        return series;
    }

    /// <summary>F2XM1: 2^a - 1 for |a| at most 1; beyond, where the manual says nothing, processors leave the operand.</summary>
    public static Float80 PowerMinusOne(Float80 a, ref X87Context cx)
    {
        if (!a.IsNormal)
        {
            if (cx.NotNumber(a, out Float80 nan))
                return nan;
            if (a.IsInfinity)
                return a.Sign ? Float80.One.Negated : a;
            if (a.IsZero)
                return a;
            cx.Denormals(a, a);
        }
        if (a.Exponent >= Float80.Bias)
        {
            // Processors raise #P even for the exact values at -1 and 1.
            cx.Raised |= X87Status.Precision;
            return a == Float80.One.Negated ? new Float80(true, Float80.Bias - 1, Float80.IntegerBit) : a;
        }
        Wide x = Wide.From(a) * Wide.Ln2;
        return (x * Wide.Series(ExponentialSeries, x.Fraction, alternating: a.Sign)).Round(ref cx);
    }

    /// <summary>FYL2X: y * log2(x).</summary>
    public static Float80 LogarithmTimes(Float80 x, Float80 y, ref X87Context cx)
    {
        if (!x.IsNormal || !y.IsNormal)
        {
            if (cx.NotNumbers(x, y, out Float80 nan))
                return nan;
            if (x.Sign && !x.IsZero)
                return cx.Invalid();
            bool one = x == Float80.One;
            if (x.IsZero)
            {
                if (y.IsZero)
                    return cx.Invalid();
                if (y.IsInfinity)
                    return y.Negated;
                cx.Raised |= X87Status.ZeroDivide;
                return Float80.Infinity(!y.Sign);
            }
            if ((x.IsInfinity && y.IsZero) || (one && y.IsInfinity))
                return cx.Invalid();
            cx.Denormals(x, y);
            bool sign = y.Sign != (x.Exponent < Float80.Bias);
            if (x.IsInfinity || y.IsInfinity)
                return Float80.Infinity(sign);
            if (y.IsZero)
                return Float80.Zero(sign);
        }
        else if (x.Sign)
        {
            return cx.Invalid();
        }
        ulong significand = x.Normalize(out int exponent);
        int power = exponent - Float80.Bias;
        if (significand == Float80.IntegerBit)
            return PowerTimes(power, y, ref cx);
        // Reduced to [sqrt(1/2), sqrt(2)), so that the parts of the sum do not cancel.
        if (significand > 0xB504F333F9DE6484)
            power++;
        Wide mantissa = new(false, exponent - Float80.Bias - power, new UInt128(significand, 0));
        Wide logarithm = Wide.From(power) + Logarithm(mantissa - Wide.One, mantissa + Wide.One);
        return (Wide.From(y) * logarithm).Round(ref cx);
    }

    /// <summary>y * power: processors raise #P, and #U for a denormal, even when it is exact.</summary>
    private static Float80 PowerTimes(int power, Float80 y, ref X87Context cx)
    {
        if (power == 0 || y.IsZero)
            return Float80.Zero(y.Sign);
        Float80 factor = Float80Conversion.FromInt64(power);
        ulong high = Math.BigMul(factor.Significand, y.Normalize(out int exponent), out ulong low);
        Float80 result = Float80Rounding.NormalizeAndRound(factor.Sign != y.Sign, exponent + factor.Exponent - Float80.Bias + 1, high, low, 0, ref cx);
        cx.Raised |= X87Status.Precision | (result.Exponent == 0 ? X87Status.Underflow : 0);
        return result;
    }

    /// <summary>FYL2XP1: y * log2(x + 1). The manual asks for |x| below 1 - sqrt(1/2); the formula holds further out.</summary>
    public static Float80 LogarithmPlusOneTimes(Float80 x, Float80 y, ref X87Context cx)
    {
        bool sign = x.Sign != y.Sign;
        if (!x.IsNormal || !y.IsNormal)
        {
            if (cx.NotNumbers(x, y, out Float80 nan))
                return nan;
            if ((x.IsZero && y.IsInfinity) || (x.IsInfinity && (x.Sign || y.IsZero)))
                return cx.Invalid();
            cx.Denormals(x, y);
            if (x.IsInfinity || y.IsInfinity)
                return Float80.Infinity(sign);
            if (x.IsZero || y.IsZero)
                return Float80.Zero(sign);
        }
        if (x.Sign && x.Exponent >= Float80.Bias)
        {
            cx.Raised |= X87Status.Precision;
            return x;
        }
        Wide argument = Wide.From(x);
        if (x.Exponent < Float80.Bias - 1)
            return (Wide.From(y) * Logarithm(argument, argument + Wide.One.Scaled(1))).Round(ref cx);
        Wide sum = argument + Wide.One;
        int power = sum.Bits > new UInt128(0xB504F333F9DE6484, 0) ? sum.Exponent + 1 : sum.Exponent;
        Wide mantissa = sum.Scaled(-power);
        Wide logarithm = Wide.From(power) + Logarithm(mantissa - Wide.One, mantissa + Wide.One);
        return (Wide.From(y) * logarithm).Round(ref cx);
    }

    /// <summary>log2((b + a) / (b - a)) / 2 * 2 = 2 atanh(a / b) / ln 2, for |a / b| at most 0.25.</summary>
    private static Wide Logarithm(Wide a, Wide b)
    {
        if (a.Bits == 0)
            return a;
        Wide z = a / b;
        return (z * Wide.Series(AreaTangentSeries, (z * z).Fraction, alternating: false) * Wide.Log2E).Scaled(1);
    }
}
