using System.Runtime.InteropServices;
using Iced.Intel;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>The instructions whose results the manual bounds instead of defining.</summary>
internal static class Tolerance
{
    /// <summary>RCPPS, RSQRTPS: "relative error less than or equal to 1.5 * 2^-12", on either side.</summary>
    private const double Approximation = 2 * 1.5 / 4096;

    public static bool Vector(in Instruction instruction, ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual)
    {
        if (instruction.Mnemonic is not (Mnemonic.Rcpps or Mnemonic.Rcpss or Mnemonic.Rsqrtps or Mnemonic.Rsqrtss))
            return false;
        ReadOnlySpan<uint> want = MemoryMarshal.Cast<byte, uint>(expected), have = MemoryMarshal.Cast<byte, uint>(actual);
        for (var i = 0; i < want.Length; i++)
        {
            if (want[i] == have[i])
                continue;
            double w = BitConverter.UInt32BitsToSingle(want[i]), h = BitConverter.UInt32BitsToSingle(have[i]);
            if (!double.IsFinite(w) || !double.IsFinite(h) || w == 0 || Math.Abs(h - w) > Approximation * Math.Abs(w))
                return false;
        }
        return true;
    }

    /// <summary>Transcendental instructions: within 1.5 ulp of the truth in every rounding mode (SDM vol. 1, 8.3.10), hence three of each other.</summary>
    public static bool Extended(in Instruction instruction, ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual)
    {
        if (!IsTranscendental(instruction.Mnemonic))
            return false;
        var distance = Ordinal(expected) - Ordinal(actual);
        return distance >= -3 && distance <= 3;
    }

    public static bool IsTranscendental(Mnemonic mnemonic) => mnemonic is Mnemonic.Fsin or Mnemonic.Fcos or Mnemonic.Fsincos or Mnemonic.Fptan or Mnemonic.Fpatan
        or Mnemonic.F2xm1 or Mnemonic.Fyl2x or Mnemonic.Fyl2xp1;

    /// <summary>The encoding as a number that grows by one from each value to the next.</summary>
    private static Int128 Ordinal(ReadOnlySpan<byte> value)
    {
        var exponent = MemoryMarshal.Read<ushort>(value[8..]);
        var magnitude = ((Int128)(exponent & 0x7FFF) << 63) + (Int128)(MemoryMarshal.Read<ulong>(value) & long.MaxValue);
        return (exponent & 0x8000) != 0 ? -magnitude : magnitude;
    }
}
