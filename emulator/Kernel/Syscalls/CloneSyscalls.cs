using Emulator.Hardware.Cpu;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>Making and ending tasks.</summary>
internal static unsafe class CloneSyscalls
{
    private const int CloneArgsSize0 = 64;
    private const ulong SignalMask = 0xFF;

    internal static readonly SyscallDefinition[] Table =
    [
        new(56, "clone", "cloneflags,ptr,ptr,ptr,hex", Clone),
        new(57, "fork", "", Fork),
        new(58, "vfork", "", Vfork),
        new(60, "exit", "int", Exit),
        new(231, "exit_group", "int", ExitGroup),
        new(435, "clone3", "ptr,size", Clone3),
        new(218, "set_tid_address", "ptr", SetTidAddress),
        new(273, "set_robust_list", "ptr,size", SetRobustList),
        new(274, "get_robust_list", "int,out:ptr,out:ptr", GetRobustList),
        new(272, "unshare", "cloneflags", Unshare),
        new(308, "setns", "fd,hex", static (Task _, in SyscallArgs _) => -Errno.EPERM),
    ];

    /// <summary>The third argument is where the child's number goes, or its descriptor; not both.</summary>
    private static long Clone(Task t, in SyscallArgs a) => (a.A0 & (CloneArguments.PIDFD | CloneArguments.PARENT_SETTID)) == (CloneArguments.PIDFD | CloneArguments.PARENT_SETTID)
        ? -Errno.EINVAL
        : t.Clone(new CloneArguments((uint)a.A0 & ~SignalMask)
        {
            ExitSignal = (int)(a.A0 & SignalMask),
            Stack = a.A1,
            ParentTid = a.A2,
            PidFd = a.A2,
            ChildTid = a.A3,
            Tls = a.A4,
        });

    private static long Fork(Task t, in SyscallArgs a) => t.Clone(new CloneArguments(0) { ExitSignal = Signal.SIGCHLD });

    private static long Vfork(Task t, in SyscallArgs a) =>
        t.Clone(new CloneArguments(CloneArguments.VFORK | CloneArguments.VM) { ExitSignal = Signal.SIGCHLD });

    private static long Clone3(Task t, in SyscallArgs a)
    {
        if (a.A1 < CloneArgsSize0)
            return -Errno.EINVAL;
        if (a.A1 > 4096)
            return -Errno.E2BIG;
        Span<ulong> words = stackalloc ulong[11];
        words.Clear();
        int known = (int)Math.Min(a.A1, (ulong)words.Length * 8);
        if (!t.CopyFromUser(a.A0, System.Runtime.InteropServices.MemoryMarshal.AsBytes(words)[..known]))
            return -Errno.EFAULT;
        for (ulong at = (ulong)known; at < a.A1; at++)
        {
            if (!t.TryRead(a.A0 + at, out byte beyond))
                return -Errno.EFAULT;
            if (beyond != 0)
                return -Errno.E2BIG;
        }
        (ulong flags, ulong childTid, ulong parentTid, ulong exitSignal) = (words[0], words[2], words[3], words[4]);
        (ulong stack, ulong stackSize, ulong tls, ulong setTid, ulong setTidSize) = (words[5], words[6], words[7], words[8], words[9]);
        if ((flags & (SignalMask | CloneArguments.DETACHED)) != 0 && (flags & (SignalMask | CloneArguments.DETACHED)) != CloneArguments.NEWTIME)
            return -Errno.EINVAL;
        if (exitSignal > Signal.Count || ((flags & (CloneArguments.THREAD | CloneArguments.PARENT)) != 0 && exitSignal != 0))
            return -Errno.EINVAL;
        if ((stack == 0) != (stackSize == 0))
            return -Errno.EINVAL;
        if ((flags & (CloneArguments.PIDFD | CloneArguments.PARENT_SETTID)) == (CloneArguments.PIDFD | CloneArguments.PARENT_SETTID) && words[1] == parentTid)
            return -Errno.EINVAL;
        if (setTid != 0 || setTidSize != 0)
            return setTid == 0 || setTidSize == 0 ? -Errno.EINVAL : -Errno.EPERM;
        return t.Clone(new CloneArguments(flags)
        {
            ExitSignal = (int)exitSignal,
            Stack = stack + stackSize,
            ParentTid = parentTid,
            PidFd = words[1],
            ChildTid = childTid,
            Tls = tls,
        });
    }

    private static long Exit(Task t, in SyscallArgs a)
    {
        t.ExitRequested = WaitStatus.Exited((int)a.A0);
        return 0;
    }

    private static long ExitGroup(Task t, in SyscallArgs a)
    {
        int status = WaitStatus.Exited((int)a.A0);
        lock (t.Process.SignalLock)
            t.Process.BeginExit(status);
        t.ExitRequested = status;
        return 0;
    }

    private static long SetTidAddress(Task t, in SyscallArgs a)
    {
        t.ClearChildTid = a.A0;
        return t.Tid;
    }

    private static long SetRobustList(Task t, in SyscallArgs a)
    {
        if (a.A1 != 24)
            return -Errno.EINVAL;
        t.RobustListHead = a.A0;
        return 0;
    }

    private static long GetRobustList(Task t, in SyscallArgs a)
    {
        Task? of = a.A0 == 0 ? t : t.Machine.Processes.FindTask((int)a.A0);
        if (of is null)
            return -Errno.ESRCH;
        return t.TryWrite(a.A2, 24UL) && t.TryWrite(a.A1, of.RobustListHead) ? 0 : -Errno.EFAULT;
    }

    /// <summary>What can be unshared without rights: descriptors, directories, System V undo lists.</summary>
    private static long Unshare(Task t, in SyscallArgs a)
    {
        const ulong Plain = CloneArguments.FS | CloneArguments.FILES | CloneArguments.SYSVSEM;
        if ((a.A0 & ~Plain) != 0)
            return (a.A0 & (CloneArguments.THREAD | CloneArguments.SIGHAND | CloneArguments.VM)) != 0 && t.Process.Threads.Count > 1 ? -Errno.EINVAL : -Errno.EPERM;
        if ((a.A0 & CloneArguments.FILES) != 0 && t.Files.IsShared)
        {
            Files.FdTable shared = t.Files;
            t.Files = shared.Clone();
            shared.Release(t);
        }
        if ((a.A0 & CloneArguments.FS) != 0)
            t.Fs = t.Fs.Clone();
        return 0;
    }
}
