using System.Runtime.InteropServices;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Futexes;

namespace Emulator.Kernel.Syscalls;

/// <summary>futex (kernel/futex/syscalls.c).</summary>
internal static class FutexSyscalls
{
    private const int WAIT = 0, WAKE = 1, FD = 2, REQUEUE = 3, CMP_REQUEUE = 4, WAKE_OP = 5, LOCK_PI = 6, UNLOCK_PI = 7, TRYLOCK_PI = 8, WAIT_BITSET = 9,
        WAKE_BITSET = 10, WAIT_REQUEUE_PI = 11, CMP_REQUEUE_PI = 12, LOCK_PI2 = 13, PRIVATE = 128, CLOCK_REALTIME = 256;

    private const int FUTEX_WAITV_MAX = 128;

    internal static readonly SyscallDefinition[] Table =
    [
        new(202, "futex", "ptr,futexop,uint,timespec,ptr,hex", Futex),
        new(449, "futex_waitv", "ptr,uint,hex,timespec,clockid", WaitMultiple),
    ];

    private static long Futex(Task t, in SyscallArgs a)
    {
        int op = (int)a.A1;
        int command = op & ~(PRIVATE | CLOCK_REALTIME);
        bool shared = (op & PRIVATE) == 0;
        FutexTable futexes = t.Machine.Futexes;
        if ((op & CLOCK_REALTIME) != 0 && command is not (WAIT or WAIT_BITSET or WAIT_REQUEUE_PI or LOCK_PI2))
            return -Errno.ENOSYS;
        long deadline = Clock.Never;
        if (command is WAIT or WAIT_BITSET or WAIT_REQUEUE_PI or LOCK_PI or LOCK_PI2 && a.A3 != 0)
        {
            long error = ReadDeadline(t, a.A3, relative: command == WAIT, realtime: command == LOCK_PI || (op & CLOCK_REALTIME) != 0, out deadline);
            if (error != 0)
                return error;
        }
        uint value = (uint)a.A2;
        int value2 = (int)a.A3;
        switch (command)
        {
            case WAIT:
            case WAIT_BITSET:
                return Wait(t, a.A0, value, command == WAIT ? uint.MaxValue : (uint)a.A5, shared, deadline);
            case WAKE:
                return futexes.Wake(t, a.A0, (int)value, shared);
            case WAKE_BITSET:
                return futexes.Wake(t, a.A0, (int)value, shared, (uint)a.A5);
            case REQUEUE:
                return futexes.Requeue(t, a.A0, a.A4, (int)value, value2, null, shared);
            case CMP_REQUEUE:
                return futexes.Requeue(t, a.A0, a.A4, (int)value, value2, (uint)a.A5, shared);
            case WAKE_OP:
                return futexes.WakeOp(t, a.A0, a.A4, (int)value, value2, (uint)a.A5, shared);
            case LOCK_PI:
            case LOCK_PI2:
                return futexes.LockPi(t, a.A0, shared, deadline, tryOnly: false);
            case TRYLOCK_PI:
                return futexes.LockPi(t, a.A0, shared, Clock.Never, tryOnly: true);
            case UNLOCK_PI:
                return futexes.UnlockPi(t, a.A0, shared);
            case WAIT_REQUEUE_PI:
                return futexes.WaitRequeuePi(t, a.A0, value, a.A4, shared, deadline);
            case CMP_REQUEUE_PI:
                return futexes.RequeuePi(t, a.A0, a.A4, (int)value, value2, (uint)a.A5, shared);
            default:
                return -Errno.ENOSYS;
        }
    }

    /// <summary>An interrupted wait with a time-out is continued by restart_syscall, for its time-out counts from the first call.</summary>
    private static long Wait(Task t, ulong address, uint value, uint bitset, bool shared, long deadline)
    {
        long result = t.Machine.Futexes.Wait(t, address, value, bitset, shared, deadline);
        if (result != -Errno.ERESTARTSYS || deadline == Clock.Never)
            return result;
        t.RestartBlock = task => Wait(task, address, value, bitset, shared, deadline);
        return -Errno.ERESTART_RESTARTBLOCK;
    }

    private static long WaitMultiple(Task t, in SyscallArgs a)
    {
        (uint count, int clock) = ((uint)a.A1, (int)a.A4);
        if ((uint)a.A2 != 0 || count is 0 or > FUTEX_WAITV_MAX || a.A0 == 0)
            return -Errno.EINVAL;
        long deadline = Clock.Never;
        if (a.A3 != 0)
        {
            if (clock is not (TimeSyscalls.CLOCK_REALTIME or TimeSyscalls.CLOCK_MONOTONIC))
                return -Errno.EINVAL;
            long error = ReadDeadline(t, a.A3, relative: false, realtime: clock == TimeSyscalls.CLOCK_REALTIME, out deadline);
            if (error != 0)
                return error;
        }
        // In bounds: FUTEX_WAITV_MAX at most.
        var entries = new FutexWaitEntry[count];
        if (!t.CopyFromUser(a.A0, MemoryMarshal.AsBytes(entries.AsSpan())))
            return -Errno.EFAULT;
        return Array.TrueForAll(entries, static e => e.IsValid) ? t.Machine.Futexes.WaitMultiple(t, entries, deadline) : -Errno.EINVAL;
    }

    private static long ReadDeadline(Task t, ulong address, bool relative, bool realtime, out long deadline)
    {
        deadline = Clock.Never;
        if (!t.TryRead(address, out Timespec time))
            return -Errno.EFAULT;
        if (!time.IsValid)
            return -Errno.EINVAL;
        Clock clock = t.Machine.Clock;
        deadline = relative ? Deadline.After(clock.MonotonicNs, time.ToNs())
            : realtime && time.ToNs() != Clock.Never ? Math.Max(0, time.ToNs() - clock.RealtimeOffsetNs)
            : time.ToNs();
        return 0;
    }
}
