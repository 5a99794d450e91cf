using Emulator.Kernel.Tasks;

namespace Emulator.Kernel;

public sealed partial class Machine
{
    /// <summary>Called, on a task's thread, when the first process was stopped by a signal: the host process may stop itself then.</summary>
    public Action? WhenStopped { get; set; }

    /// <summary>Whether the terminal's stop signals stop a group. The first process's has, in the host's shell, somebody to continue it.</summary>
    internal bool CanBeStopped(int group) => (WhenStopped is not null && group == Main?.ProcessGroup) || !Processes.IsOrphanedGroup(group);

    /// <summary>
    /// A signal that the host process got on behalf of the guest. What the terminal sends goes to the guest's foreground process group,
    /// anything else to the first process. Any thread may call it.
    /// </summary>
    public void Interrupt(int signal)
    {
        if (Main is not { } main)
            return;
        var info = new SignalInfo(signal, SignalInfo.SI_KERNEL);
        if (signal is not (Signal.SIGINT or Signal.SIGQUIT or Signal.SIGTSTP or Signal.SIGWINCH))
        {
            main.Send(info);
            return;
        }
        foreach (Process process in Processes.InGroup(Vfs.ForegroundGroup ?? main.ProcessGroup))
            process.Send(info);
    }
}
