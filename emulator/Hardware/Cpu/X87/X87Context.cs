using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>Bits of the status word (SDM vol. 1, 8.1.3).</summary>
internal static class X87Status
{
    public const uint Invalid = 1, Denormal = 2, ZeroDivide = 4, Overflow = 8, Underflow = 0x10, Precision = 0x20;
    public const uint StackFault = 0x40, ErrorSummary = 0x80, Busy = 0x8000;
    public const uint C0 = 0x100, C1 = 0x200, C2 = 0x400, C3 = 0x4000;
    public const uint Conditions = C0 | C1 | C2 | C3;
    public const uint Exceptions = 0x3F;
    /// <summary>Exceptions found before the operation: unmasked, they leave operands and stack as they were (SDM vol. 1, 8.5).</summary>
    public const uint BeforeOperation = Invalid | Denormal | ZeroDivide;
    public const int TopShift = 11;
    public const uint Top = 7 << TopShift;
}

/// <summary>The rounding-control field, in the order of SDM vol. 1, table 4-8.</summary>
internal enum X87Rounding
{
    Nearest,
    Down,
    Up,
    TowardZero,
}

/// <summary>The control word under which one operation runs, and what the operation raised.</summary>
internal struct X87Context(uint control)
{
    public readonly uint Control = control;
    /// <summary>Exception flags, SF and condition codes as bits of the status word.</summary>
    public uint Raised;
    /// <summary>The operand came from a denormal of a narrower format: it is normal by now but still raises #D.</summary>
    public bool DenormalSource;

    public readonly X87Rounding Rounding
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => (X87Rounding)((Control >> 10) & 3);
    }

    /// <summary>Bits of significand below the precision control's: 0, 11 or 40. The reserved value 1 acts as 64 bits.</summary>
    public readonly int PrecisionDrop
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => (Control & 0x300) switch { 0 => 40, 0x200 => 11, _ => 0 };
    }

    /// <summary>Whether the operation may not store its result nor move the stack.</summary>
    public readonly bool Suppressed => (Raised & ~Control & X87Status.BeforeOperation) != 0;

    public readonly bool IsUnmasked(uint exception) => (Control & exception) == 0;

    /// <summary>The masked answer to an invalid operation.</summary>
    public Float80 Invalid()
    {
        Raised |= X87Status.Invalid;
        return Float80.Indefinite;
    }

    /// <summary>Raises #D for denormal operands.</summary>
    public void Denormals(Float80 a, Float80 b)
    {
        if (a.IsDenormal || b.IsDenormal || DenormalSource)
            Raised |= X87Status.Denormal;
    }

    /// <summary>Deals with operands that are unsupported or not a number; true with the answer when that ends the operation.</summary>
    public bool NotNumbers(Float80 a, Float80 b, out Float80 result)
    {
        if (a.IsUnsupported || b.IsUnsupported)
        {
            result = Invalid();
            return true;
        }
        if (!a.IsNaN && !b.IsNaN)
        {
            result = default;
            return false;
        }
        if (a.IsSignalingNaN || b.IsSignalingNaN)
            Raised |= X87Status.Invalid;
        result = Propagate(a, b);
        return true;
    }

    /// <summary>The one-operand form of <see cref="NotNumbers(Float80, Float80, out Float80)"/>.</summary>
    public bool NotNumber(Float80 a, out Float80 result) => NotNumbers(a, a, out result);

    /// <summary>SDM vol. 1, table 4-7: a quiet NaN goes before a signaling one, otherwise the larger significand wins.</summary>
    private static Float80 Propagate(Float80 a, Float80 b)
    {
        if (!b.IsNaN)
            return a.Quieted;
        if (!a.IsNaN)
            return b.Quieted;
        if (a.IsSignalingNaN != b.IsSignalingNaN)
            return a.IsSignalingNaN ? b : a;
        if (a.Significand != b.Significand)
            return (a.Significand > b.Significand ? a : b).Quieted;
        return (a.Sign ? b : a).Quieted;
    }
}
