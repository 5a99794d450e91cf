using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Emulator.Hardware.Memory;

/// <summary>What a vCPU's memory and interrupt hardware counts. The order is the layout of <see cref="CounterValues"/>.</summary>
public enum Counter
{
    Fetches,
    FrontMisses,
    Level1Misses,
    Level2Misses,
    Walks,
    WalkReferences,
    UpgradeWalks,
    PageFaults,
    AccessedSet,
    DirtySet,
    StructureCacheHitsPde,
    StructureCacheHitsPdpte,
    StructureCacheHitsPml4e,
    Level1Evictions,
    Level2Evictions,
    FlushPage,
    FlushPageOfPcid,
    FlushContext,
    FlushAllNonGlobal,
    FlushAll,
    FlushLoadCr3,
    LoadCr3NoFlush,
    CrossingAccesses,
    CodeFramesMarked,
    CodeRevocations,
    CodeInvalidations,
    IpisSent,
    IpisAcknowledged,
    IpisReceived,
    IpisServedIdle,
    Count,
}

/// <summary>The declaration of a counter, from which tables, JSON and documentation are made.</summary>
public readonly record struct CounterInfo(Counter Counter, string Name, string Unit, string Help);

/// <summary>The one list of the hardware's counters, in the order of <see cref="Counter"/>.</summary>
public static class CounterList
{
    public static readonly ImmutableArray<CounterInfo> All =
    [
        new(Counter.Fetches, "tlb.fetches", "look-ups", "instruction fetches that asked the TLB (a block's first run from a page; not each instruction)"),
        new(Counter.FrontMisses, "tlb.front_misses", "look-ups", "look-ups that the fast front did not answer (no architectural meaning)"),
        new(Counter.Level1Misses, "tlb.l1_misses", "look-ups", "look-ups that found no entry in the first level"),
        new(Counter.Level2Misses, "tlb.l2_misses", "look-ups", "look-ups that found no entry in the second level either"),
        new(Counter.Walks, "tlb.walks", "walks", "page walks, for misses and for upgrades"),
        new(Counter.WalkReferences, "tlb.walk_references", "reads", "paging-structure entries read by walks"),
        new(Counter.UpgradeWalks, "tlb.upgrade_walks", "walks", "walks for an entry that did not allow the access: first store to a clean page, or a change of rights"),
        new(Counter.PageFaults, "tlb.page_faults", "faults", "page faults raised by walks"),
        new(Counter.AccessedSet, "tlb.accessed_set", "entries", "accessed flags set by walks"),
        new(Counter.DirtySet, "tlb.dirty_set", "entries", "dirty flags set by walks"),
        new(Counter.StructureCacheHitsPde, "psc.pde_hits", "walks", "walks that started at the page table"),
        new(Counter.StructureCacheHitsPdpte, "psc.pdpte_hits", "walks", "walks that started at the page directory"),
        new(Counter.StructureCacheHitsPml4e, "psc.pml4e_hits", "walks", "walks that started at the page-directory-pointer table"),
        new(Counter.Level1Evictions, "tlb.l1_evictions", "entries", "first-level entries displaced by fills"),
        new(Counter.Level2Evictions, "tlb.l2_evictions", "entries", "second-level entries displaced by fills"),
        new(Counter.FlushPage, "flush.page", "flushes", "INVLPG"),
        new(Counter.FlushPageOfPcid, "flush.page_of_pcid", "flushes", "INVPCID type 0: one address of one PCID"),
        new(Counter.FlushContext, "flush.context", "flushes", "INVPCID type 1: one PCID"),
        new(Counter.FlushAllNonGlobal, "flush.all_non_global", "flushes", "INVPCID type 3: all PCIDs, global entries stay"),
        new(Counter.FlushAll, "flush.all", "flushes", "INVPCID type 2: everything"),
        new(Counter.FlushLoadCr3, "flush.load_cr3", "flushes", "MOV to CR3 that flushes its PCID"),
        new(Counter.LoadCr3NoFlush, "cr3.no_flush", "loads", "MOV to CR3 with bit 63 set: keeps the entries of its PCID"),
        new(Counter.CrossingAccesses, "memory.page_crossings", "accesses", "accesses that crossed a page boundary"),
        new(Counter.CodeFramesMarked, "code.frames_marked", "frames", "frames from which code began to be decoded"),
        new(Counter.CodeRevocations, "code.revocations", "broadcasts", "markings that had to revoke write permission in all vCPUs"),
        new(Counter.CodeInvalidations, "code.invalidations", "frames", "frames whose decoded code a write dropped"),
        new(Counter.IpisSent, "ipi.sent", "interrupts", "inter-processor interrupts sent, one for each target"),
        new(Counter.IpisAcknowledged, "ipi.acknowledged", "interrupts", "sent interrupts whose acknowledgement arrived"),
        new(Counter.IpisReceived, "ipi.received", "interrupts", "interrupts served by the running vCPU"),
        new(Counter.IpisServedIdle, "ipi.served_idle", "interrupts", "interrupts served by their sender, because the vCPU was not running"),
    ];
}

/// <summary>A vCPU's counters. Written by whoever holds the vCPU; a sum read while it runs may lag.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct CounterValues
{
    private fixed ulong _values[(int)Counter.Count];

    // In bounds: the enumeration's own values, constants of the callers.
    public ref ulong this[Counter counter]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref Unsafe.AsRef<ulong>(Unsafe.Add<ulong>(Unsafe.AsPointer(ref _values[0]), (int)counter));
    }
}
