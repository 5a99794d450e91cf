namespace Emulator.Kernel.Tasks;

/// <summary>All processes and tasks of a machine by number.</summary>
public sealed class ProcessTable
{
    internal const int InitPid = 1;
    private const int FirstPid = 2;
    internal const int PidMax = 1 << 22;

    private readonly SortedDictionary<int, Task> _tasks = [];
    private readonly SortedDictionary<int, Process> _processes = [];
    private int _next = InitPid;

    /// <summary>Guards the process tree, groups and sessions, and this table: a leaf lock.</summary>
    public Lock Lock { get; } = new();

    public int TaskCount
    {
        get
        {
            lock (Lock)
                return _tasks.Count;
        }
    }

    /// <summary>What RLIMIT_NPROC counts: tasks, or processes where more of those are there, since zombies have no task any more.</summary>
    internal int LimitedCount
    {
        get
        {
            lock (Lock)
                return Math.Max(_tasks.Count, _processes.Count);
        }
    }

    public Task? FindTask(int tid)
    {
        lock (Lock)
            return _tasks.GetValueOrDefault(tid);
    }

    /// <summary>A process, zombies included.</summary>
    public Process? FindProcess(int pid)
    {
        lock (Lock)
            return _processes.GetValueOrDefault(pid);
    }

    public Process[] Snapshot()
    {
        lock (Lock)
            return [.. _processes.Values];
    }

    internal Task[] AllTasks()
    {
        lock (Lock)
            return [.. _tasks.Values];
    }

    /// <summary>The processes of a group, in the order of their numbers.</summary>
    public Process[] InGroup(int group)
    {
        lock (Lock)
            return [.. _processes.Values.Where(p => p.ProcessGroup == group)];
    }

    /// <summary>No member has a parent in another group of the same session: nobody could continue it (kernel/exit.c:will_become_orphaned_pgrp).</summary>
    internal bool IsOrphanedGroup(int group)
    {
        lock (Lock)
        {
            foreach (Process p in _processes.Values)
            {
                if (p.ProcessGroup != group || p.IsZombie || p.Parent is not { } parent)
                    continue;
                if (parent.Pid != InitPid && parent.ProcessGroup != group && parent.Session == p.Session)
                    return false;
            }
            return true;
        }
    }

    /// <summary>Stopped members of a group that has become an orphan get SIGHUP and SIGCONT.</summary>
    internal void HangUpIfNewlyOrphaned(int group)
    {
        Process[] members = InGroup(group);
        if (!members.Any(p => p.StopSignal != 0 && !p.IsZombie) || !IsOrphanedGroup(group))
            return;
        foreach (Process p in members)
        {
            p.Send(new SignalInfo(Signal.SIGHUP, SignalInfo.SI_KERNEL));
            p.Send(new SignalInfo(Signal.SIGCONT, SignalInfo.SI_KERNEL));
        }
    }

    internal int AllocatePid()
    {
        lock (Lock)
        {
            do
            {
                if (++_next >= PidMax)
                    _next = FirstPid;
            }
            while (_tasks.ContainsKey(_next) || _processes.ContainsKey(_next) || IsGroupOrSession(_next));
            return _next;
        }
    }

    private bool IsGroupOrSession(int id)
    {
        foreach (Process p in _processes.Values)
            if (p.ProcessGroup == id || p.Session == id)
                return true;
        return false;
    }

    internal void Add(Process process)
    {
        lock (Lock)
            _processes.Add(process.Pid, process);
    }

    internal void Add(Task task)
    {
        lock (Lock)
            _tasks.Add(task.Tid, task);
    }

    internal void Remove(Task task)
    {
        lock (Lock)
            _tasks.Remove(task.Tid);
    }

    /// <summary>The thread that calls execve becomes the process's main thread.</summary>
    internal void Renumber(Task task, int tid)
    {
        lock (Lock)
        {
            _tasks.Remove(task.Tid);
            task.Tid = tid;
            _tasks[tid] = task;
        }
    }

    internal void Remove(Process process)
    {
        lock (Lock)
            _processes.Remove(process.Pid);
    }
}
