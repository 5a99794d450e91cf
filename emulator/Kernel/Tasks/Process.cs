namespace Emulator.Kernel.Tasks;

/// <summary>A thread group: what its threads share, and its place among the other processes.</summary>
public sealed partial class Process
{
    internal Process(Machine machine, int pid, Process? parent)
    {
        Machine = machine;
        Pending = new PendingSignals(machine.KernelMemory);
        Pid = pid;
        Parent = parent;
    }

    public Machine Machine { get; }

    public int Pid { get; }

    /// <summary>Null for the machine's own init only. Guarded by <see cref="ProcessTable.Lock"/>, as is all of the tree.</summary>
    public Process? Parent { get; internal set; }

    public List<Process> Children { get; } = [];

    public List<Task> Threads { get; } = [];

    public int ProcessGroup { get; internal set; }

    public int Session { get; internal set; }

    public ResourceLimits Limits { get; internal set; } = new();

    /// <summary>Host or guest path of the running program, as /proc/PID/exe shows it.</summary>
    public string ExecutablePath { get; set; } = "";

    /// <summary>The value that wait4 gives, once <see cref="IsZombie"/>.</summary>
    public int WaitStatus { get; internal set; }

    /// <summary>All threads are gone and the parent has not asked yet.</summary>
    public bool IsZombie { get; internal set; }

    public bool IsChildSubreaper { get; set; }

    public bool IsSessionLeader => Session == Pid;

    public override string ToString() => $"process {Pid}";
}
