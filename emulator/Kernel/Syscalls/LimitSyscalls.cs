using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>Resource limits and usage.</summary>
internal static class LimitSyscalls
{
    private const int RUSAGE_SELF = 0, RUSAGE_CHILDREN = -1, RUSAGE_THREAD = 1;
    private const long NsPerTick = Clock.Second / 100;

    internal static readonly SyscallDefinition[] Table =
    [
        new(97, "getrlimit", "rlimit,out:ptr", static (Task t, in SyscallArgs a) => Exchange(t, t.Process, a.A0, 0, a.A1, required: true)),
        new(160, "setrlimit", "rlimit,ptr", static (Task t, in SyscallArgs a) => a.A1 == 0 ? -Errno.EFAULT : Exchange(t, t.Process, a.A0, a.A1, 0)),
        new(302, "prlimit64", "int,rlimit,ptr,out:ptr", PrLimit),
        new(98, "getrusage", "int,out:ptr", GetUsage),
        new(100, "times", "out:ptr", Times),
    ];

    private static long PrLimit(Task t, in SyscallArgs a)
    {
        Process? target = (int)a.A0 == 0 ? t.Process : t.Machine.Processes.FindTask((int)a.A0)?.Process;
        return target is null ? -Errno.ESRCH : Exchange(t, target, a.A1, a.A2, a.A3);
    }

    private static long Exchange(Task t, Process target, ulong resource, ulong newAt, ulong oldAt, bool required = false)
    {
        if ((uint)resource >= ResourceLimits.Count)
            return -Errno.EINVAL;
        ResourceLimit wanted = default;
        if (newAt != 0 && !t.TryRead(newAt, out wanted))
            return -Errno.EFAULT;
        ResourceLimit old = target.Limits[(int)resource];
        if (newAt != 0)
        {
            if (wanted.Current > wanted.Maximum)
                return -Errno.EINVAL;
            if (wanted.Maximum > old.Maximum)
                return -Errno.EPERM;
            target.Limits[(int)resource] = wanted;
        }
        return (oldAt == 0 && !required) || t.TryWrite(oldAt, old) ? 0 : -Errno.EFAULT;
    }

    private static long GetUsage(Task t, in SyscallArgs a)
    {
        t.Scheduling.Times.Update();
        Process p = t.Process;
        TaskUsage usage;
        switch ((int)a.A0)
        {
            case RUSAGE_SELF:
                usage = p.Usage;
                break;
            case RUSAGE_CHILDREN:
                lock (t.Machine.Processes.Lock)
                    usage = p.ChildrenUsage;
                break;
            case RUSAGE_THREAD:
                // The resident set is the whole process's.
                usage = t.Usage with { PeakResidentPages = p.Usage.PeakResidentPages };
                break;
            default:
                return -Errno.EINVAL;
        }
        return t.TryWrite(a.A1, ResourceUsage.Of(usage)) ? 0 : -Errno.EFAULT;
    }

    private static long Times(Task t, in SyscallArgs a)
    {
        t.Scheduling.Times.Update();
        Process p = t.Process;
        TaskUsage own = p.Usage, children = p.ChildrenUsage;
        Span<long> times = [own.UserNs / NsPerTick, own.SystemNs / NsPerTick, children.UserNs / NsPerTick, children.SystemNs / NsPerTick];
        if (a.A0 != 0 && !t.CopyToUser(a.A0, System.Runtime.InteropServices.MemoryMarshal.AsBytes(times)))
            return -Errno.EFAULT;
        return t.Machine.Clock.MonotonicNs / NsPerTick;
    }
}
