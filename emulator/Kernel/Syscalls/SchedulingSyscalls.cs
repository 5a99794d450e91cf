using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Scheduling;

namespace Emulator.Kernel.Syscalls;

/// <summary>sched_* and priorities. All tasks are scheduled alike; policies and nice values are kept and reported.</summary>
internal static class SchedulingSyscalls
{
    private const int SCHED_OTHER = 0, SCHED_FIFO = 1, SCHED_RR = 2, SCHED_BATCH = 3, SCHED_IDLE = 5, SCHED_RESET_ON_FORK = 0x40000000;
    private const int PRIO_PROCESS = 0, PRIO_PGRP = 1, PRIO_USER = 2;

    internal static readonly SyscallDefinition[] Table =
    [
        new(24, "sched_yield", "", Yield),
        new(140, "getpriority", "int,int", GetPriority),
        new(141, "setpriority", "int,int,int", SetPriority),
        new(142, "sched_setparam", "int,ptr", SetParam),
        new(143, "sched_getparam", "int,out:ptr", GetParam),
        new(144, "sched_setscheduler", "int,int,ptr", SetScheduler),
        new(145, "sched_getscheduler", "int", static (Task t, in SyscallArgs a) => (int)a.A0 < 0 ? -Errno.EINVAL : Find(t, a.A0)?.Scheduling.Policy ?? -Errno.ESRCH),
        new(146, "sched_get_priority_max", "int", static (Task _, in SyscallArgs a) => PriorityLimit((int)a.A0, 99)),
        new(147, "sched_get_priority_min", "int", static (Task _, in SyscallArgs a) => PriorityLimit((int)a.A0, 1)),
        new(148, "sched_rr_get_interval", "int,out:timespec", RoundRobinInterval),
        new(203, "sched_setaffinity", "int,size,ptr", SetAffinity),
        new(204, "sched_getaffinity", "int,size,out:ptr", GetAffinity),
        new(314, "sched_setattr", "int,ptr,uint", SetAttributes),
        new(315, "sched_getattr", "int,out:ptr,size,uint", GetAttributes),
        new(309, "getcpu", "out:ptr,out:ptr,ptr", GetCpu),
        new(251, "ioprio_set", "int,int,int", SetIoPriority),
        new(252, "ioprio_get", "int,int", GetIoPriority),
    ];

    private static Task? Find(Task t, ulong tid) => (int)tid == 0 ? t : t.Machine.Processes.FindTask((int)tid);

    private static long Yield(Task t, in SyscallArgs a)
    {
        t.Machine.Scheduler.Yield(t);
        return 0;
    }

    private static long PriorityLimit(int policy, int realtime) => policy switch
    {
        SCHED_FIFO or SCHED_RR => realtime,
        SCHED_OTHER or SCHED_BATCH or SCHED_IDLE or 6 => 0,
        _ => -Errno.EINVAL,
    };

    private static IEnumerable<Task> Targets(Task t, int which, int who)
    {
        switch (which)
        {
            case PRIO_PROCESS:
                return Find(t, (ulong)who) is { } task ? [task] : [];
            case PRIO_PGRP:
                return t.Machine.Processes.InGroup(who == 0 ? t.Process.ProcessGroup : who).SelectMany(ThreadsOf);
            default:
                return who == 0 || who == (int)t.Credentials.Uid ? t.Machine.Processes.Snapshot().SelectMany(ThreadsOf) : [];
        }
    }

    private static Task[] ThreadsOf(Process p)
    {
        lock (p.SignalLock)
            return [.. p.Threads];
    }

    private static long GetPriority(Task t, in SyscallArgs a)
    {
        if ((int)a.A0 is < PRIO_PROCESS or > PRIO_USER)
            return -Errno.EINVAL;
        long best = -Errno.ESRCH;
        foreach (Task target in Targets(t, (int)a.A0, (int)a.A1))
            best = Math.Max(best, 20 - target.Scheduling.Nice);
        return best;
    }

    private static long SetPriority(Task t, in SyscallArgs a)
    {
        if ((int)a.A0 is < PRIO_PROCESS or > PRIO_USER)
            return -Errno.EINVAL;
        int nice = Math.Clamp((int)a.A2, -20, 19);
        long result = -Errno.ESRCH;
        foreach (Task target in Targets(t, (int)a.A0, (int)a.A1))
        {
            // Lowering one's nice value takes a right, or RLIMIT_NICE.
            if (nice < target.Scheduling.Nice && 20 - nice > (long)target.Process.Limits[ResourceLimits.NICE].Current)
            {
                result = -Errno.EACCES;
                continue;
            }
            target.Scheduling.Nice = nice;
            if (result == -Errno.ESRCH)
                result = 0;
        }
        return result;
    }

    private const int IOPRIO_WHO_PROCESS = 1, IOPRIO_WHO_USER = 3;

    /// <summary>Classes of an I/O priority, above its 13 bits of level.</summary>
    private const int IOPRIO_CLASS_NONE = 0, IOPRIO_CLASS_RT = 1, IOPRIO_CLASS_BE = 2, IOPRIO_CLASS_IDLE = 3, IoClassShift = 13, IoLevels = 8;

    /// <summary>block/ioprio.c:ioprio_check_cap.</summary>
    private static long CheckIoPriority(int priority) => (priority >> IoClassShift, priority & (1 << IoClassShift) - 1) switch
    {
        (IOPRIO_CLASS_RT, _) => -Errno.EPERM,
        (IOPRIO_CLASS_BE, < IoLevels) or (IOPRIO_CLASS_IDLE, _) or (IOPRIO_CLASS_NONE, 0) => 0,
        _ => -Errno.EINVAL,
    };

    private static long SetIoPriority(Task t, in SyscallArgs a)
    {
        long error = CheckIoPriority((int)a.A2);
        if (error == 0 && (int)a.A0 is < IOPRIO_WHO_PROCESS or > IOPRIO_WHO_USER)
            error = -Errno.EINVAL;
        if (error != 0)
            return error;
        long result = -Errno.ESRCH;
        foreach (Task target in Targets(t, (int)a.A0 - IOPRIO_WHO_PROCESS, (int)a.A1))
        {
            target.Scheduling.IoPriority = (int)a.A2;
            result = 0;
        }
        return result;
    }

    /// <summary>The best among the tasks meant: the lowest number, where one that was never set counts as the middle of best effort (ioprio_best).</summary>
    private static long GetIoPriority(Task t, in SyscallArgs a)
    {
        if ((int)a.A0 is < IOPRIO_WHO_PROCESS or > IOPRIO_WHO_USER)
            return -Errno.EINVAL;
        long best = -Errno.ESRCH;
        foreach (Task target in Targets(t, (int)a.A0 - IOPRIO_WHO_PROCESS, (int)a.A1))
        {
            int own = target.Scheduling.IoPriority;
            if ((int)a.A0 == IOPRIO_WHO_PROCESS)
                return own;
            long effective = own == 0 ? IOPRIO_CLASS_BE << IoClassShift | IoLevels / 2 : own;
            best = best < 0 ? effective : Math.Min(best, effective);
        }
        return best;
    }

    private static long CheckPolicy(int policy, int priority) => (policy & ~SCHED_RESET_ON_FORK) switch
    {
        SCHED_OTHER or SCHED_BATCH or SCHED_IDLE => priority == 0 ? 0 : -Errno.EINVAL,
        SCHED_FIFO or SCHED_RR => priority is >= 1 and <= 99 ? -Errno.EPERM : -Errno.EINVAL,
        _ => -Errno.EINVAL,
    };

    private static long SetScheduler(Task t, in SyscallArgs a)
    {
        if ((int)a.A0 < 0 || (int)a.A1 < 0 || a.A2 == 0)
            return -Errno.EINVAL;
        if (!t.TryRead(a.A2, out int priority))
            return -Errno.EFAULT;
        if (Find(t, a.A0) is not { } target)
            return -Errno.ESRCH;
        long error = CheckPolicy((int)a.A1, priority);
        if (error == 0)
            target.Scheduling.Policy = (int)a.A1;
        return error;
    }

    private static long SetParam(Task t, in SyscallArgs a)
    {
        if ((int)a.A0 < 0 || a.A1 == 0)
            return -Errno.EINVAL;
        if (!t.TryRead(a.A1, out int priority))
            return -Errno.EFAULT;
        return Find(t, a.A0) is { } target ? CheckPolicy(target.Scheduling.Policy, priority) : -Errno.ESRCH;
    }

    private static long GetParam(Task t, in SyscallArgs a)
    {
        if ((int)a.A0 < 0 || a.A1 == 0)
            return -Errno.EINVAL;
        if (Find(t, a.A0) is null)
            return -Errno.ESRCH;
        return t.TryWrite(a.A1, 0) ? 0 : -Errno.EFAULT;
    }

    private static long RoundRobinInterval(Task t, in SyscallArgs a)
    {
        if ((int)a.A0 < 0)
            return -Errno.EINVAL;
        if (Find(t, a.A0) is null)
            return -Errno.ESRCH;
        return t.TryWrite(a.A1, Timespec.FromNs(4 * Clock.Millisecond)) ? 0 : -Errno.EFAULT;
    }

    private static long SetAffinity(Task t, in SyscallArgs a)
    {
        if (Find(t, a.A0) is not { } target)
            return -Errno.ESRCH;
        int vcpus = t.Machine.Options.Vcpus;
        CpuSet set = default;
        int bytes = (int)Math.Min(a.A1, CpuSet.Capacity / 8);
        // In bounds: as many bytes as a set has, of however many.
        Span<byte> raw = stackalloc byte[CpuSet.Capacity / 8];
        raw.Clear();
        if (!t.CopyFromUser(a.A2, raw[..bytes]))
            return -Errno.EFAULT;
        bool any = false;
        for (int w = 0; w < CpuSet.Capacity / 64; w++)
        {
            set[w] = System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(raw[(w * 8)..]) & Existing(vcpus, w);
            any |= set[w] != 0;
        }
        if (!any)
            return -Errno.EINVAL;
        target.Machine.Scheduler.SetAffinity(target, set);
        if (target == t)
            t.Machine.Scheduler.Yield(t);
        return 0;
    }

    private static ulong Existing(int vcpus, int word)
    {
        int left = vcpus - word * 64;
        return left >= 64 ? ulong.MaxValue : left <= 0 ? 0 : (1UL << left) - 1;
    }

    /// <summary>Returns the bytes written, a multiple of 8, as the raw system call does.</summary>
    private static long GetAffinity(Task t, in SyscallArgs a)
    {
        int vcpus = t.Machine.Options.Vcpus;
        if ((long)a.A1 * 8 < vcpus || (a.A1 & 7) != 0)
            return -Errno.EINVAL;
        if (Find(t, a.A0) is not { } target)
            return -Errno.ESRCH;
        int words = (int)Math.Min(a.A1 / 8, (ulong)(vcpus + 63) / 64);
        for (int w = 0; w < words; w++)
            if (!t.TryWrite(a.A2 + (ulong)w * 8, target.Scheduling.Affinity[w] & Existing(vcpus, w)))
                return -Errno.EFAULT;
        return words * 8;
    }

    /// <summary>struct sched_attr, first version: 48 bytes.</summary>
    private const int AttributesSize = 48;

    private static long SetAttributes(Task t, in SyscallArgs a)
    {
        if (a.A1 == 0 || (int)a.A0 < 0 || a.A2 != 0)
            return -Errno.EINVAL;
        if (!t.TryRead(a.A1, out uint size) || !t.TryRead(a.A1 + 4, out int policy) || !t.TryRead(a.A1 + 16, out int nice) || !t.TryRead(a.A1 + 20, out int priority))
            return -Errno.EFAULT;
        if (size is not 0 and < AttributesSize)
            return -Errno.E2BIG;
        if (Find(t, a.A0) is not { } target)
            return -Errno.ESRCH;
        long error = CheckPolicy(policy, priority);
        if (error != 0)
            return error;
        if (nice < target.Scheduling.Nice)
            return -Errno.EPERM;
        target.Scheduling.Policy = policy;
        target.Scheduling.Nice = Math.Min(nice, 19);
        return 0;
    }

    private static long GetAttributes(Task t, in SyscallArgs a)
    {
        if (a.A1 == 0 || (int)a.A0 < 0 || a.A2 < AttributesSize || a.A3 != 0)
            return -Errno.EINVAL;
        if (Find(t, a.A0) is not { } target)
            return -Errno.ESRCH;
        Span<byte> attributes = stackalloc byte[AttributesSize];
        attributes.Clear();
        System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(attributes, AttributesSize);
        System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(attributes[4..], target.Scheduling.Policy);
        System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(attributes[16..], target.Scheduling.Nice);
        return t.CopyToUser(a.A1, attributes) ? 0 : -Errno.EFAULT;
    }

    private static long GetCpu(Task t, in SyscallArgs a)
    {
        if (a.A0 != 0 && !t.TryWrite(a.A0, t.Vcpu!.Id))
            return -Errno.EFAULT;
        return a.A1 == 0 || t.TryWrite(a.A1, 0) ? 0 : -Errno.EFAULT;
    }
}
