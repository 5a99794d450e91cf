using Emulator.Hardware.Cpu.X87;

namespace Emulator.Tests.Cpu.X87;

/// <summary>Random operands by a fixed seed, with the values that matter drawn often.</summary>
internal sealed class Samples(int seed)
{
    private readonly Random _random = new(seed);

    public int Next(int limit) => _random.Next(limit);

    public ulong Bits() => (ulong)_random.NextInt64(long.MinValue, long.MaxValue);

    public X87Rounding Rounding() => (X87Rounding)_random.Next(4);

    /// <summary>A control word with all exceptions masked.</summary>
    public static uint Control(X87Rounding rounding, int precision)
        => 0x7Fu | ((uint)rounding << 10) | (precision switch { 24 => 0u, 53 => 0x200u, _ => 0x300u });

    public int Precision() => _random.Next(3) switch { 0 => 24, 1 => 53, _ => 64 };

    /// <summary>A finite number other than zero: mostly of moderate size, at times denormal or next to the format's ends.</summary>
    public Float80 Finite()
    {
        ulong significand = Significand() | Float80.IntegerBit;
        bool sign = _random.Next(2) == 0;
        return _random.Next(12) switch
        {
            0 => new Float80(sign, 0, Math.Max(1, Bits() >> _random.Next(1, 64))),
            1 => new Float80(sign, _random.Next(1, 130), significand),
            2 => new Float80(sign, _random.Next(0x7FFE - 130, 0x7FFF), significand),
            3 => new Float80(sign, _random.Next(1, 0x7FFF), significand),
            _ => new Float80(sign, Float80.Bias + _random.Next(-70, 70), significand),
        };
    }

    /// <summary>A normal number whose unbiased exponent lies in the range.</summary>
    public Float80 Normal(int from, int to)
        => new(_random.Next(2) == 0, Float80.Bias + _random.Next(from, to), Significand() | Float80.IntegerBit);

    private ulong Significand() => _random.Next(6) switch
    {
        0 => 0,
        1 => ulong.MaxValue << _random.Next(64),
        2 => Bits() << _random.Next(64),
        3 => Bits() >> _random.Next(64),
        _ => Bits(),
    };
}
