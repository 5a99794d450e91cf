namespace Emulator.Hardware.Cpu.X87;

/// <summary>FSIN, FCOS, FSINCOS, FPTAN, FPATAN (SDM vol. 1, 8.3.7, 8.3.8, 8.3.10): within half a unit of the last place and a little.</summary>
internal static class Float80Trigonometry
{
    /// <summary>Pi in 66 bits, in units of 2^-64: the value by which processors reduce arguments (SDM vol. 1, 8.3.8).</summary>
    private static UInt128 ShortPi => new(3, 0x243F6A8885A308D3);

    /// <summary>Arguments of 2^63 and more are out of range: C2 is set and nothing else happens.</summary>
    private const int RangeLimit = Float80.Bias + 63;

    /// <summary>1/1!, 1/3!, 1/5! ... and 1/0!, 1/2!, 1/4! ... in units of 2^-127.</summary>
    private static readonly UInt128[] SineSeries = InverseFactorials(1), CosineSeries = InverseFactorials(0);

    /// <summary>1, 1/3, 1/5 ... in units of 2^-127.</summary>
    private static readonly UInt128[] ArctangentSeries = InverseOdds(12);

    /// <summary>atan(k / 16).</summary>
    private static readonly Wide[] Arctangents = ArctangentTable();

    private static UInt128[] InverseFactorials(int first)
    {
        var series = new UInt128[14];
        series[0] = Wide.TopBit;
        for (int i = 1; i < series.Length; i++)
            series[i] = series[i - 1] / (uint)(((2 * i) + first) * ((2 * i) + first - 1));
        return series;
    }

    internal static UInt128[] InverseOdds(int count)
    {
        var series = new UInt128[count];
        for (int i = 0; i < count; i++)
            series[i] = Wide.TopBit / (uint)((2 * i) + 1);
        return series;
    }

    private static Wide[] ArctangentTable()
    {
        // atan(k/16) - atan((k-1)/16) = atan(16 / (256 + k (k-1))).
        var table = new Wide[17];
        for (int k = 1; k < table.Length; k++)
            table[k] = table[k - 1] + ArctangentOfSmall(Wide.From(16) / Wide.From(256 + (k * (k - 1))));
        return table;
    }

    public static Float80 Sine(Float80 a, ref X87Context cx)
    {
        if (Special(a, a, ref cx, out Float80 result))
            return result;
        Reduce(a, out int quadrant, out Wide rest);
        return Circular(quadrant, rest).Round(ref cx);
    }

    public static Float80 Cosine(Float80 a, ref X87Context cx)
    {
        if (Special(a, Float80.One, ref cx, out Float80 result))
            return result;
        Reduce(a, out int quadrant, out Wide rest);
        return Circular(quadrant + 1, rest).Round(ref cx);
    }

    /// <summary>Gives the sine, and the cosine to be pushed.</summary>
    public static Float80 SineAndCosine(Float80 a, out Float80 cosine, ref X87Context cx)
    {
        if (Special(a, a, ref cx, out Float80 result))
        {
            cosine = a.IsZero ? Float80.One : result;
            return result;
        }
        Reduce(a, out int quadrant, out Wide rest);
        X87Context ofSine = cx;
        result = Circular(quadrant, rest).Round(ref ofSine);
        cosine = Circular(quadrant + 1, rest).Round(ref cx);
        cx.Raised |= ofSine.Raised & ~X87Status.C1;
        return result;
    }

    /// <summary>Gives the tangent, and the 1.0 to be pushed.</summary>
    public static Float80 Tangent(Float80 a, out Float80 pushed, ref X87Context cx)
    {
        pushed = Float80.One;
        if (Special(a, a, ref cx, out Float80 result))
        {
            if (!a.IsZero)
                pushed = result;
            return result;
        }
        Reduce(a, out int quadrant, out Wide rest);
        return (Circular(quadrant, rest) / Circular(quadrant + 1, rest)).Round(ref cx);
    }

    /// <summary>Answers for what is not an ordinary number in range.</summary>
    private static bool Special(Float80 a, Float80 ofZero, ref X87Context cx, out Float80 result)
    {
        if (!a.IsNormal)
        {
            if (cx.NotNumber(a, out result))
                return true;
            if (a.IsInfinity)
            {
                result = cx.Invalid();
                return true;
            }
            result = ofZero;
            if (a.IsZero)
                return true;
            cx.Denormals(a, a);
        }
        result = a;
        if (a.Exponent < RangeLimit)
            return false;
        cx.Raised |= X87Status.C2;
        return true;
    }

    /// <summary>a = quadrant * pi/2 + rest with |rest| at most pi/4.</summary>
    private static void Reduce(Float80 a, out int quadrant, out Wide rest)
    {
        quadrant = 0;
        rest = Wide.From(a);
        if (rest.Exponent < -1)
            return;
        // In units of 2^-65, in which pi/2 is an integer, and the argument too.
        UInt128 units = (UInt128)a.Significand << (a.Exponent - Float80.Bias + 2);
        (UInt128 quotient, UInt128 remainder) = UInt128.DivRem(units, ShortPi);
        bool above = remainder << 1 > ShortPi;
        quadrant = (int)(uint)(quotient & 3) + (above ? 1 : 0);
        rest = Wide.Normalized(a.Sign != above, 127 - 65, above ? ShortPi - remainder : remainder);
        if (a.Sign)
            quadrant = -quadrant;
    }

    /// <summary>sin(quadrant * pi/2 + rest).</summary>
    private static Wide Circular(int quadrant, Wide rest)
    {
        UInt128 square = (rest * rest).Fraction;
        Wide value = (quadrant & 1) == 0
            ? rest * Wide.Series(SineSeries, square, alternating: true)
            : Wide.Series(CosineSeries, square, alternating: true);
        return (quadrant & 2) == 0 ? value : value.Negated;
    }

    /// <summary>FPATAN: the angle of the point (x, y).</summary>
    public static Float80 Arctangent(Float80 x, Float80 y, ref X87Context cx)
    {
        if (!x.IsNormal || !y.IsNormal)
        {
            if (cx.NotNumbers(x, y, out Float80 nan))
                return nan;
            cx.Denormals(x, y);
            if (x.IsInfinity)
            {
                Wide angle = y.IsInfinity ? Wide.Pi.Scaled(-2) : default;
                return Angle(x.Sign ? Wide.Pi - angle : angle, y.Sign, ref cx);
            }
            if (y.IsInfinity || (x.IsZero && !y.IsZero))
                return Angle(Wide.Pi.Scaled(-1), y.Sign, ref cx);
            if (y.IsZero)
                return Angle(x.Sign ? Wide.Pi : default, y.Sign, ref cx);
        }
        Wide across = Wide.From(x).Magnitude, up = Wide.From(y).Magnitude;
        bool steep = up.Exponent > across.Exponent || (up.Exponent == across.Exponent && up.Bits > across.Bits);
        Wide value = steep ? Wide.Pi.Scaled(-1) - ArctangentOfRatio(across, up) : ArctangentOfRatio(up, across);
        return Angle(x.Sign ? Wide.Pi - value : value, y.Sign, ref cx);
    }

    private static Float80 Angle(Wide angle, bool sign, ref X87Context cx)
        => angle.Bits == 0 ? Float80.Zero(sign) : (sign ? angle.Negated : angle).Round(ref cx);

    /// <summary>atan(a / b) for 0 &lt; a &lt;= b: the nearest sixteenth comes from the table.</summary>
    private static Wide ArctangentOfRatio(Wide a, Wide b)
    {
        Wide ratio = a / b;
        if (ratio.Exponent < -5)
            return ArctangentOfSmall(ratio);
        int k = (int)(((uint)(ratio.Bits >> 112) >> (10 - ratio.Exponent)) + 1) >> 1;
        Wide sixteenths = Wide.From(k).Scaled(-4);
        return Arctangents[k] + ArctangentOfSmall((a - (sixteenths * b)) / (b + (sixteenths * a)));
    }

    private static Wide ArctangentOfSmall(Wide t)
        => t.Bits == 0 ? t : t * Wide.Series(ArctangentSeries, (t * t).Fraction, alternating: true);
}
