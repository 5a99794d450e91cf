using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>Interval timers and POSIX timers.</summary>
internal static class TimerSyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(36, "getitimer", "itimer,out:ptr", GetItimer),
        new(37, "alarm", "uint", Alarm),
        new(38, "setitimer", "itimer,ptr,out:ptr", SetItimer),
        new(222, "timer_create", "clockid,ptr,out:ptr", Create),
        new(223, "timer_settime", "int,int,ptr,out:ptr", SetTime),
        new(224, "timer_gettime", "int,out:ptr", GetTime),
        new(225, "timer_getoverrun", "int", GetOverrun),
        new(226, "timer_delete", "int", static (Task t, in SyscallArgs a) => t.Process.Timers.Delete((int)a.A0) ? 0 : -Errno.EINVAL),
    ];

    private readonly record struct IntervalTimeval(Timeval Interval, Timeval Value);

    private readonly record struct IntervalTimespec(Timespec Interval, Timespec Value);

    private static long GetItimer(Task t, in SyscallArgs a)
    {
        if (a.A0 > ProcessTimers.ITIMER_PROF)
            return -Errno.EINVAL;
        return WriteItimer(t, a.A1, t.Process.Timers.Get((int)a.A0)) ? 0 : -Errno.EFAULT;
    }

    private static bool WriteItimer(Task t, ulong address, (long Remaining, long Interval) timer) =>
        t.TryWrite(address, new IntervalTimeval(Timeval.FromNs(timer.Interval), Timeval.FromNsUp(timer.Remaining)));

    private static long SetItimer(Task t, in SyscallArgs a)
    {
        if (a.A0 > ProcessTimers.ITIMER_PROF)
            return -Errno.EINVAL;
        IntervalTimeval timer = default;
        if (a.A1 != 0 && !t.TryRead(a.A1, out timer))
            return -Errno.EFAULT;
        if (!timer.Interval.IsValid || !timer.Value.IsValid)
            return -Errno.EINVAL;
        ProcessTimers timers = t.Process.Timers;
        (long Remaining, long Interval) old = timers.Get((int)a.A0);
        timers.Set((int)a.A0, timer.Value.ToNs(), timer.Interval.ToNs());
        return a.A2 == 0 || WriteItimer(t, a.A2, old) ? 0 : -Errno.EFAULT;
    }

    private static long Alarm(Task t, in SyscallArgs a)
    {
        ProcessTimers timers = t.Process.Timers;
        long remaining = timers.Get(ProcessTimers.ITIMER_REAL).Remaining;
        timers.Set(ProcessTimers.ITIMER_REAL, (uint)a.A0 * Clock.Second, 0);
        // Rounded, but a running alarm never reads 0 (kernel/time/itimer.c:alarm_setitimer).
        long seconds = (remaining + Clock.Second / 2) / Clock.Second;
        return remaining > 0 && seconds == 0 ? 1 : seconds;
    }

    private static long Create(Task t, in SyscallArgs a)
    {
        int clock = (int)a.A0;
        (int signal, int notify, ulong? value, Task? thread) = (Signal.SIGALRM, PosixTimer.SIGEV_SIGNAL, (ulong?)null, (Task?)null);
        if (!TimeSyscalls.IsKnown(t, clock) || clock is TimeSyscalls.CLOCK_MONOTONIC_RAW)
            return -Errno.EINVAL;
        if (clock is TimeSyscalls.CLOCK_REALTIME_COARSE or TimeSyscalls.CLOCK_MONOTONIC_COARSE)
            return -Errno.EOPNOTSUPP;
        if (a.A1 != 0)
        {
            if (!t.TryRead(a.A1, out ulong sigval) || !t.TryRead(a.A1 + 8, out signal) || !t.TryRead(a.A1 + 12, out notify) || !t.TryRead(a.A1 + 16, out int tid))
                return -Errno.EFAULT;
            value = sigval;
            if (notify is not (PosixTimer.SIGEV_SIGNAL or PosixTimer.SIGEV_NONE or PosixTimer.SIGEV_THREAD_ID))
                return -Errno.EINVAL;
            if (notify != PosixTimer.SIGEV_NONE && signal is < 1 or > Signal.Count)
                return -Errno.EINVAL;
            if (notify == PosixTimer.SIGEV_THREAD_ID)
            {
                thread = t.Machine.Processes.FindTask(tid);
                if (thread is null || thread.Process != t.Process)
                    return -Errno.EINVAL;
            }
        }
        if (t.Process.Timers.Create(clock, notify, signal, value, thread) is not { } timer)
            return -Errno.EAGAIN;
        if (t.TryWrite(a.A2, timer.Id))
            return 0;
        t.Process.Timers.Delete(timer.Id);
        return -Errno.EFAULT;
    }

    private static bool WriteTimer(Task t, ulong address, long remaining, long interval) =>
        t.TryWrite(address, new IntervalTimespec(Timespec.FromNs(interval), Timespec.FromNs(remaining)));

    private static long SetTime(Task t, in SyscallArgs a)
    {
        if (!t.TryRead(a.A2, out IntervalTimespec timer))
            return a.A2 == 0 ? -Errno.EINVAL : -Errno.EFAULT;
        if (!timer.Interval.IsValid || !timer.Value.IsValid)
            return -Errno.EINVAL;
        if (t.Process.Timers.Find((int)a.A0) is not { } found)
            return -Errno.EINVAL;
        (long oldRemaining, long oldInterval) = (found.Remaining(), found.IntervalNs);
        long now = t.Machine.Clock.MonotonicNs;
        long value = timer.Value.ToNs();
        if (value == 0)
        {
            found.Cancel();
        }
        else
        {
            bool absolute = ((int)a.A1 & TimeSyscalls.TIMER_ABSTIME) != 0;
            long wait = absolute && value != Clock.Never ? value - TimeSyscalls.Read(t, found.ClockId)!.Value : value;
            found.Set(wait < 0 ? Math.Max(1, now + wait) : Deadline.After(now, wait), timer.Interval.ToNs());
        }
        return a.A3 == 0 || WriteTimer(t, a.A3, oldRemaining, oldInterval) ? 0 : -Errno.EFAULT;
    }

    private static long GetTime(Task t, in SyscallArgs a)
    {
        if (t.Process.Timers.Find((int)a.A0) is not { } timer)
            return -Errno.EINVAL;
        return WriteTimer(t, a.A1, timer.Remaining(), timer.IntervalNs) ? 0 : -Errno.EFAULT;
    }

    private static long GetOverrun(Task t, in SyscallArgs a) => t.Process.Timers.Find((int)a.A0)?.Overrun ?? -Errno.EINVAL;
}
