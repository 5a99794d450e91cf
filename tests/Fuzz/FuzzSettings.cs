using System.Globalization;

namespace Emulator.Tests.Fuzz;

/// <summary>
/// How much is tried, and from where. EMULATOR_FUZZ_CASES is the number of cases of the whole suite, divided among the feeds as by default;
/// EMULATOR_FUZZ_SEED is added to each seed, so that a longer hunt sees something new.
/// </summary>
internal static class FuzzSettings
{
    /// <summary>Cases of all feeds together without the variable.</summary>
    public const int DefaultCases = 128_000;

    public static readonly long Cases = Read("EMULATOR_FUZZ_CASES", DefaultCases);

    public static readonly ulong Seed = (ulong)Read("EMULATOR_FUZZ_SEED", 0);

    /// <summary>The seed of the one batch that is to run, as a failure names it (EMULATOR_FUZZ_REPLAY); null: all as usual.</summary>
    public static readonly ulong? Replay = Environment.GetEnvironmentVariable("EMULATOR_FUZZ_REPLAY") is { } text ? ulong.Parse(text, CultureInfo.InvariantCulture) : null;

    /// <summary>What one of a feed's <paramref name="shards"/> is to do of the feed's <paramref name="share"/> of <see cref="DefaultCases"/>.</summary>
    public static long Quota(int share, int shards) => Math.Max(1, (long)((double)share * Cases / DefaultCases / shards));

    /// <summary>The seed of a batch: nothing but this number decides its cases.</summary>
    public static ulong SeedOf(int shard, long batch) => (Seed << 40) + ((ulong)shard << 32) + (ulong)batch;

    /// <summary>Generators of neighbouring seeds have nothing in common (SplitMix64's finishing steps).</summary>
    public static Random RandomOf(ulong seed)
    {
        seed = (seed ^ (seed >> 30)) * 0xBF58_476D_1CE4_E5B9;
        seed = (seed ^ (seed >> 27)) * 0x94D0_49BB_1331_11EB;
        return new(unchecked((int)(seed ^ (seed >> 31))));
    }

    private static long Read(string name, long otherwise) =>
        Environment.GetEnvironmentVariable(name) is { } text && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : otherwise;
}
