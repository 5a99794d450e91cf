using System.Collections.Immutable;

namespace Emulator.Cli.Reports;

/// <summary>A count of a comparison: the same list makes the table, the JSON and the CSV.</summary>
/// <param name="Name">In JSON and CSV.</param>
/// <param name="Header">In the table.</param>
internal sealed record ComparisonColumn(string Name, string Header, string Help, Func<ComparisonRow, ulong> Value);

/// <summary>What <c>emulator compare</c> shows. All of it is the same in every run with the same seed.</summary>
internal static class ComparisonColumns
{
    private static readonly ComparisonColumn
        Interrupts = new("ipis_sent", "IPIs", "interrupts sent for flushes, one for each target", static row => row.OfPart("shootdown.ipis_sent")),
        FlushCycles = new("cycles_operation", "flush cycles", "simulated cycles of all vCPUs for flushes and their interrupts", OperationCycles),
        AllCycles = new("cycles_total", "all cycles", "simulated cycles of all vCPUs for everything, whole run", static row => row["cycles.total"]);

    public static readonly ImmutableArray<ComparisonColumn> All =
    [
        Interrupts,
        new("ipis_useless", "useless", "of them, those whose target held no translation that the flush was about", static row => row.OfPart("shootdown.useless")),
        new("vcpus_interrupted", "vCPUs hit", "vCPUs that were interrupted at all", static row => (ulong)row.Statistics.OfPart("shootdown.ipis_received").PerVcpu.Count(count => count != 0)),
        new("page_flushes", "pages", "single pages flushed", static row => row.OfPart("shootdown.page_flushes")),
        new("full_flushes", "full", "full flushes", static row => row.OfPart("shootdown.full_flushes")),
        new("entries_lost", "lost", "translations that flushes took away", static row => row.OfPart("shootdown.entries_lost")),
        new("entries_unrelated", "unrelated", "of them, those that no flush was about", static row => row.OfPart("shootdown.collateral")),
        new("tlb_misses_caused", "misses", "TLB misses of the whole run, less the fewest of any policy", static row => Math.Max(row["tlb.l2_misses"], row.FewestMisses) - row.FewestMisses),
        new("walk_references", "walk refs", "paging-structure entries read by walks, whole run", static row => row["tlb.walk_references"]),
        FlushCycles,
        AllCycles,
    ];

    /// <summary>What is shown instead where designs of /dev/udmabuf are compared.</summary>
    public static readonly ImmutableArray<ComparisonColumn> Buffers =
    [
        Interrupts,
        new("faults", "faults", "page faults of programs", static row => row.OfPart("vm.pgfault")),
        new("pages_taken", "taken", "pages of buffers given up because they left their file", static row => row.OfPart("dmabuf.invalidated")),
        new("pages_acquired", "acquired", "pages of buffers looked up in their files", static row => row.OfPart("dmabuf.acquired")),
        new("revokes", "revoked", "mappings of devices taken back in notifiers", static row => row.OfPart("dmabuf.revokes")),
        new("move_notifies", "moved", "calls of move_notify", static row => row.OfPart("dmabuf.move_notifies")),
        new("maps", "maps", "mappings made for devices", static row => row.OfPart("dmabuf.maps")),
        new("iotlb_misses", "IOTLB", "translations that devices looked up", static row => row.OfPart("dmabuf.iotlb_misses")),
        new("bytes_copied", "copied", "bytes that devices read or wrote", static row => row.OfPart("dmabuf.bytes")),
        new("orphans", "orphans", "pages that devices used though they had left their file or were freed", Orphans),
        FlushCycles,
        new("cycles_part", "part cycles", "simulated cycles of all vCPUs for everything in the parts marked", static row => row.OfPart("cycles.total")),
        AllCycles,
    ];

    public static ImmutableArray<ComparisonColumn> For(IReadOnlyList<ComparisonRow> rows) => rows is [{ Udmabuf: not null }, ..] ? Buffers : All;

    private static ulong Orphans(ComparisonRow row) =>
        row.OfPart("dmabuf.orphan_reads") + row.OfPart("dmabuf.orphan_writes") + row.OfPart("dmabuf.freed_reads") + row.OfPart("dmabuf.freed_writes");

    /// <summary>Flushing, sending, waiting and receiving.</summary>
    public static ulong OperationCycles(ComparisonRow row)
        => row.OfPart("cycles.flushes") + row.OfPart("cycles.ipi_sending") + row.OfPart("cycles.ipi_waiting") + row.OfPart("cycles.ipi_receiving");
}
