using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>
/// A number in the double extended-precision format as a register holds it: an explicit integer bit and 63 fraction bits, a sign and a
/// 15-bit exponent (SDM vol. 1, 4.2.2). All 2^80 encodings are kept as they are, the unsupported ones too. 16 bytes, so that an
/// x87 register slot is one.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public readonly struct Float80 : IEquatable<Float80>
{
    public readonly ulong Significand;

    // A whole register's width, so that a value travels in two of them and never through memory.
    private readonly ulong _signExponent;

    public const ulong IntegerBit = 1UL << 63;
    public const ulong QuietBit = 1UL << 62;
    public const int Bias = 0x3FFF;
    /// <summary>The exponent field of infinities and NaNs.</summary>
    public const int MaxExponent = 0x7FFF;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Float80(ulong significand, ushort signExponent)
    {
        Significand = significand;
        _signExponent = signExponent;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Float80(bool sign, int exponent, ulong significand)
    {
        Significand = significand;
        _signExponent = (uint)exponent | (sign ? 0x8000u : 0);
    }

    public static Float80 One => new(IntegerBit, Bias);

    /// <summary>The QNaN "real indefinite", the masked answer to an invalid operation (SDM vol. 1, 4.8.3.7).</summary>
    public static Float80 Indefinite => new(IntegerBit | QuietBit, 0xFFFF);

    public static Float80 Zero(bool sign) => new(sign, 0, 0);

    public static Float80 Infinity(bool sign) => new(sign, MaxExponent, IntegerBit);

    /// <summary>The sign bit above the 15 bits of the exponent: the upper two bytes of the 80-bit format.</summary>
    public ushort SignExponent => (ushort)_signExponent;

    public bool Sign => (SignExponent & 0x8000) != 0;

    /// <summary>The biased exponent field.</summary>
    public int Exponent => SignExponent & MaxExponent;

    /// <summary>The exponent that the value has: denormals count from 1, as SDM vol. 1, table 4-3 implies.</summary>
    public int EffectiveExponent => Math.Max(Exponent, 1);

    /// <summary>A finite number other than zero, with its integer bit where it belongs.</summary>
    public bool IsNormal => (uint)(Exponent - 1) < MaxExponent - 1 && (long)Significand < 0;

    public bool IsZero => Exponent == 0 && Significand == 0;

    /// <summary>A denormal or pseudo-denormal: either raises #D.</summary>
    public bool IsDenormal => Exponent == 0 && Significand != 0;

    public bool IsInfinity => Exponent == MaxExponent && Significand == IntegerBit;

    public bool IsNaN => Exponent == MaxExponent && Significand > IntegerBit;

    public bool IsSignalingNaN => IsNaN && (Significand & QuietBit) == 0;

    /// <summary>Unnormals, pseudo-infinities and pseudo-NaNs: invalid operands since the 80387 (SDM vol. 1, 8.2.2).</summary>
    public bool IsUnsupported => Exponent != 0 && (long)Significand >= 0;

    public Float80 Negated => new(Significand, (ushort)(SignExponent ^ 0x8000));

    public Float80 Magnitude => new(Significand, (ushort)Exponent);

    /// <summary>The NaN with its quiet bit set.</summary>
    public Float80 Quieted => new(Significand | QuietBit, SignExponent);

    /// <summary>Shifts a denormal's significand up to the integer bit; gives the exponent that goes with it, which may be negative.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal ulong Normalize(out int exponent)
    {
        int shift = BitOperations.LeadingZeroCount(Significand);
        exponent = EffectiveExponent - shift;
        return Significand << shift;
    }

    public bool Equals(Float80 other) => Significand == other.Significand && SignExponent == other.SignExponent;

    public override bool Equals(object? obj) => obj is Float80 other && Equals(other);

    public override int GetHashCode() => HashCode.Combine(Significand, SignExponent);

    public override string ToString() => $"{SignExponent:X4}_{Significand:X16}";

    public static bool operator ==(Float80 left, Float80 right) => left.Equals(right);

    public static bool operator !=(Float80 left, Float80 right) => !left.Equals(right);
}
