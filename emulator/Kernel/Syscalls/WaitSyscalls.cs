using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>wait4 and waitid (kernel/exit.c:do_wait).</summary>
internal static class WaitSyscalls
{
    private const uint WNOHANG = 1, WUNTRACED = 2, WEXITED = 4, WCONTINUED = 8, WNOWAIT = 0x01000000, WNOTHREAD = 0x20000000, WALL = 0x40000000, WCLONE = 0x80000000;
    private const int P_ALL = 0, P_PID = 1, P_PGID = 2, P_PIDFD = 3;

    internal static readonly SyscallDefinition[] Table =
    [
        new(61, "wait4", "int,out:waitstatus,waitflags,out:ptr", Wait4),
        new(247, "waitid", "int,int,out:siginfo,waitflags,out:ptr", WaitId),
    ];

    /// <summary>What a wait found out about a child.</summary>
    private readonly record struct Found(int Pid, int Status, int Code, TaskUsage Usage);

    private static long Wait4(Task t, in SyscallArgs a)
    {
        int which = (int)a.A0;
        uint options = (uint)a.A2;
        if ((options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE)) != 0)
            return -Errno.EINVAL;
        if (which == int.MinValue)
            return -Errno.ESRCH;
        (int kind, int id) = which switch
        {
            -1 => (P_ALL, 0),
            < 0 => (P_PGID, -which),
            0 => (P_PGID, t.Process.ProcessGroup),
            _ => (P_PID, which),
        };
        long result = Wait(t, kind, id, options | WEXITED, out Found found);
        if (result <= 0)
            return result;
        if (a.A1 != 0 && !t.TryWrite(a.A1, found.Status))
            return -Errno.EFAULT;
        if (a.A3 != 0 && !t.TryWrite(a.A3, ResourceUsage.Of(found.Usage)))
            return -Errno.EFAULT;
        return result;
    }

    private static long WaitId(Task t, in SyscallArgs a)
    {
        int kind = (int)a.A0;
        int id = (int)a.A1;
        uint options = (uint)a.A3;
        bool neverBlocks = false;
        if ((options & ~(WNOHANG | WNOWAIT | WEXITED | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE)) != 0
            || (options & (WEXITED | WUNTRACED | WCONTINUED)) == 0)
            return -Errno.EINVAL;
        switch (kind)
        {
            case P_ALL:
                break;
            case P_PID when id > 0:
            case P_PGID when id > 0:
                break;
            case P_PGID when id == 0:
                id = t.Process.ProcessGroup;
                break;
            case P_PIDFD:
                if (id < 0)
                    return -Errno.EINVAL;
                using (FileReference reference = t.Files.Get(id))
                {
                    if (reference.File is not PidFd file)
                        return -Errno.EBADF;
                    (kind, id) = (P_PID, file.Process.Pid);
                    neverBlocks = file.IsNonBlocking && (options & WNOHANG) == 0;
                }
                break;
            default:
                return -Errno.EINVAL;
        }
        long result = Wait(t, kind, id, neverBlocks ? options | WNOHANG : options, out Found found);
        if (result == 0 && neverBlocks)
            return -Errno.EAGAIN;
        if (result < 0)
            return result;
        if (result > 0 && a.A4 != 0 && !t.TryWrite(a.A4, ResourceUsage.Of(found.Usage)))
            return -Errno.EFAULT;
        if (a.A2 == 0)
            return 0;
        // Linux writes six fields and leaves the rest of the structure alone; without a child they are zero.
        bool written = t.TryWrite(a.A2, result > 0 ? Signal.SIGCHLD : 0) && t.TryWrite(a.A2 + 4, 0) && t.TryWrite(a.A2 + 8, found.Code)
            && t.TryWrite(a.A2 + 16, found.Pid) && t.TryWrite(a.A2 + 20, result > 0 ? Credentials.UserId : 0)
            && t.TryWrite(a.A2 + 24, StatusOf(found));
        return written ? 0 : -Errno.EFAULT;
    }

    private static int StatusOf(in Found found) => found.Code switch
    {
        SignalInfo.CLD_EXITED => WaitStatus.ExitCode(found.Status),
        SignalInfo.CLD_KILLED or SignalInfo.CLD_DUMPED => WaitStatus.Signal(found.Status),
        SignalInfo.CLD_STOPPED => found.Status >> 8,
        SignalInfo.CLD_CONTINUED => Signal.SIGCONT,
        _ => 0,
    };

    /// <returns>The child's pid; 0 when none is ready and WNOHANG was given; an error.</returns>
    private static long Wait(Task t, int kind, int id, uint options, out Found found)
    {
        Process parent = t.Process;
        var state = new Search { Parent = parent, Kind = kind, Id = id, Options = options };
        if (!state.Try())
        {
            if (!state.AnyCandidate)
            {
                found = default;
                return -Errno.ECHILD;
            }
            if ((options & WNOHANG) != 0)
            {
                found = default;
                return 0;
            }
            WaitResult result = parent.ChildEvents.Wait(t, state, static s => s.Try() || !s.AnyCandidate);
            if (result == WaitResult.Interrupted)
            {
                found = default;
                return -Errno.ERESTARTSYS;
            }
        }
        found = state.Found;
        return found.Pid == 0 ? -Errno.ECHILD : found.Pid;
    }

    private sealed class Search
    {
        public required Process Parent;
        public required int Kind;
        public required int Id;
        public required uint Options;
        public bool AnyCandidate;
        public Found Found;

        /// <summary>Takes the first child that has something to tell.</summary>
        public bool Try()
        {
            AnyCandidate = false;
            lock (Parent.Machine.Processes.Lock)
            {
                foreach (Process child in Parent.Children)
                {
                    if (!Matches(child))
                        continue;
                    AnyCandidate = true;
                    if (Look(child))
                        return true;
                }
            }
            return false;
        }

        private bool Matches(Process child)
        {
            if ((Kind == P_PID && child.Pid != Id) || (Kind == P_PGID && child.ProcessGroup != Id))
                return false;
            // Children that do not signal by SIGCHLD are "clone children", waited for only when asked.
            return (Options & WALL) != 0 || (child.ExitSignal != Signal.SIGCHLD) == ((Options & WCLONE) != 0);
        }

        private bool Look(Process child)
        {
            bool keep = (Options & WNOWAIT) != 0;
            if (child.IsZombie)
            {
                if ((Options & WEXITED) == 0)
                    return false;
                int status = child.WaitStatus;
                int code = WaitStatus.Signal(status) == 0 ? SignalInfo.CLD_EXITED
                    : (status & WaitStatus.CoreFlag) != 0 ? SignalInfo.CLD_DUMPED : SignalInfo.CLD_KILLED;
                Report(child, status, code);
                if (!keep)
                    child.Reap();
                return true;
            }
            lock (child.SignalLock)
            {
                if ((Options & WUNTRACED) != 0 && child is { IsStopped: true, StopUnreported: true })
                {
                    Report(child, WaitStatus.Stopped(child.StopSignal), SignalInfo.CLD_STOPPED);
                    child.StopUnreported = keep;
                    return true;
                }
                if ((Options & WCONTINUED) != 0 && child.ContinueUnreported)
                {
                    Report(child, WaitStatus.Continued, SignalInfo.CLD_CONTINUED);
                    child.ContinueUnreported = keep;
                    return true;
                }
            }
            return false;
        }

        private void Report(Process child, int status, int code) =>
            Found = new Found(child.Pid, status, code, child.Usage + child.ChildrenUsage);
    }
}
