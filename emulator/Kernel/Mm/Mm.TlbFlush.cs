using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>Flushes that reclaim has put off, and those who must not overlook them (mm/rmap.c).</summary>
public sealed partial class Mm
{
    private const int FlushedShift = 16, PendingMask = (1 << (FlushedShift - 1)) - 1, PendingLarge = PendingMask / 2;

    /// <summary>tlb_flush_batched: below, flushes put off so far; above, how many of them a later flush has covered.</summary>
    private int _tlbFlushBatched;

    /// <summary>Counts a flush that was put off (set_tlb_ubc_flush_pending). Under the page-table lock.</summary>
    internal void CountBatchedFlush()
    {
        while (true)
        {
            int batch = Volatile.Read(ref _tlbFlushBatched);
            // Starting anew forgets what is flushed: pending and flushed differ then, and the next who asks flushes once too often.
            int next = (batch & PendingMask) > PendingLarge ? 1 : batch + 1;
            if (Interlocked.CompareExchange(ref _tlbFlushBatched, next, batch) == batch)
                return;
        }
    }

    /// <summary>
    /// Flushes what reclaim cleared in this address space and has not flushed yet (flush_tlb_batched_pending): whoever finds an entry empty
    /// under the page-table lock would otherwise believe that no processor uses it any more.
    /// </summary>
    internal void FlushTlbBatchedPending(Task? task)
    {
        int batch = Volatile.Read(ref _tlbFlushBatched), pending = batch & PendingMask;
        if (pending == batch >> FlushedShift)
            return;
        Shootdown.FlushMm(task?.Vcpu, this);
        Interlocked.CompareExchange(ref _tlbFlushBatched, pending | pending << FlushedShift, batch);
    }
}
