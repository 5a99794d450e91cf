namespace Emulator.Kernel.Tasks;

/// <summary>How a task ends (kernel/exit.c:do_exit).</summary>
public sealed unsafe partial class Task
{
    /// <summary>Where set_tid_address wants a zero and a futex wake-up at this thread's end.</summary>
    internal ulong ClearChildTid { get; set; }

    internal ulong RobustListHead { get; set; }

    /// <summary>The parent that sleeps in vfork until this task has its own address space or is gone.</summary>
    internal VforkCompletion? Vfork { get; set; }

    private void Exit(int waitStatus)
    {
        Process process = Process;
        lock (process.SignalLock)
            IsExiting = true;
        ReleaseMm();
        Files.Release(this);
        bool last, stopComplete;
        int stopSignal;
        lock (process.SignalLock)
        {
            process.Threads.Remove(this);
            Pending.Discard(ulong.MaxValue);
            process.ExitedUsage += Usage;
            last = process.Threads.Count == 0;
            stopSignal = process.StopSignal;
            stopComplete = !last && process.CompleteStop();
            if (IsMainThread)
                process.LeaderStatus = waitStatus;
            else if (!last)
                HandOverSharedSignals();
        }
        Machine.Processes.Remove(this);
        if (stopComplete)
            process.NotifyParent(SignalInfo.CLD_STOPPED, stopSignal);
        if (last)
            process.Finish(this);
        else
            process.ThreadGone.WakeAll();
        _thread?.Announce();
        Machine.Scheduler.Exit(this);
        ReleaseRegisters();
    }

    /// <summary>Signals to the process that this thread might have been chosen for are shown to the others.</summary>
    private void HandOverSharedSignals()
    {
        foreach (Task t in Process.Threads)
            if ((Process.Pending.Mask & ~t.Blocked) != 0)
                t.SignalWakeUp();
    }

    /// <summary>Leaves the address space: at exit and at execve (kernel/fork.c:mm_release).</summary>
    internal void ReleaseMm()
    {
        if (Mm is null)
            return;
        Futexes.Robust.OnExit(this);
        if (ClearChildTid != 0 && Mm.Users > 1)
        {
            if (this.TryWrite(ClearChildTid, 0))
                Machine.Futexes.Wake(this, ClearChildTid, 1, shared: true);
        }
        ClearChildTid = 0;
        Vfork?.Complete();
        Vfork = null;
        Memory.Mm mm = Mm;
        lock (Process.SignalLock)
            Process.ExitedUsage += new TaskUsage { PeakResidentPages = mm.PeakResidentPages };
        DropMm();
        mm.Put(this);
    }

    /// <summary>The machine is being taken down: leave the tables and give the vCPU back, and touch nothing that might sleep.</summary>
    private void Abandon()
    {
        IsExiting = true;
        Machine.Processes.Remove(this);
        try
        {
            Files?.Release(this);
        }
        catch (TaskKilledException)
        {
            // A file that wanted to wait for something at its last close; its host descriptors are closed with the machine.
        }
        if (Vcpu is not null)
            Machine.Scheduler.Exit(this);
        ReleaseRegisters();
    }
}

/// <summary>What a parent waits for after vfork.</summary>
internal sealed class VforkCompletion
{
    private readonly WaitQueue _queue = new();
    private bool _done;

    public void Complete()
    {
        Volatile.Write(ref _done, true);
        _queue.WakeAll();
    }

    /// <summary>Only a fatal signal ends it early, as in Linux.</summary>
    public void Wait(Task parent) => _queue.Wait(parent, (this, parent), static s => Volatile.Read(ref s.Item1._done) || s.parent.MustExit, interruptible: false);
}
