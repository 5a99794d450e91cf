using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>
/// flush_tlb_all, but from the end of what it is for: frames and tables go back to the allocator first. Everybody is flushed, and too late.
/// </summary>
/// <remarks>
/// What is freed before its flush: pages that reclaim takes, all of a cluster; old copies of pages that were moved; page tables; pages beyond
/// a full gather, and those that are flushed by force, which this policy ignores. Until the interrupts are on their way whoever allocates
/// the frame shares it with the processors that have a translation.
/// <para>Not lost are pages of files that are unmapped or punched: the gather gives back its reference, but the page cache has its own until the
/// announced change is over, and with that the flush.</para>
/// </remarks>
internal sealed class AfterFreePolicy : SharedFlushPolicy
{
    /// <summary>How often others run meanwhile, if they run one at a time: one allocates the frame, another has the translation.</summary>
    private const int Delay = 4;

    public override string Name => "after-free";

    public override bool IsSound => false;

    public override string Summary => "broken: flush everything, after frames and tables are free";

    public override string Source => "nobody's as such; what a flush_tlb_all \"after you remove the PTE\" (Dave Hansen, 2 October 2024) becomes in a start/end notifier";

    public override string Price => "as flush-all";

    public override string Limits => "pages that are reclaimed or moved, pages of a full gather and page tables are used again before the flush";

    internal override bool ShouldDefer => true;

    internal override void Flush(in SharedFlush flush)
    {
    }

    internal override void RangeEnd(Task? task, Mm host, in MmuNotifierRange range)
    {
        // The change of a page that waits in a batch is over when the batch is.
        if (task is not { TlbBatch.FlushRequired: true })
            FlushLate(task, host, range.Start, range.End);
    }

    internal override void Freed(Task? task, Mm host) => FlushLate(task, host, 0, TlbShootdown.FlushAll);

    private static void FlushLate(Task? task, Mm host, ulong start, ulong end)
    {
        // What is free by now is used before the interrupts are on their way.
        for (int i = 0; i < Delay && task?.Vcpu is not null; i++)
            task.SpinOnce();
        var flush = new SharedFlush(host.Shootdown, task?.Vcpu, host, start, end, Hardware.Memory.Pfn.Shift, FreedTables: true);
        host.Shootdown.FlushEverythingFor(flush);
    }
}
