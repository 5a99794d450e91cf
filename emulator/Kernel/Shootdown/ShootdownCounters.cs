using System.Collections.Immutable;

namespace Emulator.Kernel.Shootdown;

/// <summary>What shootdown counts for each vCPU: as initiator, as target, at its switches. The order is that of <see cref="ShootdownCounterList"/>.</summary>
public enum ShootdownCounter
{
    Requests,
    Widened,
    BatchedPages,
    BatchFlushes,
    IpisSent,
    SkippedLazy,
    SkippedNotLoaded,
    WaitCalls,
    WaitPageFlushes,
    WaitFullFlushes,
    IpisReceived,
    NothingNotLoaded,
    NothingLazy,
    NothingGeneration,
    Useless,
    PageFlushes,
    FullFlushes,
    EntriesLost,
    Collateral,
    SwitchFlushes,
    SwitchKept,
    MaskTrimmed,
    SharedRequests,
    GenerationsRaised,
    SlotsForgotten,
    Broadcasts,
    BroadcastWaits,
    LinksCut,
    GatherFull,
    GatherForced,
    Count,
}

/// <summary>The declaration of a counter, from which tables, JSON and documentation are made.</summary>
public readonly record struct ShootdownCounterInfo(ShootdownCounter Counter, string Name, string Unit, string Help);

/// <summary>The one list of shootdown's counters.</summary>
public static class ShootdownCounterList
{
    public static readonly ImmutableArray<ShootdownCounterInfo> All =
    [
        new(ShootdownCounter.Requests, "shootdown.requests", "requests", "flushes of an address space or a range of it (flush_tlb_mm_range)"),
        new(ShootdownCounter.Widened, "shootdown.widened", "requests", "ranges over the ceiling, flushed as the whole address space"),
        new(ShootdownCounter.BatchedPages, "shootdown.batched_pages", "pages", "pages whose flush reclaim put off"),
        new(ShootdownCounter.BatchFlushes, "shootdown.batch_flushes", "flushes", "flushes of all that reclaim had put off (arch_tlbbatch_flush)"),
        new(ShootdownCounter.IpisSent, "shootdown.ipis_sent", "interrupts", "interrupts sent for flushes, one for each target"),
        new(ShootdownCounter.SkippedLazy, "shootdown.skipped_lazy", "vCPUs", "vCPUs not interrupted because they are lazy"),
        new(ShootdownCounter.SkippedNotLoaded, "shootdown.skipped_not_loaded", "vCPUs", "vCPUs not interrupted because they have another address space loaded"),
        new(ShootdownCounter.WaitCalls, "shootdown.wait_calls", "flushes", "flushes that had to wait for other vCPUs"),
        new(ShootdownCounter.WaitPageFlushes, "shootdown.wait_page_flushes", "flushes", "page flushes of the slowest target beyond the initiator's own, summed over those waits"),
        new(ShootdownCounter.WaitFullFlushes, "shootdown.wait_full_flushes", "flushes", "waits whose slowest target flushed everything"),
        new(ShootdownCounter.IpisReceived, "shootdown.ipis_received", "interrupts", "interrupts received for flushes"),
        new(ShootdownCounter.NothingNotLoaded, "shootdown.nothing_not_loaded", "interrupts", "received interrupts that did nothing: another address space is loaded"),
        new(ShootdownCounter.NothingLazy, "shootdown.nothing_lazy", "interrupts", "received interrupts that flushed nothing: the vCPU was lazy and left the address space"),
        new(ShootdownCounter.NothingGeneration, "shootdown.nothing_generation", "interrupts", "received interrupts that did nothing: the generation was already reached"),
        new(ShootdownCounter.Useless, "shootdown.useless", "interrupts", "received interrupts that took away no translation the request named, whatever else they did"),
        new(ShootdownCounter.PageFlushes, "shootdown.page_flushes", "flushes", "single pages flushed (INVLPG)"),
        new(ShootdownCounter.FullFlushes, "shootdown.full_flushes", "flushes", "full flushes of an address space on one vCPU"),
        new(ShootdownCounter.EntriesLost, "shootdown.entries_lost", "entries", "translations that flushes took away, each counted once for both levels"),
        new(ShootdownCounter.Collateral, "shootdown.collateral", "entries", "translations lost in full flushes though the request's range did not name them"),
        new(ShootdownCounter.SwitchFlushes, "shootdown.switch_flushes", "flushes", "switches that flushed: no slot with the address space, or one that is behind"),
        new(ShootdownCounter.SwitchKept, "shootdown.switch_kept", "switches", "switches that kept the entries of their slot"),
        new(ShootdownCounter.MaskTrimmed, "shootdown.mask_trimmed", "vCPUs", "vCPUs taken out of an address space's mask because an interrupt found another one loaded"),
        new(ShootdownCounter.SharedRequests, "shared.requests", "requests", "flushes of shared page tables, which the policy of --flush carries out"),
        new(ShootdownCounter.GenerationsRaised, "shared.generations_raised", "generations", "generations raised so that vCPUs which switched away from a sharer flush when they come back"),
        new(ShootdownCounter.SlotsForgotten, "shared.slots_forgotten", "slots", "PCID slots of sharers that a vCPU kept, and gave up in an interrupt"),
        new(ShootdownCounter.Broadcasts, "shared.broadcasts", "instructions", "invalidations broadcast by hardware (INVLPGB)"),
        new(ShootdownCounter.BroadcastWaits, "shared.broadcast_waits", "instructions", "waits until all vCPUs had carried out broadcasts (TLBSYNC)"),
        new(ShootdownCounter.LinksCut, "shared.links_cut", "links", "links of sharers taken away for the time of a change"),
        new(ShootdownCounter.GatherFull, "gather.full", "gathers", "unmappings that had collected as many pages as fit, and flushed before their end"),
        new(ShootdownCounter.GatherForced, "gather.forced", "flushes", "flushes of unmappings under the page-table lock: for a dirty page of a file, or because no more fit"),
    ];
}
