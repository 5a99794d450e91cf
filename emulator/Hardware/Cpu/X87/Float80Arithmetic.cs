using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>The relation of two operands, as FCOM's condition codes give it.</summary>
internal enum Float80Order : uint
{
    Greater = 0,
    Less = X87Status.C0,
    Equal = X87Status.C3,
    Unordered = X87Status.C0 | X87Status.C2 | X87Status.C3,
}

/// <summary>The operations that obey the precision control, and comparison (SDM vol. 1, 8.3.5 and 8.3.6).</summary>
internal static class Float80Arithmetic
{
    public static Float80 Add(Float80 a, Float80 b, ref X87Context cx)
    {
        if (!a.IsNormal || !b.IsNormal || cx.DenormalSource)
        {
            if (AddSpecial(a, b, ref cx, out Float80 special))
                return special;
        }
        return a.Sign == b.Sign ? AddMagnitudes(a, b, ref cx) : SubtractMagnitudes(a, b, ref cx);
    }

    public static Float80 Subtract(Float80 a, Float80 b, ref X87Context cx)
        // The sign of a NaN is not touched by a subtraction.
        => Add(a, b.IsNaN ? b : b.Negated, ref cx);

    private static bool AddSpecial(Float80 a, Float80 b, ref X87Context cx, out Float80 result)
    {
        if (cx.NotNumbers(a, b, out result))
            return true;
        if (a.IsInfinity && b.IsInfinity && a.Sign != b.Sign)
        {
            result = cx.Invalid();
            return true;
        }
        cx.Denormals(a, b);
        if (a.IsInfinity || b.IsInfinity)
        {
            result = a.IsInfinity ? a : b;
            return true;
        }
        if (a.IsZero && b.IsZero)
        {
            result = a.Sign == b.Sign ? a : Cancelled(ref cx);
            return true;
        }
        return false;
    }

    /// <summary>The zero that a difference of equal numbers gives: negative only when rounding down (SDM vol. 1, 4.8.3.1).</summary>
    private static Float80 Cancelled(ref X87Context cx) => Float80.Zero(cx.Rounding == X87Rounding.Down);

    private static Float80 AddMagnitudes(Float80 a, Float80 b, ref X87Context cx)
    {
        if (a.Exponent < b.Exponent)
            (a, b) = (b, a);
        int exponent = a.EffectiveExponent;
        ulong high = b.Significand, low = 0;
        Float80Rounding.ShiftRightSticky(ref high, ref low, exponent - b.EffectiveExponent);
        high += a.Significand;
        if (high < a.Significand)
        {
            low = (low >> 1) | (high << 63) | (low & 1);
            high = (high >> 1) | Float80.IntegerBit;
            exponent++;
        }
        return Float80Rounding.NormalizeAndRound(a.Sign, exponent, high, low, cx.PrecisionDrop, ref cx);
    }

    private static Float80 SubtractMagnitudes(Float80 a, Float80 b, ref X87Context cx)
    {
        if (a.EffectiveExponent < b.EffectiveExponent || (a.EffectiveExponent == b.EffectiveExponent && a.Significand < b.Significand))
            (a, b) = (b, a);
        int exponent = a.EffectiveExponent;
        ulong high = b.Significand, low = 0;
        Float80Rounding.ShiftRightSticky(ref high, ref low, exponent - b.EffectiveExponent);
        high = a.Significand - high - (low != 0 ? 1UL : 0);
        low = 0 - low;
        if ((high | low) == 0)
            return Cancelled(ref cx);
        return Float80Rounding.NormalizeAndRound(a.Sign, exponent, high, low, cx.PrecisionDrop, ref cx);
    }

    public static Float80 Multiply(Float80 a, Float80 b, ref X87Context cx)
    {
        if (!a.IsNormal || !b.IsNormal || cx.DenormalSource)
            return MultiplySpecial(a, b, ref cx);
        ulong high = Math.BigMul(a.Significand, b.Significand, out ulong low);
        // The product's integer bit is the top one or the next.
        int shift = (int)(high >> 63) ^ 1;
        high = (high << shift) | ((low >> 63) & (uint)shift);
        int exponent = a.Exponent + b.Exponent - Float80.Bias + 1 - shift;
        return Float80Rounding.Round(a.Sign != b.Sign, exponent, high, low << shift, cx.PrecisionDrop, ref cx);
    }

    private static Float80 MultiplySpecial(Float80 a, Float80 b, ref X87Context cx)
    {
        if (cx.NotNumbers(a, b, out Float80 nan))
            return nan;
        if ((a.IsInfinity && b.IsZero) || (a.IsZero && b.IsInfinity))
            return cx.Invalid();
        cx.Denormals(a, b);
        bool sign = a.Sign != b.Sign;
        if (a.IsInfinity || b.IsInfinity)
            return Float80.Infinity(sign);
        if (a.IsZero || b.IsZero)
            return Float80.Zero(sign);
        ulong high = Math.BigMul(a.Normalize(out int exponentA), b.Normalize(out int exponentB), out ulong low);
        return Float80Rounding.NormalizeAndRound(sign, exponentA + exponentB - Float80.Bias + 1, high, low, cx.PrecisionDrop, ref cx);
    }

    public static Float80 Divide(Float80 a, Float80 b, ref X87Context cx)
    {
        if (!a.IsNormal || !b.IsNormal || cx.DenormalSource)
        {
            if (DivideSpecial(a, b, ref cx, out Float80 special))
                return special;
        }
        ulong x = a.Normalize(out int exponentA), y = b.Normalize(out int exponentB);
        int exponent = exponentA - exponentB + Float80.Bias - 1;
        ulong high = x, low = 0;
        if (x >= y)
        {
            exponent++;
            high = x >> 1;
            low = x << 63;
        }
        ulong quotient = DivideWide(high, low, y, out ulong rest);
        // Below the last bit only "nothing, less than half, half, more" matter.
        ulong fraction = rest == 0 ? 0
            : rest < y - rest ? 1
            : rest == y - rest ? Float80.IntegerBit
            : Float80.IntegerBit | 1;
        return Float80Rounding.Round(a.Sign != b.Sign, exponent, quotient, fraction, cx.PrecisionDrop, ref cx);
    }

    private static bool DivideSpecial(Float80 a, Float80 b, ref X87Context cx, out Float80 result)
    {
        if (cx.NotNumbers(a, b, out result))
            return true;
        if ((a.IsInfinity && b.IsInfinity) || (a.IsZero && b.IsZero))
        {
            result = cx.Invalid();
            return true;
        }
        bool sign = a.Sign != b.Sign;
        if (b.IsZero && !a.IsInfinity)
        {
            // #Z goes before #D (SDM vol. 1, 4.9.2).
            cx.Raised |= X87Status.ZeroDivide;
            result = Float80.Infinity(sign);
            return true;
        }
        cx.Denormals(a, b);
        result = a.IsInfinity ? Float80.Infinity(sign) : Float80.Zero(sign);
        return a.IsInfinity || a.IsZero || b.IsInfinity;
    }

    /// <summary>128 by 64 bits; <paramref name="high"/> is less than the divisor, whose top bit is set.</summary>
    internal static ulong DivideWide(ulong high, ulong low, ulong divisor, out ulong rest)
    {
        UInt128 dividend = new(high, low);
        UInt128 quotient = dividend / divisor;
        rest = low - ((ulong)quotient * divisor);
        return (ulong)quotient;
    }

    public static Float80 SquareRoot(Float80 a, ref X87Context cx)
    {
        if (!a.IsNormal)
        {
            if (cx.NotNumber(a, out Float80 nan))
                return nan;
            if (a.IsZero)
                return a;
        }
        if (a.Sign)
            return cx.Invalid();
        if (a.IsInfinity)
            return a;
        cx.Denormals(a, a);
        ulong significand = a.Normalize(out int exponent);
        int unbiased = exponent - Float80.Bias;
        // The radicand lies in [2^126, 2^128), so that its root has 64 bits.
        UInt128 radicand = (unbiased & 1) != 0 ? new UInt128(significand, 0) : new UInt128(significand, 0) >> 1;
        ulong root = Root(radicand, out UInt128 rest);
        ulong fraction = rest == 0 ? 0 : rest > root ? Float80.IntegerBit | 1 : 1UL;
        return Float80Rounding.Round(false, (unbiased >> 1) + Float80.Bias, root, fraction, cx.PrecisionDrop, ref cx);
    }

    private static ulong Root(UInt128 radicand, out UInt128 rest)
    {
        double estimate = Math.Sqrt((double)radicand);
        ulong root = estimate >= 18446744073709549568.0 ? 18446744073709549568 : (ulong)estimate;
        // One Newton step from 52 good bits gives all 64 but for the last unit.
        UInt128 square = Math.BigMul(root, root);
        if (square > radicand)
            root -= (ulong)(((square - radicand) / root) >> 1) + 1;
        else
            root += (ulong)(((radicand - square) / root) >> 1);
        square = Math.BigMul(root, root);
        while (square > radicand)
        {
            square -= ((UInt128)root << 1) - 1;
            root--;
        }
        rest = radicand - square;
        while (rest > (UInt128)root << 1)
        {
            rest -= ((UInt128)root << 1) + 1;
            root++;
        }
        return root;
    }

    /// <summary>Compares; a quiet comparison (FUCOM) is invalid only for signaling NaNs.</summary>
    public static Float80Order Compare(Float80 a, Float80 b, bool quiet, ref X87Context cx)
    {
        if (!a.IsNormal || !b.IsNormal || cx.DenormalSource)
        {
            if (a.IsUnsupported || b.IsUnsupported || a.IsNaN || b.IsNaN)
            {
                if (!quiet || !(a.IsNaN || b.IsNaN) || a.IsUnsupported || b.IsUnsupported || a.IsSignalingNaN || b.IsSignalingNaN)
                    cx.Raised |= X87Status.Invalid;
                return Float80Order.Unordered;
            }
            cx.Denormals(a, b);
            if (a.IsZero && b.IsZero)
                return Float80Order.Equal;
        }
        if (a.Sign != b.Sign)
            return a.Sign ? Float80Order.Less : Float80Order.Greater;
        int order = a.EffectiveExponent.CompareTo(b.EffectiveExponent);
        if (order == 0)
            order = a.Significand.CompareTo(b.Significand);
        if (order == 0)
            return Float80Order.Equal;
        return order < 0 != a.Sign ? Float80Order.Less : Float80Order.Greater;
    }
}
