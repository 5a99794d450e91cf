using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>Processes by descriptor (kernel/pid.c:pidfd_open, kernel/signal.c:pidfd_send_signal).</summary>
internal static class PidFdSyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(424, "pidfd_send_signal", "fd,signal,siginfo,hex", SendSignal),
        new(434, "pidfd_open", "int,hex", Open),
    ];

    private static long Open(Task t, in SyscallArgs a)
    {
        int pid = (int)a.A0, flags = (int)a.A1;
        if ((flags & ~O_NONBLOCK) != 0 || pid <= 0)
            return -Errno.EINVAL;
        if (t.Machine.Processes.FindProcess(pid) is not { } process)
            return t.Machine.Processes.FindTask(pid) is null ? -Errno.ESRCH : -Errno.ENOENT;
        return DescriptorSyscalls.Install(t, PidFd.Create(t, process, O_RDWR | flags), O_CLOEXEC);
    }

    private static long SendSignal(Task t, in SyscallArgs a)
    {
        int signal = (int)a.A1;
        if ((uint)a.A3 != 0)
            return -Errno.EINVAL;
        using FileReference reference = t.Files.Get((int)a.A0);
        if (reference.File is not PidFd { Process: { } process })
            return -Errno.EBADF;
        if (a.A2 == 0)
            return SignalSyscalls.SendToProcess(t, process, signal);
        if (!t.TryRead(a.A2, out int named))
            return -Errno.EFAULT;
        return named != signal ? -Errno.EINVAL : SignalSyscalls.QueueToProcess(t, process, signal, a.A2);
    }
}
