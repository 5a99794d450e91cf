using System.Globalization;

namespace Emulator.Cli.Commands;

/// <summary>Sizes in bytes with K, M, G, T (powers of 1024).</summary>
internal static class Size
{
    public static bool TryParse(string text, out ulong bytes)
    {
        bytes = 0;
        string digits = text.EndsWith("iB", StringComparison.OrdinalIgnoreCase) ? text[..^2] : text.TrimEnd('B', 'b');
        int shift = digits.Length == 0 ? 0 : char.ToUpperInvariant(digits[^1]) switch { 'K' => 10, 'M' => 20, 'G' => 30, 'T' => 40, _ => 0 };
        if (shift != 0)
            digits = digits[..^1];
        if (!ulong.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out ulong count) || count > ulong.MaxValue >> shift)
            return false;
        bytes = count << shift;
        return true;
    }
}
