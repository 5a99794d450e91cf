namespace Emulator.Kernel.Checker;

/// <summary>Numbers the events that a checker notes, so that lines of a report can be put in order whatever noted them. Any thread.</summary>
internal sealed class EventClock
{
    private long _last;

    /// <summary>The number of the last event so far. What happens behind this look has a higher one.</summary>
    public long Now => Volatile.Read(ref _last);

    public long Next() => Interlocked.Increment(ref _last);
}
