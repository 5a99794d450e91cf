namespace Emulator.Kernel.Tasks;

/// <summary>Where the task may not sleep.</summary>
public sealed unsafe partial class Task
{
    /// <summary>Sections entered by <see cref="NonBlockStart"/> and not left yet.</summary>
    internal int NonBlockCount { get; private set; }

    /// <summary>From here to <see cref="NonBlockEnd"/> the task may take spin locks but must not wait for anybody's progress (non_block_start).</summary>
    internal void NonBlockStart() => NonBlockCount++;

    internal void NonBlockEnd() => NonBlockCount--;

    /// <summary>Reports it if the task must not sleep here (might_sleep), whether or not it is going to.</summary>
    internal void MightSleep(string what)
    {
        if (Machine.LockDep is { } lockDep)
            lockDep.MightSleep(this, what);
        else if (NonBlockCount > 0)
            Machine.Violations.Report(this, Notifiers.NotifierRules.MustNotSleep, what);
    }
}
