namespace Emulator.Kernel.Tasks;

/// <summary>The end of a process: orphans, the parent's notice, the zombie (kernel/exit.c:exit_notify).</summary>
public sealed partial class Process
{
    internal WaitQueue ThreadGone { get; } = new();

    internal int LeaderStatus { get; set; }

    /// <summary>The signal that the parent gets: SIGCHLD, or what clone was given; 0 for none.</summary>
    internal int ExitSignal { get; set; } = Signal.SIGCHLD;

    /// <summary>PR_SET_PDEATHSIG: sent to this process when its parent ends.</summary>
    internal int ParentDeathSignal { get; set; }

    /// <summary>What there is to say about the signal that killed it.</summary>
    internal Reports.Report? Death { get; set; }

    private int _deathClaimed;

    /// <summary>Whether the caller is the one thread that reports the process's death.</summary>
    internal bool ClaimDeath() => Interlocked.Exchange(ref _deathClaimed, 1) == 0;

    /// <summary>Called by the last thread.</summary>
    internal void Finish(Task last)
    {
        Timers.CancelAll();
        foreach (Ipc.SemaphoreSet set in Machine.Semaphores.Snapshot())
            set.Undo(this);
        WaitStatus = IsExiting ? GroupExitStatus : LeaderStatus;
        ProcessTable table = Machine.Processes;
        HashSet<int> groupsToCheck = [];
        List<Process> orphans;
        Process heir;
        lock (table.Lock)
        {
            heir = FindHeir();
            orphans = [.. Children];
            foreach (Process child in orphans)
            {
                child.Parent = heir;
                heir.Children.Add(child);
                if (child.ProcessGroup != ProcessGroup && child.Session == Session)
                    groupsToCheck.Add(child.ProcessGroup);
            }
            Children.Clear();
            // The own group becomes an orphan only if this process was what tied it to its session (kernel/exit.c:kill_orphaned_pgrp).
            if (Parent is { } parent && parent.ProcessGroup != ProcessGroup && parent.Session == Session)
                groupsToCheck.Add(ProcessGroup);
        }
        foreach (Process child in orphans)
        {
            if (child.ParentDeathSignal != 0)
                child.Send(new SignalInfo(child.ParentDeathSignal, SignalInfo.SI_USER) { Pid = Pid, Uid = (int)Credentials.UserId });
            if (child.IsZombie)
                child.AnnounceEnd();
        }
        if (IsSessionLeader)
            Machine.OnSessionLeaderExit(last);
        last.Fs = null!;
        AnnounceEnd();
        foreach (int group in groupsToCheck)
            table.HangUpIfNewlyOrphaned(group);
        Machine.OnProcessEnded(this);
    }

    /// <summary>The nearest ancestor that asked for orphans, else init (kernel/exit.c:find_new_reaper).</summary>
    private Process FindHeir()
    {
        for (Process? p = Parent; p is not null; p = p.Parent)
            if (p.IsChildSubreaper && !p.IsExiting && !p.IsZombie)
                return p;
        return Machine.Init;
    }

    /// <summary>Becomes a zombie and tells the parent; or vanishes, if the parent does not care.</summary>
    private void AnnounceEnd()
    {
        Process parent;
        bool reaped;
        lock (Machine.Processes.Lock)
        {
            parent = Parent!;
            SignalAction action = parent.Actions[Signal.SIGCHLD];
            reaped = parent == Machine.Init
                || (ExitSignal == Signal.SIGCHLD && (action.Handler == SignalAction.Ignore || action.Has(SignalAction.SA_NOCLDWAIT)));
            IsZombie = true;
            if (reaped)
                Reap();
        }
        // Nobody sends to a zombie.
        lock (SignalLock)
            Pending.Discard(ulong.MaxValue);
        SignalArrived.WakeAll();
        // clone takes any number; one that is no signal tells nobody (kernel/signal.c:do_notify_parent).
        if (ExitSignal is > 0 and <= Signal.Count && parent != Machine.Init)
        {
            int signal = Tasks.WaitStatus.Signal(WaitStatus);
            int code = signal == 0 ? SignalInfo.CLD_EXITED : (WaitStatus & Tasks.WaitStatus.CoreFlag) != 0 ? SignalInfo.CLD_DUMPED : SignalInfo.CLD_KILLED;
            if (!(reaped && parent.Actions[Signal.SIGCHLD].Handler == SignalAction.Ignore))
            {
                parent.Send(new SignalInfo(ExitSignal, code)
                {
                    Pid = Pid,
                    Uid = (int)Credentials.UserId,
                    Status = signal == 0 ? Tasks.WaitStatus.ExitCode(WaitStatus) : signal,
                    UserTime = UserNs / (Clock.Second / 100),
                    SystemTime = SystemNs / (Clock.Second / 100),
                });
            }
        }
        parent.ChildEvents.WakeAll();
    }

    /// <summary>Takes the process out of the world; its times go to the parent. Called with the table's lock held.</summary>
    internal void Reap()
    {
        Process parent = Parent!;
        parent.Children.Remove(this);
        parent.ChildrenUsage += Usage + ChildrenUsage;
        Machine.Processes.Remove(this);
    }
}
