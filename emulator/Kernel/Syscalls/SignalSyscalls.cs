using Emulator.Hardware.Cpu;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>Signals (kernel/signal.c).</summary>
internal static unsafe class SignalSyscalls
{
    private const ulong SetSize = 8;

    internal static readonly SyscallDefinition[] Table =
    [
        new(13, "rt_sigaction", "signal,sigaction,out:sigaction,size", SigAction),
        new(14, "rt_sigprocmask", "sighow,sigset,out:sigset,size", SigProcMask),
        new(15, "rt_sigreturn", "", SigReturn),
        new(34, "pause", "", Pause),
        new(62, "kill", "int,signal", Kill),
        new(127, "rt_sigpending", "out:sigset,size", SigPending),
        new(128, "rt_sigtimedwait", "sigset,out:siginfo,timespec,size", SigTimedWait),
        new(129, "rt_sigqueueinfo", "int,signal,siginfo", SigQueueInfo),
        new(130, "rt_sigsuspend", "sigset,size", SigSuspend),
        new(131, "sigaltstack", "ptr,out:ptr", SigAltStack),
        new(200, "tkill", "int,signal", TKill),
        new(219, "restart_syscall", "", RestartSyscall),
        new(234, "tgkill", "int,int,signal", TgKill),
        new(297, "rt_tgsigqueueinfo", "int,int,signal,siginfo", TgSigQueueInfo),
    ];

    private static bool IsSignal(ulong number) => number is >= 1 and <= Signal.Count;

    private static long SigAction(Task t, in SyscallArgs a)
    {
        int signal = (int)a.A0;
        if (a.A3 != SetSize || signal is < 1 or > Signal.Count || (a.A1 != 0 && (Signal.Bit(signal) & Signal.Unblockable) != 0))
            return -Errno.EINVAL;
        SignalAction action = default;
        if (a.A1 != 0 && !t.TryRead(a.A1, out action))
            return -Errno.EFAULT;
        SignalAction old;
        Process process = t.Process;
        lock (process.SignalLock)
        {
            old = process.Actions[signal];
            if (a.A1 != 0)
            {
                process.Actions[signal] = action with { Flags = action.Flags & SignalAction.KnownFlags, Mask = action.Mask & ~Signal.Unblockable };
                // A signal whose action becomes "ignore" is forgotten, blocked or not (POSIX).
                if (process.Actions.Ignores(signal))
                    process.DiscardEverywhere(Signal.Bit(signal));
            }
        }
        return a.A2 == 0 || t.TryWrite(a.A2, old) ? 0 : -Errno.EFAULT;
    }

    private static long SigProcMask(Task t, in SyscallArgs a)
    {
        const int Block = 0, Unblock = 1, Set = 2;
        if (a.A3 != SetSize)
            return -Errno.EINVAL;
        ulong old = t.Blocked;
        if (a.A1 != 0)
        {
            if (!t.TryRead(a.A1, out ulong set))
                return -Errno.EFAULT;
            switch ((int)a.A0)
            {
                case Block: t.SetMask(old | set); break;
                case Unblock: t.SetMask(old & ~set); break;
                case Set: t.SetMask(set); break;
                default: return -Errno.EINVAL;
            }
        }
        return a.A2 == 0 || t.TryWrite(a.A2, old) ? 0 : -Errno.EFAULT;
    }

    private static long SigReturn(Task t, in SyscallArgs a)
    {
        t.KeepRegisters = true;
        t.RestartBlock = null;
        if (!SignalFrame.Pop(t))
            t.ForceSegmentationFault(0);
        return (long)t.Registers->Gpr[VcpuRegisters.Rax];
    }

    private static long Pause(Task t, in SyscallArgs a)
    {
        WaitForSignal(t);
        return -Errno.ERESTARTNOHAND;
    }

    /// <summary>Sleeps until a signal is to be taken.</summary>
    private static void WaitForSignal(Task t)
    {
        while (true)
        {
            t.PrepareToSleep();
            if (t.SignalPending)
                return;
            t.Sleep();
        }
    }

    private static long SigSuspend(Task t, in SyscallArgs a)
    {
        if (a.A1 != SetSize)
            return -Errno.EINVAL;
        if (!t.TryRead(a.A0, out ulong set))
            return -Errno.EFAULT;
        t.SetTemporaryMask(set);
        WaitForSignal(t);
        return -Errno.ERESTARTNOHAND;
    }

    private static long SigPending(Task t, in SyscallArgs a)
    {
        if (a.A1 > SetSize)
            return -Errno.EINVAL;
        // In bounds: no more than the set has.
        ulong set = (t.Pending.Mask | t.Process.Pending.Mask) & t.Blocked;
        return t.CopyToUser(a.A0, new ReadOnlySpan<byte>(&set, (int)a.A1)) ? 0 : -Errno.EFAULT;
    }

    private static long SigTimedWait(Task t, in SyscallArgs a)
    {
        if (a.A3 != SetSize)
            return -Errno.EINVAL;
        if (!t.TryRead(a.A0, out ulong set))
            return -Errno.EFAULT;
        long error = Timespec.ReadDeadline(t, a.A2, out long deadline);
        if (error != 0)
            return error;
        set &= ~Signal.Unblockable;
        SignalInfo? info = t.TakeSignal(set);
        if (info is null)
        {
            info = AwaitSignal(t, set, deadline, out bool timedOut);
            if (info is null)
                return timedOut ? -Errno.EAGAIN : -Errno.EINTR;
        }
        if (a.A1 != 0)
        {
            Span<byte> bytes = stackalloc byte[SignalInfo.Size];
            info.Encode(bytes);
            if (!t.CopyToUser(a.A1, bytes))
                return -Errno.EFAULT;
        }
        return info.Number;
    }

    private static SignalInfo? AwaitSignal(Task t, ulong set, long deadline, out bool timedOut)
    {
        timedOut = false;
        lock (t.Process.SignalLock)
            t.AwaitedSignals = set;
        try
        {
            while (true)
            {
                t.PrepareToSleep();
                if (t.TakeSignal(set) is { } info)
                    return info;
                if (t.SignalPending)
                    return null;
                if (deadline != Clock.Never && t.Machine.Clock.MonotonicNs >= deadline)
                {
                    timedOut = true;
                    return null;
                }
                t.Sleep(deadline);
            }
        }
        finally
        {
            lock (t.Process.SignalLock)
                t.AwaitedSignals = 0;
        }
    }

    private static SignalInfo FromSender(Task t, int signal, int code) => new(signal, code) { Pid = t.Process.Pid, Uid = (int)t.Credentials.Uid };

    private static long Kill(Task t, in SyscallArgs a)
    {
        int pid = (int)a.A0;
        int signal = (int)a.A1;
        if (signal is < 0 or > Signal.Count)
            return -Errno.EINVAL;
        ProcessTable table = t.Machine.Processes;
        if (pid > 0)
            return table.FindProcess(pid) is { } process ? SendToProcess(t, process, signal) : -Errno.ESRCH;
        if (pid == int.MinValue)
            return -Errno.ESRCH;
        Process[] targets = pid == -1
            ? [.. table.Snapshot().Where(p => p.Pid != ProcessTable.InitPid && p != t.Process)]
            : table.InGroup(pid == 0 ? t.Process.ProcessGroup : -pid);
        long result = -Errno.ESRCH;
        foreach (Process target in targets)
            if (SendToProcess(t, target, signal) == 0)
                result = 0;
        return result;
    }

    /// <summary>A signal as kill sends it; 0 only asks whether it may be sent.</summary>
    internal static long SendToProcess(Task t, Process target, int signal)
    {
        if (signal is < 0 or > Signal.Count)
            return -Errno.EINVAL;
        if (target == t.Machine.Init)
            return -Errno.EPERM;
        if (t.Machine.Processes.FindProcess(target.Pid) != target)
            return -Errno.ESRCH;
        return signal == 0 ? 0 : target.Send(FromSender(t, signal, SignalInfo.SI_USER));
    }

    private static long TKill(Task t, in SyscallArgs a) => (int)a.A0 <= 0 ? -Errno.EINVAL : SendToThread(t, 0, (int)a.A0, (int)a.A1);

    private static long TgKill(Task t, in SyscallArgs a) =>
        (int)a.A0 <= 0 || (int)a.A1 <= 0 ? -Errno.EINVAL : SendToThread(t, (int)a.A0, (int)a.A1, (int)a.A2);

    private static long SendToThread(Task t, int group, int tid, int signal, SignalInfo? info = null)
    {
        if (t.Machine.Processes.FindTask(tid) is not { } target || (group != 0 && target.Process.Pid != group))
            return -Errno.ESRCH;
        if (signal is < 0 or > Signal.Count)
            return -Errno.EINVAL;
        return signal == 0 ? 0 : target.Send(info ?? FromSender(t, signal, SignalInfo.SI_TKILL));
    }

    private static long SigQueueInfo(Task t, in SyscallArgs a)
    {
        long error = ReadInfo(t, a.A2, (int)a.A1, (int)a.A0, out SignalInfo? info);
        if (error != 0)
            return error;
        return t.Machine.Processes.FindProcess((int)a.A0) is { } process ? SendInfo(t, process, info) : -Errno.ESRCH;
    }

    /// <summary>A signal with the information that the program gives at <paramref name="infoAt"/>.</summary>
    internal static long QueueToProcess(Task t, Process target, int signal, ulong infoAt)
    {
        long error = ReadInfo(t, infoAt, signal, target.Pid, out SignalInfo? info);
        if (error != 0)
            return error;
        return t.Machine.Processes.FindProcess(target.Pid) == target ? SendInfo(t, target, info) : -Errno.ESRCH;
    }

    private static long SendInfo(Task t, Process target, SignalInfo? info) =>
        target == t.Machine.Init ? -Errno.EPERM : info is null ? 0 : target.Send(info);

    private static long TgSigQueueInfo(Task t, in SyscallArgs a)
    {
        if ((int)a.A0 <= 0 || (int)a.A1 <= 0)
            return -Errno.EINVAL;
        long error = ReadInfo(t, a.A3, (int)a.A2, (int)a.A0, out SignalInfo? info);
        return error != 0 ? error : SendToThread(t, (int)a.A0, (int)a.A1, (int)a.A2, info);
    }

    /// <summary>A program may not pretend to another one that the kernel or kill() sent its signal.</summary>
    private static long ReadInfo(Task t, ulong address, int signal, int pid, out SignalInfo? info)
    {
        info = null;
        Span<byte> bytes = stackalloc byte[SignalInfo.Size];
        if (!t.CopyFromUser(address, bytes))
            return -Errno.EFAULT;
        if (signal is < 0 or > Signal.Count)
            return -Errno.EINVAL;
        SignalInfo read = SignalInfo.FromUserBytes(Math.Max(signal, 1), bytes);
        if (read.Code is >= 0 or SignalInfo.SI_TKILL && pid != t.Process.Pid)
            return -Errno.EPERM;
        info = signal == 0 ? null : read;
        return 0;
    }

    private static long SigAltStack(Task t, in SyscallArgs a)
    {
        ulong rsp = t.Registers->Gpr[VcpuRegisters.Rsp];
        (ulong oldBase, ulong oldSize) = (t.AltStackBase, t.AltStackSize);
        int oldFlags = SignalFrame.StackState(t, rsp) | (t.AltStackFlags & SignalFrame.SS_AUTODISARM);
        if (a.A0 != 0)
        {
            if (!t.TryRead(a.A0, out ulong newBase) || !t.TryRead(a.A0 + 8, out int flags) || !t.TryRead(a.A0 + 16, out ulong size))
                return -Errno.EFAULT;
            long error = SignalFrame.SetAltStack(t, newBase, flags, size, rsp);
            if (error != 0)
                return error;
        }
        if (a.A1 != 0 && !(t.TryWrite(a.A1, oldBase) && t.TryWrite(a.A1 + 8, (long)(uint)oldFlags) && t.TryWrite(a.A1 + 16, oldSize)))
            return -Errno.EFAULT;
        return 0;
    }

    private static long RestartSyscall(Task t, in SyscallArgs a)
    {
        Func<Task, long>? restart = t.RestartBlock;
        t.RestartBlock = null;
        return restart is null ? -Errno.EINTR : restart(t);
    }
}
