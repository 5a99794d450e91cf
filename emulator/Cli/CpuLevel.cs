using Emulator.Hardware.Cpu;

namespace Emulator.Cli;

/// <summary>The processor levels of <c>--cpu</c>: those of the x86-64 psABI, and all that is implemented.</summary>
internal static class CpuLevel
{
    private static readonly (string Name, CpuFeatures Features)[] Levels =
    [
        ("x86-64", CpuFeatures.V1),
        ("x86-64-v2", CpuFeatures.V2),
        ("max", CpuFeatures.Max),
    ];

    public static CpuFeatures? Parse(string name)
    {
        string full = name switch { "x86-64-v1" or "v1" => "x86-64", "v2" => "x86-64-v2", _ => name };
        foreach (var level in Levels)
        {
            if (level.Name.Equals(full, StringComparison.Ordinal))
                return level.Features;
        }
        return null;
    }

    /// <summary>The lowest level that has the extensions.</summary>
    public static string LowestWith(CpuFeatures needed) => Array.Find(Levels, level => (needed & ~level.Features) == 0).Name;

    /// <summary>The extensions by the names that the manuals give their CPUID bits.</summary>
    public static string Describe(CpuFeatures features)
    {
        var names = new List<string>();
        foreach (CpuFeatures feature in Enum.GetValues<CpuFeatures>())
        {
            if (System.Numerics.BitOperations.IsPow2((ulong)feature) && features.HasFlag(feature))
                names.Add(Name(feature));
        }
        return string.Join(", ", names);
    }

    private static string Name(CpuFeatures feature) => feature switch
    {
        CpuFeatures.Sse41 => "SSE4.1",
        CpuFeatures.Sse42 => "SSE4.2",
        CpuFeatures.Cx16 => "CMPXCHG16B",
        CpuFeatures.LahfSahf => "LAHF-SAHF",
        _ => feature.ToString().ToUpperInvariant(),
    };
}
