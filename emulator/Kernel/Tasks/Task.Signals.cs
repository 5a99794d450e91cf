namespace Emulator.Kernel.Tasks;

/// <summary>Signals of one task.</summary>
public sealed partial class Task
{
    /// <summary>An unblocked signal waits for this task, or it has been told to die: interruptible sleeps end.</summary>
    public bool SignalPending => false;

    /// <summary>Sends a signal to this very thread.</summary>
    public void Send(SignalInfo info) => _ = info;

    internal void SwitchMm()
    {
    }
}
