namespace Emulator.Kernel.Tasks.Scheduling;

/// <summary>A callback at a moment of the machine's monotonic clock. It runs on the event loop and must not block.</summary>
public sealed class KernelTimer(Machine machine, Action callback)
{
    internal Action Callback { get; } = callback;

    internal long Sequence;

    /// <summary>When it will fire, or <see cref="Clock.Never"/>.</summary>
    public long DeadlineNs { get; internal set; } = Clock.Never;

    /// <summary>Sets or moves the moment; <see cref="Clock.Never"/> disarms.</summary>
    public void Arm(long deadlineNs) => machine.Timers.Arm(this, deadlineNs);

    public void Cancel() => machine.Timers.Arm(this, Clock.Never);
}

/// <summary>The machine's timers, ordered by deadline and then by the order of arming, so that equal deadlines fire in a fixed order.</summary>
public sealed class TimerQueue(Machine machine)
{
    private readonly Lock _lock = new();
    private readonly SortedSet<KernelTimer> _armed = new(ByDeadline.Instance);
    private long _sequence;

    /// <summary>The earliest deadline, or <see cref="Clock.Never"/>.</summary>
    public long NextDeadline
    {
        get
        {
            lock (_lock)
                return _armed.Min?.DeadlineNs ?? Clock.Never;
        }
    }

    internal void Arm(KernelTimer timer, long deadlineNs)
    {
        bool earlier = false;
        lock (_lock)
        {
            if (timer.DeadlineNs != Clock.Never)
                _armed.Remove(timer);
            timer.DeadlineNs = deadlineNs;
            if (deadlineNs != Clock.Never)
            {
                timer.Sequence = ++_sequence;
                _armed.Add(timer);
                earlier = _armed.Min == timer;
            }
        }
        if (earlier)
            machine.HostPoller.Reconsider();
    }

    /// <summary>Runs what is due.</summary>
    internal void Fire()
    {
        while (true)
        {
            KernelTimer? due;
            lock (_lock)
            {
                due = _armed.Min;
                if (due is null || due.DeadlineNs > machine.Clock.MonotonicNs)
                    return;
                _armed.Remove(due);
                due.DeadlineNs = Clock.Never;
            }
            due.Callback();
        }
    }

    private sealed class ByDeadline : IComparer<KernelTimer>
    {
        public static readonly ByDeadline Instance = new();

        public int Compare(KernelTimer? x, KernelTimer? y)
        {
            int c = x!.DeadlineNs.CompareTo(y!.DeadlineNs);
            return c != 0 ? c : x.Sequence.CompareTo(y.Sequence);
        }
    }
}
