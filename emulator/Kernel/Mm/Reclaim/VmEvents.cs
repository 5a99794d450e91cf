using System.Collections.Immutable;

namespace Emulator.Kernel.Memory;

/// <summary>Events that /proc/vmstat counts (include/linux/vm_event_item.h); <see cref="VmEvents"/> has their names.</summary>
public enum VmEvent
{
    PageFault,
    PageMajorFault,
    SwapIn,
    SwapOut,
    Activate,
    Deactivate,
    LazyFree,
    LazyFreed,
    ScanDirect,
    StealDirect,
    ScanKswapd,
    StealKswapd,
    AllocationStall,
    OomKill,
    MigrateSuccess,
    MigrateFail,
    ThpMigrationSuccess,
    ThpMigrationSplit,
    CompactStall,
    ThpFaultAllocate,
    ThpFaultFallback,
    ThpCollapseAllocate,
    ThpCollapseAllocateFailed,
    ThpSplitPage,
    ThpSplitPageFailed,
    ThpDeferredSplitPage,
    ThpSplitPmd,
    ThpSwapOutFallback,
    HugeTlbAllocateSuccess,
    HugeTlbAllocateFail,
    UnevictableCulled,
}

/// <summary>What one counter is called, and what it counts.</summary>
public readonly record struct VmEventInfo(VmEvent Event, string Name, string Help);

/// <summary>The counters of one machine. <see cref="All"/> is the one list that /proc/vmstat and the statistics are made from.</summary>
public sealed class VmEvents
{
    private readonly long[] _counts = new long[All.Length];

    /// <summary>In the order of <see cref="VmEvent"/>, with Linux's names.</summary>
    public static ImmutableArray<VmEventInfo> All { get; } =
    [
        new(VmEvent.PageFault, "pgfault", "page faults"),
        new(VmEvent.PageMajorFault, "pgmajfault", "page faults that read from swap or from a file"),
        new(VmEvent.SwapIn, "pswpin", "pages read from swap"),
        new(VmEvent.SwapOut, "pswpout", "pages written to swap"),
        new(VmEvent.Activate, "pgactivate", "pages that reclaim gave a second chance"),
        new(VmEvent.Deactivate, "pgdeactivate", "pages whose second chance was taken away"),
        new(VmEvent.LazyFree, "pglazyfree", "pages given to MADV_FREE"),
        new(VmEvent.LazyFreed, "pglazyfreed", "pages of MADV_FREE that reclaim dropped"),
        new(VmEvent.ScanDirect, "pgscan_direct", "pages looked at by allocations that found no memory"),
        new(VmEvent.StealDirect, "pgsteal_direct", "pages freed by allocations that found no memory"),
        new(VmEvent.ScanKswapd, "pgscan_kswapd", "pages looked at by reclaim ahead of need"),
        new(VmEvent.StealKswapd, "pgsteal_kswapd", "pages freed by reclaim ahead of need"),
        new(VmEvent.AllocationStall, "allocstall_normal", "allocations that had to reclaim"),
        new(VmEvent.OomKill, "oom_kill", "processes that the OOM killer killed"),
        new(VmEvent.MigrateSuccess, "pgmigrate_success", "pages migrated"),
        new(VmEvent.MigrateFail, "pgmigrate_fail", "pages that could not be migrated"),
        new(VmEvent.ThpMigrationSuccess, "thp_migration_success", "huge pages migrated as they were"),
        new(VmEvent.ThpMigrationSplit, "thp_migration_split", "huge pages split to be migrated"),
        new(VmEvent.CompactStall, "compact_stall", "requests to compact memory"),
        new(VmEvent.ThpFaultAllocate, "thp_fault_alloc", "faults served with a huge page"),
        new(VmEvent.ThpFaultFallback, "thp_fault_fallback", "faults that found no huge page"),
        new(VmEvent.ThpCollapseAllocate, "thp_collapse_alloc", "huge pages made by collapsing"),
        new(VmEvent.ThpCollapseAllocateFailed, "thp_collapse_alloc_failed", "collapses that found no huge page"),
        new(VmEvent.ThpSplitPage, "thp_split_page", "huge pages split into base pages"),
        new(VmEvent.ThpSplitPageFailed, "thp_split_page_failed", "huge pages that somebody held when they were to be split"),
        new(VmEvent.ThpDeferredSplitPage, "thp_deferred_split_page", "huge pages that lost some of their mappings"),
        new(VmEvent.ThpSplitPmd, "thp_split_pmd", "huge mappings split into base mappings"),
        new(VmEvent.ThpSwapOutFallback, "thp_swpout_fallback", "huge pages split in order to swap them"),
        new(VmEvent.HugeTlbAllocateSuccess, "htlb_buddy_alloc_success", "pages added to the hugetlb pool"),
        new(VmEvent.HugeTlbAllocateFail, "htlb_buddy_alloc_fail", "pages that could not be added to the hugetlb pool"),
        new(VmEvent.UnevictableCulled, "unevictable_pgs_culled", "locked pages that reclaim passed over"),
    ];

    public long this[VmEvent e] => Volatile.Read(ref _counts[(int)e]);

    internal void Count(VmEvent e) => Interlocked.Increment(ref _counts[(int)e]);

    internal void Count(VmEvent e, long n) => Interlocked.Add(ref _counts[(int)e], n);
}
