using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>Clocks and sleeping (kernel/time/posix-timers.c, hrtimer.c).</summary>
internal static class TimeSyscalls
{
    internal const int CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1, CLOCK_PROCESS_CPUTIME_ID = 2, CLOCK_THREAD_CPUTIME_ID = 3, CLOCK_MONOTONIC_RAW = 4,
        CLOCK_REALTIME_COARSE = 5, CLOCK_MONOTONIC_COARSE = 6, CLOCK_BOOTTIME = 7, CLOCK_REALTIME_ALARM = 8, CLOCK_BOOTTIME_ALARM = 9, CLOCK_TAI = 11;

    internal const int TIMER_ABSTIME = 1;
    private const long CoarseResolutionNs = 4 * Clock.Millisecond;

    internal static readonly SyscallDefinition[] Table =
    [
        new(35, "nanosleep", "timespec,out:timespec", Nanosleep),
        new(96, "gettimeofday", "out:timeval,out:ptr", GetTimeOfDay),
        new(164, "settimeofday", "timeval,ptr", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(201, "time", "out:ptr", Time),
        new(227, "clock_settime", "clockid,timespec", static (Task t, in SyscallArgs a) => IsKnown(t, (int)a.A0) ? -Errno.EPERM : -Errno.EINVAL),
        new(228, "clock_gettime", "clockid,out:timespec", ClockGetTime),
        new(229, "clock_getres", "clockid,out:timespec", ClockGetRes),
        new(230, "clock_nanosleep", "clockid,int,timespec,out:timespec", ClockNanosleep),
    ];

    internal static bool IsKnown(Task t, int clock) => Read(t, clock) is not null;

    /// <summary>A clock's time in ns, or null if there is no such clock.</summary>
    internal static long? Read(Task t, int clock)
    {
        Clock time = t.Machine.Clock;
        switch (clock)
        {
            case CLOCK_REALTIME or CLOCK_REALTIME_COARSE or CLOCK_REALTIME_ALARM or CLOCK_TAI:
                return time.RealtimeNs;
            case CLOCK_MONOTONIC or CLOCK_MONOTONIC_RAW or CLOCK_MONOTONIC_COARSE or CLOCK_BOOTTIME or CLOCK_BOOTTIME_ALARM:
                return time.MonotonicNs;
            case CLOCK_PROCESS_CPUTIME_ID:
                t.Scheduling.Times.Update();
                return t.Process.UserNs + t.Process.SystemNs;
            case CLOCK_THREAD_CPUTIME_ID:
                t.Scheduling.Times.Update();
                return t.Scheduling.Times.UserNs + t.Scheduling.Times.SystemNs;
            case < 0:
                return ReadCpuClock(t, clock);
            default:
                return null;
        }
    }

    /// <summary>Clocks of clock_getcpuclockid: the number holds the complement of a pid, and in its low bits what to measure.</summary>
    private static long? ReadCpuClock(Task t, int clock)
    {
        const int PerThread = 4, KindMask = 3, Fd = 3;
        int id = ~(clock >> 3);
        if ((clock & KindMask) == Fd)
            return null;
        if ((clock & PerThread) != 0)
        {
            Task? thread = id == 0 ? t : t.Machine.Processes.FindTask(id);
            return thread is null || thread.Process != t.Process ? null : thread.Scheduling.Times.UserNs + thread.Scheduling.Times.SystemNs;
        }
        Process? process = id == 0 ? t.Process : t.Machine.Processes.FindProcess(id);
        return process is null ? null : process.UserNs + process.SystemNs;
    }

    private static long ClockGetTime(Task t, in SyscallArgs a)
    {
        if (Read(t, (int)a.A0) is not { } ns)
            return -Errno.EINVAL;
        return t.TryWrite(a.A1, Timespec.FromNs(ns)) ? 0 : -Errno.EFAULT;
    }

    private static long ClockGetRes(Task t, in SyscallArgs a)
    {
        int clock = (int)a.A0;
        if (!IsKnown(t, clock))
            return -Errno.EINVAL;
        long resolution = clock is CLOCK_REALTIME_COARSE or CLOCK_MONOTONIC_COARSE ? CoarseResolutionNs : 1;
        return a.A1 == 0 || t.TryWrite(a.A1, Timespec.FromNs(resolution)) ? 0 : -Errno.EFAULT;
    }

    private static long GetTimeOfDay(Task t, in SyscallArgs a)
    {
        if (a.A0 != 0 && !t.TryWrite(a.A0, Timeval.FromNs(t.Machine.Clock.RealtimeNs)))
            return -Errno.EFAULT;
        return a.A1 == 0 || t.TryWrite(a.A1, 0L) ? 0 : -Errno.EFAULT;
    }

    private static long Time(Task t, in SyscallArgs a)
    {
        long seconds = t.Machine.Clock.RealtimeNs / Clock.Second;
        return a.A0 == 0 || t.TryWrite(a.A0, seconds) ? seconds : -Errno.EFAULT;
    }

    private static long Nanosleep(Task t, in SyscallArgs a)
    {
        if (!t.TryRead(a.A0, out Timespec time))
            return -Errno.EFAULT;
        if (!time.IsValid)
            return -Errno.EINVAL;
        return Sleep(t, Deadline.After(t.Machine.Clock.MonotonicNs, time.ToNs()), a.A1);
    }

    private static long ClockNanosleep(Task t, in SyscallArgs a)
    {
        int clock = (int)a.A0;
        bool absolute = ((int)a.A1 & TIMER_ABSTIME) != 0;
        if (Read(t, clock) is not { } now)
            return -Errno.EINVAL;
        if (clock is CLOCK_THREAD_CPUTIME_ID)
            return -Errno.EINVAL;
        if (clock is CLOCK_MONOTONIC_RAW or CLOCK_REALTIME_COARSE or CLOCK_MONOTONIC_COARSE)
            return -Errno.EOPNOTSUPP;
        if (!t.TryRead(a.A2, out Timespec time))
            return -Errno.EFAULT;
        if (!time.IsValid)
            return -Errno.EINVAL;
        long monotonic = t.Machine.Clock.MonotonicNs;
        long wait = absolute ? time.ToNs() == Clock.Never ? Clock.Never : Math.Max(0, time.ToNs() - now) : time.ToNs();
        long deadline = Deadline.After(monotonic, wait);
        if (!absolute)
            return Sleep(t, deadline, a.A3);
        return SleepUntil(t, deadline) ? 0 : -Errno.ERESTARTNOHAND;
    }

    /// <summary>False: a signal came first.</summary>
    private static bool SleepUntil(Task t, long deadline)
    {
        while (true)
        {
            t.PrepareToSleep();
            if (t.Machine.Clock.MonotonicNs >= deadline)
                return true;
            if (t.SignalPending)
                return false;
            t.Sleep(deadline);
        }
    }

    /// <summary>A relative sleep: restarted by restart_syscall with the deadline it began with, or EINTR with the rest written out.</summary>
    private static long Sleep(Task t, long deadline, ulong remainingAt)
    {
        if (SleepUntil(t, deadline))
            return 0;
        long rest = Math.Max(0, deadline - t.Machine.Clock.MonotonicNs);
        if (rest == 0)
            return 0;
        if (remainingAt != 0 && !t.TryWrite(remainingAt, Timespec.FromNs(rest)))
            return -Errno.EFAULT;
        t.RestartBlock = task => Sleep(task, deadline, remainingAt);
        return -Errno.ERESTART_RESTARTBLOCK;
    }
}
