using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>
/// flush_tlb_all, but from the end of announced changes and of gathers: everybody is flushed, and for some pages too late.
/// </summary>
/// <remarks>
/// Clean pages are freed after the end of the change, so that the flush comes in time. Dirty pages of files, pages beyond a full batch,
/// and page tables are freed before: they are flushed by force in between, which this policy ignores, or in a gather that has no announced end.
/// </remarks>
internal sealed class AfterFreePolicy : SharedFlushPolicy
{
    public override string Name => "after-free";

    public override bool IsSound => false;

    public override string Summary => "broken: flush everything, from invalidate_range_end";

    public override string Source => "nobody's as such; what a flush_tlb_all \"after you remove the PTE\" (Dave Hansen, 2 October 2024) becomes in a start/end notifier";

    public override string Price => "as flush-all";

    public override string Limits => "dirty pages, pages of a full batch and page tables are freed, and used again, before the flush";

    internal override void Flush(in SharedFlush flush)
    {
    }

    internal override void RangeEnd(Task? task, Mm host, in MmuNotifierRange range) => FlushLate(task, host, range.Start, range.End);

    internal override void Freed(Task? task, Mm host) => FlushLate(task, host, 0, TlbShootdown.FlushAll);

    private static void FlushLate(Task? task, Mm host, ulong start, ulong end)
    {
        // What is free by now may be used before the interrupts are on their way.
        task?.PreemptionPoint();
        var flush = new SharedFlush(host.Shootdown, task?.Vcpu, host, start, end, Hardware.Memory.Pfn.Shift, FreedTables: true);
        host.Shootdown.FlushEverythingFor(flush);
    }
}
