using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Checker;

/// <summary>The latest flushes that were asked for and their completion, for the whole machine. Kept only while somebody checks.</summary>
/// <remarks>
/// "Done" is what the caller of a flush may rely on: flush_tlb_mm_range has returned, notifiers included, or the batch that a page was added to has
/// been paid. Linux's own liberties are therefore none of its business: until a batch is paid the page has no completed flush, and who raises
/// rights flushes nothing. A flush that fell out of the log is not held against anybody.
/// </remarks>
internal sealed class FlushLog(EventClock clock)
{
    private const int Kept = 8192;

    private readonly Lock _lock = new();
    private readonly FlushRecord?[] _records = new FlushRecord[Kept];
    private long _count;
    private long _completions;

    /// <summary>Flushes declared done so far: as long as it stays the same, nothing becomes stale.</summary>
    public long Completions => Volatile.Read(ref _completions);

    /// <summary>A flush begins. The entries have changed already; nobody has been asked yet.</summary>
    /// <param name="deferred">See <see cref="FlushRecord"/>; all of the address space is flushed for it then.</param>
    public FlushRecord Begin(Task? task, int vcpu, Mm mm, string policy, ulong start, ulong end, int shift, ulong? deferred = null)
    {
        var record = new FlushRecord(clock.Next(), task, vcpu, mm, policy, start, end, shift, deferred);
        lock (_lock)
            _records[_count++ % Kept] = record;
        return record;
    }

    public void Complete(FlushRecord record)
    {
        record.Complete(clock.Next());
        Interlocked.Increment(ref _completions);
    }

    /// <summary>The flushes that cover an address and began after an event, oldest first.</summary>
    public List<FlushRecord> Since(long number, ulong context, ulong address, int shift)
    {
        var found = new List<FlushRecord>();
        lock (_lock)
        {
            for (long i = _count - 1; i >= 0 && i >= _count - Kept; i--)
            {
                FlushRecord record = _records[i % Kept]!;
                // Records are entered after they are numbered, so their order is nearly that of the numbers.
                if (record.Number + Kept < number)
                    break;
                if (record.Number > number && record.Covers(context, address, shift))
                    found.Add(record);
            }
        }
        found.Reverse();
        return found;
    }
}
