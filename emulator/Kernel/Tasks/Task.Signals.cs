using Emulator.Hardware.Cpu;

namespace Emulator.Kernel.Tasks;

/// <summary>Signals of one task.</summary>
public sealed unsafe partial class Task
{
    private ulong _blocked;
    private ulong? _maskToRestore;

    /// <summary>Signals sent to this very thread.</summary>
    public PendingSignals Pending { get; }

    /// <summary>The signal mask. Set through <see cref="SetMask"/>.</summary>
    public ulong Blocked => Volatile.Read(ref _blocked);

    /// <summary>Signals that sigtimedwait waits for: they count as not blocked for the choice of a thread.</summary>
    internal ulong AwaitedSignals { get; set; }

    /// <summary>The alternate signal stack, and its SS_ flags.</summary>
    internal ulong AltStackBase { get; set; }

    internal ulong AltStackSize { get; set; }

    internal int AltStackFlags { get; set; } = SignalFrame.SS_DISABLE;

    /// <summary>What the frame of the next handler tells of the last exception.</summary>
    internal int LastVector { get; set; }

    internal uint LastErrorCode { get; set; }

    internal ulong LastFaultAddress { get; set; }

    internal bool IsExiting { get; set; }

    /// <summary>This thread must die at its next return to user mode.</summary>
    public bool MustExit => Process.IsExiting || (Process.Execing is { } execing && execing != this);

    /// <summary>An unblocked signal waits for this task, or it has been told to stop or to die: interruptible sleeps end.</summary>
    public bool SignalPending =>
        !IsExiting && (((Pending.Mask | Process.Pending.Mask) & ~Blocked) != 0 || MustExit || Process.StopSignal != 0);

    /// <summary>Told to die: sleeps that only a fatal signal may end look at this.</summary>
    public bool FatalSignalPending => !IsExiting && MustExit;

    /// <summary>Changes the mask; signals that become unblocked are taken at the return to user mode.</summary>
    public void SetMask(ulong mask)
    {
        lock (Process.SignalLock)
            Volatile.Write(ref _blocked, mask & ~Signal.Unblockable);
    }

    /// <summary>A mask for the length of a system call (sigsuspend, ppoll, epoll_pwait): the old one comes back when it ends, or when the handler returns.</summary>
    public void SetTemporaryMask(ulong mask)
    {
        _maskToRestore = Blocked;
        SetMask(mask);
    }

    /// <summary>The mask that a handler's frame saves: the one in force before a temporary one.</summary>
    internal ulong TakeMaskToRestore()
    {
        ulong mask = _maskToRestore ?? Blocked;
        _maskToRestore = null;
        return mask;
    }

    internal void RestoreMask()
    {
        if (_maskToRestore is { } mask)
        {
            _maskToRestore = null;
            SetMask(mask);
        }
    }

    /// <summary>Sends a signal to this very thread.</summary>
    /// <returns>0, or -EAGAIN when the queue of real-time signals is full.</returns>
    public long Send(SignalInfo info)
    {
        bool resumed = false;
        Process process = Process;
        lock (process.SignalLock)
        {
            if (IsExiting || !process.Prepare(info, ref resumed) || process.Ignored(info.Number, this))
                goto sent;
            if (info.Number >= Signal.SIGRTMIN && !Pending.CanQueue(process.Limits[ResourceLimits.SIGPENDING].Current))
                return -Errno.EAGAIN;
            Pending.Add(info);
            if (info.Number == Signal.SIGKILL)
                process.BeginExit(Signal.SIGKILL);
            else if (((Blocked & ~AwaitedSignals) & Signal.Bit(info.Number)) == 0)
                SignalWakeUp();
        }
    sent:
        process.SignalArrived.WakeAll();
        if (resumed)
            process.NotifyParent(SignalInfo.CLD_CONTINUED, Signal.SIGCONT);
        return 0;
    }

    /// <summary>A signal that cannot be refused: blocked or ignored, it gets the default action (kernel/signal.c:force_sig_info_to_task).</summary>
    internal void Force(SignalInfo info)
    {
        Process process = Process;
        lock (process.SignalLock)
        {
            ulong bit = Signal.Bit(info.Number);
            SignalAction action = process.Actions[info.Number];
            if ((Blocked & bit) != 0 || action.Handler == SignalAction.Ignore)
                process.Actions[info.Number] = action with { Handler = SignalAction.Default };
            Volatile.Write(ref _blocked, _blocked & ~bit);
            Pending.Add(info);
        }
    }

    /// <summary>A forced SIGSEGV: the frame of a handler could not be written or read.</summary>
    internal void ForceSegmentationFault(int signal)
    {
        if (signal == Signal.SIGSEGV)
        {
            lock (Process.SignalLock)
                Process.Actions[Signal.SIGSEGV] = default;
        }
        Force(new SignalInfo(Signal.SIGSEGV, SignalInfo.SI_KERNEL));
    }

    /// <summary>Brings the task to look at its signals: out of an interruptible sleep, or out of guest code.</summary>
    internal void SignalWakeUp()
    {
        Machine.Scheduler.Wake(this);
        Machine.Scheduler.Kick(this);
    }

    /// <summary>Takes one signal that is in <paramref name="allowed"/>: this thread's own first, then the process's.</summary>
    internal SignalInfo? TakeSignal(ulong allowed)
    {
        SignalInfo? info;
        lock (Process.SignalLock)
            info = Pending.Take(allowed) ?? Process.Pending.Take(allowed);
        return info?.Timer is { } timer ? timer.Delivered(info) : info;
    }
}
