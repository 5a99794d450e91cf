namespace Emulator.Kernel.Tasks;

/// <summary>Signals to a whole process, and its stopping, continuing and dying as one.</summary>
public sealed partial class Process
{
    private volatile int _groupExitStatus = -1;

    /// <summary>Guards the signals and the list of threads of this process. Taken after <see cref="ProcessTable.Lock"/>; a leaf otherwise.</summary>
    public Lock SignalLock { get; } = new();

    public SignalActions Actions { get; internal set; } = new();

    /// <summary>Signals sent to the process, for any of its threads.</summary>
    public PendingSignals Pending { get; }

    /// <summary>Parents that wait for children, and signalfd and others who want to hear of a change of state.</summary>
    public WaitQueue ChildEvents { get; } = new();

    /// <summary>Woken at each new signal: signalfd and sigtimedwait listen.</summary>
    public WaitQueue SignalArrived { get; } = new();

    internal WaitQueue ContinueQueue { get; } = new();

    /// <summary>All threads are told to die: exit_group or a fatal signal.</summary>
    public bool IsExiting => _groupExitStatus >= 0;

    /// <summary>The thread that carries out execve; the others must die.</summary>
    internal Task? Execing { get; set; }

    /// <summary>The signal by which the process is stopped or is stopping; 0 when it runs.</summary>
    public int StopSignal { get; private set; }

    /// <summary>Every thread has stopped.</summary>
    public bool IsStopped { get; private set; }

    /// <summary>The stop, or the continuation, has not been collected by wait4.</summary>
    internal bool StopUnreported { get; set; }

    internal bool ContinueUnreported { get; set; }

    internal int StoppedThreads { get; private set; }

    /// <summary>Counts the ends of stops, so that a thread that sleeps through one sees that the next one is another.</summary>
    internal int Resumptions { get; private set; }

    /// <summary>Sends a signal to the process: any of its threads that does not block it takes it.</summary>
    /// <returns>0, or -EAGAIN when the queue of real-time signals is full.</returns>
    public long Send(SignalInfo info)
    {
        bool resumed = false;
        lock (SignalLock)
        {
            if (!Prepare(info, ref resumed) || Ignored(info.Number, null))
                goto sent;
            if (info.Number >= Signal.SIGRTMIN && info.Code != SignalInfo.SI_KERNEL && !Pending.CanQueue(Limits[ResourceLimits.SIGPENDING].Current))
                return -Errno.EAGAIN;
            Pending.Add(info);
            if (info.Number == Signal.SIGKILL)
                BeginExit(Signal.SIGKILL);
            else
                ChooseThread(info.Number)?.SignalWakeUp();
        }
    sent:
        SignalArrived.WakeAll();
        if (resumed)
            NotifyParent(SignalInfo.CLD_CONTINUED, Signal.SIGCONT);
        return 0;
    }

    /// <summary>The effects that a signal has on being sent, blocked or not (kernel/signal.c:prepare_signal). False: it is not to be queued.</summary>
    internal bool Prepare(SignalInfo info, ref bool resumed)
    {
        if (IsExiting || IsZombie)
            return info.Number == Signal.SIGKILL && !IsZombie;
        if ((Signal.StopSignals & Signal.Bit(info.Number)) != 0)
        {
            DiscardEverywhere(Signal.Bit(Signal.SIGCONT));
        }
        else if (info.Number == Signal.SIGCONT)
        {
            DiscardEverywhere(Signal.StopSignals);
            resumed = StopSignal != 0;
            Resume();
        }
        return true;
    }

    /// <summary>Ends the process's stop, if it is stopped.</summary>
    private void Resume()
    {
        if (StopSignal == 0)
            return;
        if (IsStopped)
        {
            ContinueUnreported = true;
            StopUnreported = false;
        }
        StopSignal = 0;
        IsStopped = false;
        StoppedThreads = 0;
        Resumptions++;
        ContinueQueue.WakeAll();
    }

    internal void DiscardEverywhere(ulong signals)
    {
        Pending.Discard(signals);
        foreach (Task thread in Threads)
            thread.Pending.Discard(signals);
    }

    /// <summary>Whether the signal would be dropped; a blocked one is kept, for its action may change (kernel/signal.c:sig_ignored).</summary>
    internal bool Ignored(int signal, Task? thread)
    {
        if (!Actions.Ignores(signal))
            return false;
        if (thread is not null)
            return (thread.Blocked & Signal.Bit(signal)) == 0;
        foreach (Task t in Threads)
            if ((t.Blocked & Signal.Bit(signal)) != 0 || (t.AwaitedSignals & Signal.Bit(signal)) != 0)
                return false;
        return true;
    }

    private Task? ChooseThread(int signal)
    {
        foreach (Task t in Threads)
            if (((t.Blocked & ~t.AwaitedSignals) & Signal.Bit(signal)) == 0 && !t.IsExiting)
                return t;
        return null;
    }

    /// <summary>Tells every thread to die. The first status given is the one that counts. Called with the signal lock held.</summary>
    internal void BeginExit(int waitStatus)
    {
        if (IsExiting)
            return;
        _groupExitStatus = waitStatus;
        StopSignal = 0;
        IsStopped = false;
        ContinueQueue.WakeAll();
        foreach (Task t in Threads)
            t.SignalWakeUp();
    }

    internal int GroupExitStatus => _groupExitStatus;

    /// <summary>Begins a stop of all threads; each stops at its next return to user mode. Called with the signal lock held.</summary>
    internal void BeginStop(int signal)
    {
        if (StopSignal != 0 || IsExiting)
            return;
        StopSignal = signal;
        StoppedThreads = 0;
        foreach (Task t in Threads)
            t.SignalWakeUp();
    }

    /// <summary>A thread has come to its stop. True: it was the last one. Called with the signal lock held.</summary>
    internal bool ThreadStopped()
    {
        StoppedThreads++;
        return CompleteStop();
    }

    /// <summary>Called with the signal lock held, also when a thread that was still to stop exits instead.</summary>
    internal bool CompleteStop()
    {
        if (StopSignal == 0 || IsStopped || StoppedThreads < Threads.Count)
            return false;
        IsStopped = true;
        StopUnreported = true;
        ContinueUnreported = false;
        return true;
    }

    /// <summary>SIGCHLD to the parent and a wake-up of its waits (kernel/signal.c:do_notify_parent_cldstop).</summary>
    internal void NotifyParent(int code, int status)
    {
        if (code == SignalInfo.CLD_STOPPED && this == Machine.Main)
            Machine.WhenStopped?.Invoke();
        Process? parent;
        lock (Machine.Processes.Lock)
            parent = Parent;
        if (parent is null)
            return;
        SignalAction action = parent.Actions[Signal.SIGCHLD];
        bool wanted = action.Handler != SignalAction.Ignore
            && !(code is SignalInfo.CLD_STOPPED or SignalInfo.CLD_CONTINUED && action.Has(SignalAction.SA_NOCLDSTOP));
        if (wanted)
            parent.Send(new SignalInfo(Signal.SIGCHLD, code) { Pid = Pid, Uid = (int)Credentials.UserId, Status = status });
        parent.ChildEvents.WakeAll();
    }
}
