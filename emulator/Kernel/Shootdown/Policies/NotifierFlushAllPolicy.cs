namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>The ordinary flush of the host, whose arch_invalidate_secondary_tlbs callback calls flush_tlb_all.</summary>
/// <remarks>
/// The ordinary flush reaches nobody, for no vCPU ever has the host in its mask; then the callback flushes as <see cref="FlushAllPolicy"/> does,
/// and is as sound. Since every flush of an address space ends in that callback, no path can be forgotten. But the callback of a page whose flush
/// reclaim would put off comes when the page is unmapped, and the host's empty mask says that there is nothing to put off: reclaim
/// flushes all vCPUs once for every page.
/// </remarks>
internal sealed class NotifierFlushAllPolicy : SharedFlushPolicy
{
    public override string Name => "notifier-flush-all";

    public override string Summary => "flush everything on every vCPU in the host's arch_invalidate_secondary_tlbs";

    public override string Source => "Jann Horn, 14 October 2024, and Anthony Yznaga, 16 October 2024, same thread; the series of 2025 does this";

    public override string Price => "as flush-all, and for each page that is reclaimed, too";

    public override string Limits => "architectures without the callback are left out; reclaim of N pages is N flushes of everything";

    internal override void Flush(in SharedFlush flush)
    {
        flush.Shootdown.FlushCpus(flush.Self, flush.Host, flush.Start, flush.End, flush.StrideShift, flush.FreedTables);
        flush.Shootdown.FlushEverythingFor(flush);
    }
}
