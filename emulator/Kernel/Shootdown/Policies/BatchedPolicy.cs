using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>The form of arch_tlbbatch_flush: one interrupt to the union of masks, for whichever address space a target has loaded, with generations raised.</summary>
/// <remarks>
/// The interrupt flushes what is loaded if its generation has moved, and nothing otherwise; so it is the raise of each sharer's generation
/// before the mask is read that makes it right, on vCPUs that run a sharer as on those that come back to one. The order is that of
/// <see cref="UnionMaskPolicy"/>. arch_tlbbatch_flush leaves lazy vCPUs out; when tables are freed they are asked here, because a processor may walk what
/// CR3 names. Reclaim puts flushes off in the same way: what is raised page by page is paid by one interrupt, and whoever finds an
/// entry empty in between flushes the whole region first (flush_tlb_batched_pending), before it believes that nobody uses the page.
/// </remarks>
internal class BatchedPolicy : SharedFlushPolicy
{
    public override string Name => "batched";

    public override string Summary => "arch_tlbbatch_flush to the union of all sharers' masks, all their generations raised";

    public override string Source => "Anthony Yznaga, 3 October 2024, same thread: \"something like arch_tlbbatch_flush() which sets info->mm to NULL\"; the generations are what it lacked";

    public override string Price => "a generation and a mask for each sharer, one interrupt for each vCPU of the union, and always a full flush; reclaim pays the interrupts once a batch";

    public override string Limits => "one page costs each running sharer all its translations, its private ones, too";

    internal sealed override bool ShouldDefer => true;

    internal sealed override void Flush(in SharedFlush flush)
    {
        VcpuMask mask = default;
        AddToBatch(flush, ref mask);
        flush.Shootdown.FlushBatch(flush.Self, ref mask, flush.FreedTables, flush);
    }

    internal sealed override bool AddToBatch(in SharedFlush flush, ref VcpuMask cpus)
    {
        foreach (ref readonly Sharer sharer in flush.Sharers)
        {
            if (!sharer.TryTranslate(flush.Start, flush.End, out _, out _))
                continue;
            Raise(flush, sharer.Mm.Context);
            cpus.Add(sharer.Mm.Context.Cpus.Snapshot());
        }
        return false;
    }

    /// <summary>Makes the interrupt mean something to a vCPU that has the sharer loaded, or comes back to it.</summary>
    private protected virtual void Raise(in SharedFlush flush, MmContext sharer)
    {
        flush.Counts[ShootdownCounter.GenerationsRaised]++;
        sharer.RaiseGeneration();
    }
}
