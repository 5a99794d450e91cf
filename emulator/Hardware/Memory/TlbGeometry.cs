using System.Globalization;
using System.Numerics;

namespace Emulator.Hardware.Memory;

/// <summary>One level of a TLB: <paramref name="Entries"/> in sets of <paramref name="Ways"/>; the number of sets is a power of two.</summary>
public readonly record struct TlbLevel(int Entries, int Ways)
{
    public const int MaxEntries = 1 << 20;
    public const int MaxWays = 256;

    public int Sets => Entries / Ways;

    public bool IsValid => Ways is > 0 and <= MaxWays && Entries is > 0 and <= MaxEntries
        && Entries % Ways == 0 && BitOperations.IsPow2(Entries / Ways);

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Entries}x{Ways}");
}

/// <summary>
/// Sizes of a vCPU's TLB. Both levels serve instruction fetches and data alike. The first level holds 4 KiB pages, and beside it, in an
/// array of half its size, larger ones; the second level holds all sizes. The default has the sizes of Intel's Skylake server core.
/// </summary>
/// <param name="Level2">Null: there is one level only.</param>
public sealed record TlbGeometry(TlbLevel Level1, TlbLevel? Level2)
{
    public static TlbGeometry Default { get; } = new(new TlbLevel(64, 4), new TlbLevel(1536, 12));

    /// <summary>The first level's array for pages of 2 MiB and 1 GiB.</summary>
    public TlbLevel Level1Large => Level1.Sets > 1 ? new TlbLevel(Level1.Entries / 2, Level1.Ways) : Level1;

    /// <summary>Reads <c>ENTRIESxWAYS[,ENTRIESxWAYS]</c>.</summary>
    /// <param name="error">What is wrong and what would be right, in one sentence; empty when nothing is.</param>
    public static bool TryParse(string text, out TlbGeometry geometry, out string error)
    {
        geometry = Default;
        error = "";
        var levels = text.Split(',');
        if (levels.Length > 2)
        {
            error = $"'{text}' has more than two levels; write ENTRIESxWAYS[,ENTRIESxWAYS], for example {Default}";
            return false;
        }
        var parsed = new TlbLevel[levels.Length];
        for (int i = 0; i < levels.Length; i++)
        {
            var numbers = levels[i].Split('x');
            if (numbers.Length != 2
                || !int.TryParse(numbers[0], NumberStyles.None, CultureInfo.InvariantCulture, out int entries)
                || !int.TryParse(numbers[1], NumberStyles.None, CultureInfo.InvariantCulture, out int ways))
            {
                error = $"'{levels[i]}' is no TLB level; write ENTRIESxWAYS, for example {Default.Level1}";
                return false;
            }
            parsed[i] = new TlbLevel(entries, ways);
            if (!parsed[i].IsValid)
            {
                error = $"TLB level '{levels[i]}': ENTRIES (up to {TlbLevel.MaxEntries}) must be WAYS (up to {TlbLevel.MaxWays}) times a power of two";
                return false;
            }
        }
        geometry = new TlbGeometry(parsed[0], parsed.Length > 1 ? parsed[1] : null);
        return true;
    }

    public override string ToString() => Level2 is { } second ? $"{Level1},{second}" : Level1.ToString();
}
