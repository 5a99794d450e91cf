namespace Emulator.Kernel.Tasks;

/// <summary>What a process keeps beside signals and its place in the tree.</summary>
public sealed partial class Process
{
    /// <summary>Monotonic time of the fork that made it.</summary>
    public long StartNs { get; internal init; }

    /// <summary>PR_SET_DUMPABLE; kept and reported.</summary>
    internal int Dumpable { get; set; } = 1;

    internal uint Personality { get; set; }

    /// <summary>How willingly the OOM killer takes this process.</summary>
    public Memory.OomState Oom { get; internal init; } = new();

    /// <summary>The process has called execve since fork: setpgid by its parent is refused.</summary>
    internal bool HasExeced { get; set; }

    public ProcessTimers Timers => _timers ??= new ProcessTimers(this);

    private ProcessTimers? _timers;
}
