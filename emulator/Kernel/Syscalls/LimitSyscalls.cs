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
        ResourceUsage usage;
        switch ((int)a.A0)
        {
            case RUSAGE_SELF:
                usage = ResourceUsage.Of(p.UserNs, p.SystemNs);
                break;
            case RUSAGE_CHILDREN:
                usage = ResourceUsage.Of(p.ChildrenUserNs, p.ChildrenSystemNs);
                break;
            case RUSAGE_THREAD:
                usage = ResourceUsage.Of(t.Scheduling.Times.UserNs, t.Scheduling.Times.SystemNs);
                break;
            default:
                return -Errno.EINVAL;
        }
        if ((int)a.A0 != RUSAGE_CHILDREN)
        {
            usage.Voluntary = t.Scheduling.VoluntarySwitches;
            usage.Involuntary = t.Scheduling.InvoluntarySwitches;
        }
        return t.TryWrite(a.A1, usage) ? 0 : -Errno.EFAULT;
    }

    private static long Times(Task t, in SyscallArgs a)
    {
        t.Scheduling.Times.Update();
        Process p = t.Process;
        Span<long> times = [p.UserNs / NsPerTick, p.SystemNs / NsPerTick, p.ChildrenUserNs / NsPerTick, p.ChildrenSystemNs / NsPerTick];
        if (a.A0 != 0 && !t.CopyToUser(a.A0, System.Runtime.InteropServices.MemoryMarshal.AsBytes(times)))
            return -Errno.EFAULT;
        return t.Machine.Clock.MonotonicNs / NsPerTick;
    }
}
