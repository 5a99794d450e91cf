using System.Collections.Immutable;
using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Tracing;

/// <summary>One figure of a run. The list of them is the schema of the table and of the JSON alike.</summary>
/// <param name="Name">Stable, dotted name.</param>
/// <param name="PerVcpu">A value for each vCPU where the figure is counted there, else empty.</param>
public readonly record struct Figure(string Name, string Unit, string Help, ulong Value, ImmutableArray<ulong> PerVcpu);

/// <summary>
/// What a run did, in counts, and how long the host took. Everything but <see cref="HostSeconds"/> is the same in every run of a
/// deterministic machine with the same seed.
/// </summary>
public sealed record Statistics
{
    /// <summary>Raised when a name or meaning changes.</summary>
    public const int SchemaVersion = 1;

    public required string Program { get; init; }
    public required ExitStatus Exit { get; init; }
    public required int Vcpus { get; init; }
    public required TlbGeometry Tlb { get; init; }
    public required ulong Seed { get; init; }
    public required bool Deterministic { get; init; }
    public required ImmutableArray<Figure> Figures { get; init; }

    /// <summary>Wall-clock time of the run, without making the machine.</summary>
    public required double HostSeconds { get; init; }

    /// <summary>Counts and cycles of the parts that the program has marked; empty: it has marked none.</summary>
    public ImmutableArray<Figure> Measured { get; init; } = [];

    public ulong this[string name] => Find(Figures, name).Value;

    /// <summary>A figure of the marked parts, or of the whole run if there are none.</summary>
    public Figure OfPart(string name) => Find(Measured.IsEmpty ? Figures : Measured, name);

    private static Figure Find(ImmutableArray<Figure> figures, string name)
    {
        foreach (Figure figure in figures)
        {
            if (figure.Name.Equals(name, StringComparison.Ordinal))
                return figure;
        }
        throw new ArgumentException($"there is no figure '{name}'", nameof(name));
    }

    /// <summary>Look-ups: every memory access of the guest and every fetch that asked the TLB.</summary>
    public ulong Lookups => this["tlb.accesses"] + this["tlb.fetches"];

    /// <summary>Share of look-ups that the first level answered, 0 to 1.</summary>
    public double Level1HitRate => Rate(Lookups, this["tlb.l1_misses"]);

    /// <summary>Share of the first level's misses that the second answered, 0 to 1.</summary>
    public double Level2HitRate => Rate(this["tlb.l1_misses"], this["tlb.l2_misses"]);

    private static double Rate(ulong lookups, ulong misses) => lookups == 0 ? 0 : 1 - (double)Math.Min(misses, lookups) / lookups;
}
