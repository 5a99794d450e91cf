using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files;

/// <summary>
/// The session and foreground group of a terminal (drivers/tty/tty_jobctrl.c). The guest's numbers mean nothing to the host, so job
/// control is kept here even where the terminal itself is the host's.
/// </summary>
public class JobControl
{
    private int _session;
    private int _foreground;

    /// <summary>The session whose controlling terminal this is, 0 if none.</summary>
    public int Session
    {
        get => Volatile.Read(ref _session);
        internal set => Volatile.Write(ref _session, value);
    }

    /// <summary>The process group that the terminal's signals go to; 0 before anyone has asked.</summary>
    public int ForegroundGroup
    {
        get => Volatile.Read(ref _foreground);
        internal set => Volatile.Write(ref _foreground, value);
    }

    /// <summary>Sends a signal of the terminal, such as Ctrl-C's, to the foreground group.</summary>
    public void SignalForeground(Machine machine, int signal)
    {
        int group = ForegroundGroup;
        foreach (Process p in machine.Processes.InGroup(group))
            p.Send(new SignalInfo(signal, SignalInfo.SI_KERNEL));
    }

    /// <summary>The job-control ioctls that every terminal has; -ENOIOCTLCMD for others.</summary>
    internal long IoctlJobControl(Task task, uint command, ulong argument)
    {
        switch (command)
        {
            case TerminalAbi.TIOCGPGRP:
                return Session != task.Process.Session ? -Errno.ENOTTY : task.TryWrite(argument, ForegroundGroup) ? 0 : -Errno.EFAULT;
            case TerminalAbi.TIOCGSID:
                return Session != task.Process.Session ? -Errno.ENOTTY : task.TryWrite(argument, Session) ? 0 : -Errno.EFAULT;
            case TerminalAbi.TIOCSPGRP:
                if (!task.TryRead(argument, out int group))
                    return -Errno.EFAULT;
                if (Session != task.Process.Session)
                    return -Errno.ENOTTY;
                if (group < 0)
                    return -Errno.EINVAL;
                if (CheckBackground(task, Signal.SIGTTOU) is < 0 and var stopped)
                    return stopped;
                Process[] members = task.Machine.Processes.InGroup(group);
                if (members.Length == 0)
                    return -Errno.ESRCH;
                if (members[0].Session != Session)
                    return -Errno.EPERM;
                ForegroundGroup = group;
                return 0;
            case TerminalAbi.TIOCSCTTY:
                if (!task.Process.IsSessionLeader || (Session != 0 && Session != task.Process.Session))
                    return -Errno.EPERM;
                Session = task.Process.Session;
                ForegroundGroup = task.Process.ProcessGroup;
                return 0;
            case TerminalAbi.TIOCNOTTY:
                if (Session != task.Process.Session)
                    return -Errno.ENOTTY;
                if (task.Process.IsSessionLeader)
                {
                    SignalForeground(task.Machine, Signal.SIGHUP);
                    Session = ForegroundGroup = 0;
                }
                return 0;
            default:
                return -Errno.ENOIOCTLCMD;
        }
    }

    /// <summary>A read from the background stops the reader's group (SIGTTIN).</summary>
    internal long CheckBackgroundRead(Task task) => CheckBackground(task, Signal.SIGTTIN);

    private long CheckBackground(Task task, int signal)
    {
        Process p = task.Process;
        if (Session == 0 || p.Session != Session || p.ProcessGroup == ForegroundGroup || ForegroundGroup == 0)
            return 0;
        if ((task.Blocked & Signal.Bit(signal)) != 0 || task.Process.Actions.Ignores(signal))
            return signal == Signal.SIGTTIN ? -Errno.EIO : 0;
        foreach (Process member in task.Machine.Processes.InGroup(p.ProcessGroup))
            member.Send(new SignalInfo(signal, SignalInfo.SI_KERNEL));
        return -Errno.ERESTARTSYS;
    }
}
