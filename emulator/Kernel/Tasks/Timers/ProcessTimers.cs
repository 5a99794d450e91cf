using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks.Scheduling;

namespace Emulator.Kernel.Tasks;

/// <summary>The interval timers and POSIX timers of a process. fork does not inherit them, execve keeps the interval timers.</summary>
public sealed class ProcessTimers
{
    public const int ITIMER_REAL = 0, ITIMER_VIRTUAL = 1, ITIMER_PROF = 2;

    /// <summary>Periods are not honoured below this: each costs the event loop a turn.</summary>
    private const long ShortestPeriodNs = 50_000;

    private const long CpuCheckNs = 4 * Clock.Millisecond;

    private readonly Process _process;
    private readonly Lock _lock = new();
    private readonly KernelTimer _real;
    private readonly KernelTimer _cpuCheck;
    private readonly SortedDictionary<int, PosixTimer> _posix = [];
    private long _realInterval;
    private CpuTimer _virtual, _prof;
    private int _nextId;

    internal ProcessTimers(Process process)
    {
        _process = process;
        _real = new KernelTimer(process.Machine, RealExpired);
        _cpuCheck = new KernelTimer(process.Machine, CheckCpuTimers);
    }

    /// <summary>A timer on processor time: when it expires (on that clock), and its period.</summary>
    private struct CpuTimer
    {
        public long Expiry;
        public long Interval;
    }

    private KernelMemory Memory => _process.Machine.KernelMemory;

    private Clock Time => _process.Machine.Clock;

    /// <summary>Remaining time and period of an interval timer, ns.</summary>
    internal (long Remaining, long Interval) Get(int which)
    {
        lock (_lock)
        {
            if (which == ITIMER_REAL)
                return (_real.DeadlineNs == Clock.Never ? 0 : Math.Max(1, _real.DeadlineNs - Time.MonotonicNs), _realInterval);
            CpuTimer t = which == ITIMER_VIRTUAL ? _virtual : _prof;
            return (t.Expiry == 0 ? 0 : Math.Max(1, t.Expiry - CpuTime(which)), t.Interval);
        }
    }

    internal void Set(int which, long valueNs, long intervalNs)
    {
        lock (_lock)
        {
            if (which == ITIMER_REAL)
            {
                _realInterval = intervalNs;
                _real.Arm(valueNs == 0 ? Clock.Never : Deadline.After(Time.MonotonicNs, valueNs));
                return;
            }
            var timer = new CpuTimer { Expiry = valueNs == 0 ? 0 : Deadline.After(CpuTime(which), valueNs), Interval = intervalNs };
            if (which == ITIMER_VIRTUAL)
                _virtual = timer;
            else
                _prof = timer;
            _cpuCheck.Arm(_virtual.Expiry == 0 && _prof.Expiry == 0 ? Clock.Never : Time.MonotonicNs + CpuCheckNs);
        }
    }

    /// <returns>Null: there are too many.</returns>
    internal PosixTimer? Create(int clock, int notify, int signal, ulong? value, Task? thread)
    {
        if (!Memory.TryCharge(KernelMemory.Timer))
            return null;
        lock (_lock)
        {
            int id = _nextId++;
            var timer = new PosixTimer(_process, id, clock, notify, signal, value ?? (ulong)id, thread);
            _posix.Add(id, timer);
            return timer;
        }
    }

    internal PosixTimer? Find(int id)
    {
        lock (_lock)
            return _posix.GetValueOrDefault(id);
    }

    internal bool Delete(int id)
    {
        PosixTimer? timer;
        lock (_lock)
        {
            if (!_posix.Remove(id, out timer))
                return false;
        }
        Memory.Uncharge(KernelMemory.Timer);
        timer.Cancel();
        return true;
    }

    /// <summary>execve deletes POSIX timers.</summary>
    internal void DeletePosixTimers()
    {
        PosixTimer[] all;
        lock (_lock)
        {
            all = [.. _posix.Values];
            _posix.Clear();
        }
        Memory.Uncharge(all.Length * KernelMemory.Timer);
        foreach (PosixTimer timer in all)
            timer.Cancel();
    }

    internal void CancelAll()
    {
        DeletePosixTimers();
        _real.Cancel();
        _cpuCheck.Cancel();
    }

    private long CpuTime(int which) => which == ITIMER_VIRTUAL ? _process.UserNs : _process.UserNs + _process.SystemNs;

    private void RealExpired()
    {
        _process.Send(new SignalInfo(Signal.SIGALRM, SignalInfo.SI_KERNEL));
        lock (_lock)
        {
            if (_realInterval != 0 && _real.DeadlineNs == Clock.Never)
                _real.Arm(Deadline.After(Time.MonotonicNs, Math.Max(_realInterval, ShortestPeriodNs)));
        }
    }

    /// <summary>Looks at the processor-time timers once in a while; running threads are brought into the kernel to account for themselves.</summary>
    private void CheckCpuTimers()
    {
        Check(ref _virtual, ITIMER_VIRTUAL, Signal.SIGVTALRM);
        Check(ref _prof, ITIMER_PROF, Signal.SIGPROF);
        lock (_process.SignalLock)
        {
            foreach (Task t in _process.Threads)
                _process.Machine.Scheduler.Kick(t);
        }
        lock (_lock)
        {
            if ((_virtual.Expiry != 0 || _prof.Expiry != 0) && !_process.IsZombie)
                _cpuCheck.Arm(Time.MonotonicNs + CpuCheckNs);
        }
    }

    private void Check(ref CpuTimer timer, int which, int signal)
    {
        long now = CpuTime(which);
        lock (_lock)
        {
            if (timer.Expiry == 0 || timer.Expiry > now)
                return;
            timer.Expiry = timer.Interval == 0 ? 0 : Deadline.After(now, timer.Interval);
        }
        _process.Send(new SignalInfo(signal, SignalInfo.SI_KERNEL));
    }
}

/// <summary>Sums of times that saturate instead of wrapping.</summary>
internal static class Deadline
{
    public static long After(long now, long ns) => ns > Clock.Never - now ? Clock.Never : now + ns;
}
