using Emulator.Kernel.Files.Host;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files;

/// <summary>The numbers of terminal ioctls (include/uapi/asm-generic/ioctls.h).</summary>
internal static class TerminalAbi
{
    public const uint TCGETS = 0x5401, TCSETS = 0x5402, TCSETSW = 0x5403, TCSETSF = 0x5404, TCSBRK = 0x5409, TCXONC = 0x540A, TCFLSH = 0x540B,
        TIOCSCTTY = 0x540E, TIOCGPGRP = 0x540F, TIOCSPGRP = 0x5410, TIOCOUTQ = 0x5411, TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414,
        FIONREAD = 0x541B, TIOCNOTTY = 0x5422, TIOCGSID = 0x5429;

    /// <summary>struct termios as the kernel has it: four flag words, line, 19 control characters.</summary>
    public const int TermiosSize = 36;
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
        // In bounds: the host reads or writes what its structure has, 36 bytes at most, whatever the guest says; no other command passes.
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
