using System.Runtime.InteropServices;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>What the bytes of an operand are meant as, which decides the values worth trying.</summary>
internal enum ValueKind
{
    Integer8,
    Integer16,
    Integer32,
    Integer64,
    Float32,
    Float64,
    Float80,
    Bcd,
}

/// <summary>Values at which instructions tend to go wrong, mixed with random ones.</summary>
internal static class EdgeValues
{
    private static ReadOnlySpan<ulong> Integers =>
    [
        0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 0x100, 0x7FFF, 0x8000, 0x8001, 0xFFFF, 0x1_0000,
        0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_FFFF, 0x1_0000_0000, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000,
        0x8000_0000_0000_0001, 0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFF, 0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA,
        0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_7FFF_FFFF, 0x0F0F_0F0F_0F0F_0F0F, 0x0102_0408_1020_4080,
    ];

    // Without sign: zero, least and greatest denormal, least normal, 1/2, 1, 1 + ulp, 1.5, 2, 2.5, integer limits, greatest, infinity, quiet and signalling NaNs.
    private static ReadOnlySpan<uint> Singles =>
    [
        0, 1, 0x0000_0FFF, 0x007F_FFFF, 0x0080_0000, 0x0080_0001, 0x3EFF_FFFF, 0x3F00_0000, 0x3F00_0001, 0x3F7F_FFFF, 0x3F80_0000, 0x3F80_0001,
        0x3FC0_0000, 0x4000_0000, 0x4020_0000, 0x4EFF_FFFF, 0x4F00_0000, 0x4F80_0000, 0x5EFF_FFFF, 0x5F00_0000, 0x5F80_0000,
        0x7F00_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7FC0_0000, 0x7FC1_2345, 0x7F80_0001, 0x7FBF_FFFF, 0x4B7F_FFFF, 0x4B00_0001, 0x3300_0000, 0x42FE_0000, 0x477F_E000,
    ];

    private static ReadOnlySpan<ulong> Doubles =>
    [
        0, 1, 0x000F_FFFF_FFFF_FFFF, 0x0010_0000_0000_0000, 0x0010_0000_0000_0001, 0x3FDF_FFFF_FFFF_FFFF, 0x3FE0_0000_0000_0000,
        0x3FE0_0000_0000_0001, 0x3FEF_FFFF_FFFF_FFFF, 0x3FF0_0000_0000_0000, 0x3FF0_0000_0000_0001, 0x3FF8_0000_0000_0000,
        0x4000_0000_0000_0000, 0x4004_0000_0000_0000, 0x41DF_FFFF_FFC0_0000, 0x41DF_FFFF_FFE0_0000, 0x41E0_0000_0000_0000, 0x41E0_0000_0010_0000, 0x41EF_FFFF_FFE0_0000,
        0x43DF_FFFF_FFFF_FFFF, 0x43E0_0000_0000_0000, 0x43F0_0000_0000_0000, 0x7FEF_FFFF_FFFF_FFFF, 0x7FF0_0000_0000_0000,
        0x7FF8_0000_0000_0000, 0x7FF8_0000_1234_5678, 0x7FF0_0000_0000_0001, 0x7FF7_FFFF_FFFF_FFFF, 0x36A0_0000_0000_0000, 0x3690_0000_0000_0001,
        0x380F_FFFF_FFFF_FFFF, 0x3810_0000_0000_0000, 0x380F_FFFF_F000_0000, 0x47EF_FFFF_E000_0000, 0x47EF_FFFF_F000_0000, 0x4330_0000_0000_0001, 0x3FE0_0000_1000_0000,
    ];

    /// <summary>Exponents (of extended precision, without sign) near which something changes.</summary>
    private static ReadOnlySpan<ushort> ExtendedExponents =>
    [
        0, 1, 2, 0x3BCC, 0x3BCD, 0x3C00, 0x3C01, 0x3F6A, 0x3F80, 0x3F81, 0x3FBE, 0x3FFB, 0x3FFD, 0x3FFE, 0x3FFF, 0x4000, 0x4001, 0x400D, 0x400E,
        0x401D, 0x401E, 0x403C, 0x403D, 0x403E, 0x403F, 0x407E, 0x407F, 0x43FE, 0x43FF, 0x7FFD, 0x7FFE, 0x7FFF,
    ];

    private static ReadOnlySpan<ulong> ExtendedSignificands =>
    [
        0x8000_0000_0000_0000, 0x8000_0000_0000_0001, 0xC000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0400, 0x8000_0080_0000_0000,
        0xFFFF_FFFF_FFFF_FC00, 0xFFFF_FF00_0000_0000, 0xC90F_DAA2_2168_C235, 0xB504_F333_F9DE_6484,
    ];

    public static ulong Integer(SeededRandom random, int bits)
    {
        var value = random.Below(8) switch
        {
            < 4 => random.Pick(Integers),
            4 => 1UL << random.Below(bits),
            5 => ~(1UL << random.Below(bits)),
            _ => random.Next(),
        };
        return bits == 64 ? value : value & ((1UL << bits) - 1);
    }

    /// <summary>A 64-bit register value whose low part is an edge value of some width under arbitrary upper bits.</summary>
    public static ulong Register(SeededRandom random)
    {
        var bits = 8 << random.Below(4);
        var low = Integer(random, bits);
        return bits == 64 || random.Chance(25) ? low : (random.Next() << bits) | low;
    }

    public static uint Single(SeededRandom random) => Sign32(random, random.Below(10) switch
    {
        < 5 => random.Pick(Singles),
        5 => BitConverter.SingleToUInt32Bits(random.Below(100_000) - 50_000),
        6 => BitConverter.SingleToUInt32Bits((random.Below(1000) - 500) / 4f),
        7 => (uint)((110 + random.Below(40)) << 23) | (uint)(random.Next() & 0x7F_FFFF),
        _ => (uint)random.Next(),
    });

    private static uint Sign32(SeededRandom random, uint bits) => bits ^ ((uint)random.Next() & 0x8000_0000);

    public static ulong Double(SeededRandom random) => (random.Next() & (1UL << 63)) ^ random.Below(10) switch
    {
        < 5 => random.Pick(Doubles),
        5 => BitConverter.DoubleToUInt64Bits(random.Below(100_000) - 50_000),
        6 => BitConverter.DoubleToUInt64Bits((random.Below(1000) - 500) / 4d),
        7 => ((ulong)(1000 + random.Below(60)) << 52) | (random.Next() & 0xF_FFFF_FFFF_FFFF),
        _ => random.Next(),
    };

    /// <summary>Writes ten bytes: also the encodings without integer bit that newer processors refuse (SDM vol. 1, 8.2.2).</summary>
    public static void Extended(SeededRandom random, Span<byte> ten)
    {
        ulong significand;
        int exponent;
        switch (random.Below(12))
        {
            case < 4:
                significand = random.Pick(ExtendedSignificands);
                exponent = random.Pick(ExtendedExponents);
                break;
            case < 7:
                significand = random.Next() | (1UL << 63);
                exponent = 0x3FFF - 20 + random.Below(90);
                break;
            case 7:
                (significand, exponent) = Normalised((ulong)random.Below(1000) + 1);
                break;
            case 8:
                (significand, exponent) = (0, 0);
                break;
            case 9:
                (significand, exponent) = (random.Pick([1UL << 63, 3UL << 62, (3UL << 62) | 0x1234, (1UL << 63) | 1, (2UL << 62) | random.Next() >> 2]), 0x7FFF);
                break;
            case 10:
                significand = random.Next();
                exponent = random.Pick(ExtendedExponents);
                break;
            default:
                (significand, exponent) = (random.Next(), random.Below(0x8000));
                break;
        }
        MemoryMarshal.Write(ten, significand);
        MemoryMarshal.Write(ten[8..], (ushort)(exponent | (random.Below(2) << 15)));
    }

    private static (ulong Significand, int Exponent) Normalised(ulong integer)
    {
        var shift = System.Numerics.BitOperations.LeadingZeroCount(integer);
        return (integer << shift, 0x3FFF + 63 - shift);
    }

    /// <summary>Fills memory or registers with values of one kind, each at its own alignment.</summary>
    public static void Fill(SeededRandom random, ValueKind kind, Span<byte> bytes)
    {
        var width = kind switch
        {
            ValueKind.Integer8 => 1,
            ValueKind.Integer16 => 2,
            ValueKind.Integer32 or ValueKind.Float32 => 4,
            ValueKind.Integer64 or ValueKind.Float64 => 8,
            _ => 16,
        };
        Span<byte> value = stackalloc byte[16];
        for (var at = 0; at + width <= bytes.Length; at += width)
        {
            switch (kind)
            {
                case ValueKind.Float32:
                    MemoryMarshal.Write(value, Single(random));
                    break;
                case ValueKind.Float64:
                    MemoryMarshal.Write(value, Double(random));
                    break;
                case ValueKind.Float80:
                    Extended(random, value);
                    break;
                case ValueKind.Bcd:
                    for (var i = 0; i < 9; i++)
                        value[i] = (byte)((random.Below(10) << 4) | random.Below(10));
                    value[9] = (byte)(random.Below(2) << 7);
                    break;
                default:
                    MemoryMarshal.Write(value, Integer(random, width * 8));
                    break;
            }
            value[..width].CopyTo(bytes[at..]);
        }
    }
}
