namespace Emulator.Kernel.Tasks;

/// <summary>What getrusage tells of a task, of a process, or of all children that were waited for.</summary>
/// <param name="UserNs">Processor time in guest code.</param>
/// <param name="SystemNs">Processor time in the kernel.</param>
/// <param name="MinorFaults">Page faults served from memory.</param>
/// <param name="MajorFaults">Page faults that read the host's file.</param>
/// <param name="Voluntary">Switches by sleeping.</param>
/// <param name="Involuntary">Switches at the end of a time slice.</param>
/// <param name="PeakResidentPages">The largest resident set: of a process through all of its programs, of children the largest of any one.</param>
public readonly record struct TaskUsage(
    long UserNs, long SystemNs, long MinorFaults, long MajorFaults, long Voluntary, long Involuntary, long PeakResidentPages)
{
    public static TaskUsage operator +(in TaskUsage a, in TaskUsage b) => new(
        a.UserNs + b.UserNs, a.SystemNs + b.SystemNs, a.MinorFaults + b.MinorFaults, a.MajorFaults + b.MajorFaults,
        a.Voluntary + b.Voluntary, a.Involuntary + b.Involuntary, Math.Max(a.PeakResidentPages, b.PeakResidentPages));
}

public sealed partial class Task
{
    /// <summary>It is taking frames back from others: what it needs meanwhile it does without (PF_MEMALLOC).</summary>
    internal bool IsReclaiming { get; set; }

    /// <summary>Page faults that were served, and those of them that read a host file. Counted by the task's own thread in the fault path.</summary>
    internal long Faults { get; set; }

    internal long MajorFaults { get; set; }

    internal TaskUsage Usage => new(
        Scheduling.Times.UserNs, Scheduling.Times.SystemNs, Faults - MajorFaults, MajorFaults,
        Scheduling.VoluntarySwitches, Scheduling.InvoluntarySwitches, Mm?.PeakResidentPages ?? 0);
}

public sealed partial class Process
{
    /// <summary>Of threads that have exited, and of programs that execve has replaced. Guarded by <see cref="SignalLock"/>.</summary>
    internal TaskUsage ExitedUsage { get; set; }

    /// <summary>Of children that have been waited for, with theirs. Guarded by the process table's lock.</summary>
    internal TaskUsage ChildrenUsage { get; set; }

    /// <summary>Of all threads, those that have exited included.</summary>
    public TaskUsage Usage
    {
        get
        {
            lock (SignalLock)
            {
                TaskUsage sum = ExitedUsage;
                foreach (Task t in Threads)
                    sum += t.Usage;
                return sum;
            }
        }
    }

    public long UserNs => Usage.UserNs;

    public long SystemNs => Usage.SystemNs;
}
