using Emulator.Hardware.Cpu;

namespace Emulator.Kernel.Tasks;

/// <summary>What happens to signals at the return to user mode (kernel/signal.c:get_signal, arch/x86/kernel/signal.c).</summary>
/// <remarks>In bounds: frames are written through the guest's page tables; nothing of them is trusted when they come back but by <see cref="SignalFrame"/>.</remarks>
internal static unsafe class SignalDelivery
{
    private const int RestartSyscallNumber = 219;
    private const int SyscallLength = 2;

    /// <summary>Acts on everything pending. Returns true when the task must exit.</summary>
    internal static bool Run(Task task)
    {
        while (true)
        {
            if (task.MustExit)
            {
                // SIGKILL is never delivered; a victim has this one chance to say where it was.
                if (task.Process.Oom.IsVictim)
                    task.Machine.ReportDeath(task, new SignalInfo(Signal.SIGKILL, SignalInfo.SI_KERNEL));
                return true;
            }
            if (task.Process.StopSignal != 0)
            {
                Stop(task);
                continue;
            }
            SignalInfo? info = task.TakeSignal(~task.Blocked);
            if (info is null)
                break;
            SignalAction action = TakeAction(task, info.Number);
            if (action.Handler == SignalAction.Ignore)
                continue;
            if (action.Handler != SignalAction.Default)
            {
                Handle(task, info, action);
                return task.MustExit;
            }
            if (Signal.IsIgnoredByDefault(info.Number))
                continue;
            if (Signal.StopsByDefault(info.Number))
            {
                if (info.Number == Signal.SIGSTOP || task.Machine.CanBeStopped(task.Process.ProcessGroup))
                {
                    lock (task.Process.SignalLock)
                        task.Process.BeginStop(info.Number);
                }
                continue;
            }
            Kill(task, info);
            return true;
        }
        RestartWithoutHandler(task);
        task.RestoreMask();
        return false;
    }

    private static SignalAction TakeAction(Task task, int signal)
    {
        lock (task.Process.SignalLock)
        {
            SignalAction action = task.Process.Actions[signal];
            if (action.Handler > SignalAction.Ignore && action.Has(SignalAction.SA_RESETHAND))
                task.Process.Actions[signal] = action with { Handler = SignalAction.Default };
            return action;
        }
    }

    private static void Kill(Task task, SignalInfo info)
    {
        bool core = Signal.DumpsCore(info.Number);
        task.Machine.ReportDeath(task, info);
        bool coreAllowed = core && task.Process.Limits[ResourceLimits.CORE].Current != 0;
        lock (task.Process.SignalLock)
            task.Process.BeginExit(info.Number | (coreAllowed ? WaitStatus.CoreFlag : 0));
    }

    private static void Handle(Task task, SignalInfo info, in SignalAction action)
    {
        VcpuRegisters* r = task.Registers;
        if (task.SyscallNumber >= 0)
        {
            switch (-(long)r->Gpr[VcpuRegisters.Rax])
            {
                case Errno.ERESTARTNOHAND or Errno.ERESTART_RESTARTBLOCK:
                case Errno.ERESTARTSYS when !action.Has(SignalAction.SA_RESTART):
                    r->Gpr[VcpuRegisters.Rax] = unchecked((ulong)-Errno.EINTR);
                    break;
                case Errno.ERESTARTSYS or Errno.ERESTARTNOINTR:
                    Restart(task, task.SyscallNumber);
                    break;
            }
            task.SyscallNumber = -1;
        }
        ulong savedMask = task.TakeMaskToRestore();
        if (!SignalFrame.Push(task, info, action, savedMask))
        {
            task.SetMask(savedMask);
            task.ForceSegmentationFault(info.Number);
            SignalInfo? fatal = task.TakeSignal(Signal.Bit(Signal.SIGSEGV));
            if (fatal is not null && task.Process.Actions[Signal.SIGSEGV].Handler <= SignalAction.Ignore)
                Kill(task, fatal);
            else if (fatal is not null)
                Handle(task, fatal, TakeAction(task, Signal.SIGSEGV));
            return;
        }
        ulong mask = task.Blocked | action.Mask;
        if (!action.Has(SignalAction.SA_NODEFER))
            mask |= Signal.Bit(info.Number);
        task.SetMask(mask);
    }

    /// <summary>No handler ran: an interrupted call begins again (arch/x86/kernel/signal.c:arch_do_signal_or_restart).</summary>
    private static void RestartWithoutHandler(Task task)
    {
        if (task.SyscallNumber < 0)
            return;
        switch (-(long)task.Registers->Gpr[VcpuRegisters.Rax])
        {
            case Errno.ERESTARTNOHAND or Errno.ERESTARTSYS or Errno.ERESTARTNOINTR:
                Restart(task, task.SyscallNumber);
                break;
            case Errno.ERESTART_RESTARTBLOCK:
                Restart(task, RestartSyscallNumber);
                break;
        }
        task.SyscallNumber = -1;
    }

    private static void Restart(Task task, long number)
    {
        task.Registers->Gpr[VcpuRegisters.Rax] = (ulong)number;
        task.Registers->Rip -= SyscallLength;
    }

    /// <summary>Waits in the stop until SIGCONT or death. The last thread to stop tells the parent.</summary>
    private static void Stop(Task task)
    {
        Process process = task.Process;
        int signal, resumptions;
        bool last;
        lock (process.SignalLock)
        {
            signal = process.StopSignal;
            if (signal == 0)
                return;
            resumptions = process.Resumptions;
            last = process.ThreadStopped();
        }
        if (last)
            process.NotifyParent(SignalInfo.CLD_STOPPED, signal);
        process.ContinueQueue.Wait(task, (task, resumptions), static s => s.task.Process.Resumptions != s.resumptions || s.task.MustExit, interruptible: false);
    }
}

/// <summary>The status word of wait4 (include/uapi/linux/wait.h).</summary>
internal static class WaitStatus
{
    public const int CoreFlag = 0x80;
    public const int Continued = 0xFFFF;

    public static int Exited(int code) => (code & 0xFF) << 8;

    public static int Stopped(int signal) => (signal << 8) | 0x7F;

    public static int Signal(int status) => status & 0x7F;

    public static int ExitCode(int status) => (status >> 8) & 0xFF;
}
