using System.Runtime.InteropServices;
using Emulator.Kernel.Files.Host;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>The numbers of terminal ioctls (include/uapi/asm-generic/ioctls.h).</summary>
internal static class TerminalAbi
{
    public const uint TCGETS = 0x5401, TCSETS = 0x5402, TCSETSW = 0x5403, TCSETSF = 0x5404, TCSBRK = 0x5409, TCXONC = 0x540A, TCFLSH = 0x540B,
        TIOCEXCL = 0x540C, TIOCSCTTY = 0x540E, TIOCGPGRP = 0x540F, TIOCSPGRP = 0x5410, TIOCOUTQ = 0x5411, TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414,
        FIONREAD = 0x541B, TIOCNOTTY = 0x5422, TIOCGSID = 0x5429, TIOCGPTN = 0x8004_5430, TIOCSPTLCK = 0x4004_5431, TIOCGPTPEER = 0x5441;

    /// <summary>struct termios as the kernel has it: four flag words, line, 19 control characters.</summary>
    public const int TermiosSize = 36;
}

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

/// <summary>The terminal that the emulator runs on: modes and window size are the host's, job control is the guest's.</summary>
public sealed class HostTerminal(Machine machine) : JobControl
{
    public Machine Machine { get; } = machine;

    internal unsafe long Ioctl(Task task, int fd, uint command, ulong argument)
    {
        long r = IoctlJobControl(task, command, argument);
        if (r != -Errno.ENOIOCTLCMD)
            return r;
        Span<byte> buffer = stackalloc byte[64];
        (int read, int write) = command switch
        {
            TerminalAbi.TCGETS => (0, TerminalAbi.TermiosSize),
            TerminalAbi.TCSETS or TerminalAbi.TCSETSW or TerminalAbi.TCSETSF => (TerminalAbi.TermiosSize, 0),
            TerminalAbi.TIOCGWINSZ => (0, 8),
            TerminalAbi.TIOCSWINSZ => (8, 0),
            TerminalAbi.FIONREAD or TerminalAbi.TIOCOUTQ => (0, 4),
            _ => (0, 0),
        };
        if (command is TerminalAbi.TCSBRK or TerminalAbi.TCXONC or TerminalAbi.TCFLSH)
            return HostCalls.Ioctl(fd, command, (void*)argument); // The argument is a number.
        if (read + write == 0)
            return -Errno.ENOTTY;
        if (read > 0 && !task.CopyFromUser(argument, buffer[..read]))
            return -Errno.EFAULT;
        fixed (byte* p = buffer)
            r = HostCalls.Ioctl(fd, command, p);
        if (r < 0)
            return r;
        return write == 0 || task.CopyToUser(argument, buffer[..write]) ? 0 : -Errno.EFAULT;
    }
}
