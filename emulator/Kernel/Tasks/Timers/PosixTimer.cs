using Emulator.Kernel.Tasks.Scheduling;

namespace Emulator.Kernel.Tasks;

/// <summary>
/// A timer of timer_create (kernel/time/posix-timers.c). Between its signal's sending and its taking a periodic timer is not armed; the
/// periods missed meanwhile become the overrun, so that no period, however short, can drown the machine.
/// </summary>
internal sealed class PosixTimer
{
    internal const int SIGEV_SIGNAL = 0, SIGEV_NONE = 1, SIGEV_THREAD_ID = 4;
    private const int OverrunMaximum = int.MaxValue;

    private readonly Process _process;
    private readonly Task? _thread;
    private readonly KernelTimer _timer;
    private readonly Lock _lock = new();
    private long _expiry = Clock.Never;
    private bool _queued;

    internal PosixTimer(Process process, int id, int clock, int notify, int signal, ulong value, Task? thread)
    {
        (_process, Id, ClockId, Notify, SignalNumber, Value, _thread) = (process, id, clock, notify, signal, value, thread);
        _timer = new KernelTimer(process.Machine, Expire);
    }

    public int Id { get; }
    public int ClockId { get; }
    public int Notify { get; }
    public int SignalNumber { get; }
    public ulong Value { get; }
    public long IntervalNs { get; private set; }

    /// <summary>Expirations merged into the signal taken last.</summary>
    public int Overrun { get; private set; }

    private Clock Time => _process.Machine.Clock;

    /// <summary>Time until the next expiry, 0 when disarmed.</summary>
    public long Remaining()
    {
        lock (_lock)
        {
            if (_expiry == Clock.Never)
                return 0;
            long now = Time.MonotonicNs;
            if (_expiry > now)
                return _expiry - now;
            // A periodic timer whose signal waits, or that signals nobody, is as if it had been armed again each time.
            return IntervalNs == 0 ? (Notify == SIGEV_NONE ? 0 : 1) : IntervalNs - (now - _expiry) % IntervalNs;
        }
    }

    public void Set(long expiryNs, long intervalNs)
    {
        lock (_lock)
        {
            IntervalNs = intervalNs;
            _expiry = expiryNs;
            _queued = false;
            Overrun = 0;
        }
        _timer.Arm(Notify == SIGEV_NONE ? Clock.Never : expiryNs);
    }

    public void Cancel() => Set(Clock.Never, 0);

    private void Expire()
    {
        lock (_lock)
        {
            if (_expiry == Clock.Never || _queued)
                return;
            _queued = true;
        }
        var info = new SignalInfo(SignalNumber, SignalInfo.SI_TIMER) { TimerId = Id, Value = Value, Timer = this };
        bool ignored;
        lock (_process.SignalLock)
            ignored = _process.Ignored(SignalNumber, _thread);
        if (ignored)
        {
            _ = Rearm(Clock.Millisecond);
            return;
        }
        _ = _thread is not null && !_thread.IsExiting ? _thread.Send(info) : _process.Send(info);
    }

    /// <summary>The signal has been taken: counts the overrun and arms the next period.</summary>
    internal SignalInfo Delivered(SignalInfo info)
    {
        Overrun = Rearm(0);
        return info with { Overrun = Overrun, Timer = null };
    }

    private int Rearm(long atLeastNs)
    {
        long next;
        long missed = 0;
        lock (_lock)
        {
            _queued = false;
            if (_expiry == Clock.Never)
                return 0;
            if (IntervalNs == 0)
            {
                _expiry = Clock.Never;
                return 0;
            }
            long now = Time.MonotonicNs + atLeastNs;
            missed = Math.Max(0, (now - _expiry) / IntervalNs);
            next = _expiry = Deadline.After(_expiry + missed * IntervalNs, IntervalNs);
        }
        _timer.Arm(next);
        return (int)Math.Min(missed, OverrunMaximum);
    }
}
