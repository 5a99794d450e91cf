using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>Pipes, eventfd, timerfd, signalfd and epoll.</summary>
internal static class EventSyscalls
{
    private const int EFD_SEMAPHORE = 1, EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3;
    private const int TFD_TIMER_ABSTIME = 1, TFD_TIMER_CANCEL_ON_SET = 2;

    /// <summary>struct epoll_event is packed on x86-64.</summary>
    private const int EpollEventSize = 12;

    internal static readonly SyscallDefinition[] Table =
    [
        new(22, "pipe", "out:ptr", static (Task t, in SyscallArgs a) => MakePipe(t, a.A0, 0)),
        new(213, "epoll_create", "int", static (Task t, in SyscallArgs a) => (int)a.A0 <= 0 ? -Errno.EINVAL : EpollCreate(t, 0)),
        new(232, "epoll_wait", "fd,out:ptr,int,int", static (Task t, in SyscallArgs a) => EpollWait(t, a, MillisecondDeadline(t, (int)a.A3))),
        new(233, "epoll_ctl", "fd,int,fd,ptr", EpollControl),
        new(281, "epoll_pwait", "fd,out:ptr,int,int,sigset,size", EpollPWait),
        new(282, "signalfd", "fd,sigset,size", static (Task t, in SyscallArgs a) => MakeSignalFd(t, (int)a.A0, a.A1, a.A2, 0)),
        new(283, "timerfd_create", "clockid,openflags", TimerFdCreate),
        new(284, "eventfd", "uint", static (Task t, in SyscallArgs a) => MakeEventFd(t, (uint)a.A0, 0)),
        new(286, "timerfd_settime", "fd,hex,ptr,out:ptr", TimerFdSetTime),
        new(287, "timerfd_gettime", "fd,out:ptr", TimerFdGetTime),
        new(289, "signalfd4", "fd,sigset,size,openflags", static (Task t, in SyscallArgs a) => MakeSignalFd(t, (int)a.A0, a.A1, a.A2, (int)a.A3)),
        new(290, "eventfd2", "uint,openflags", static (Task t, in SyscallArgs a) => MakeEventFd(t, (uint)a.A0, (int)a.A1)),
        new(291, "epoll_create1", "openflags", static (Task t, in SyscallArgs a) => EpollCreate(t, (int)a.A0)),
        new(293, "pipe2", "out:ptr,openflags", static (Task t, in SyscallArgs a) => MakePipe(t, a.A0, (int)a.A1)),
        new(441, "epoll_pwait2", "fd,out:ptr,int,timespec,sigset,size", EpollPWait2),
    ];

    private static long MakePipe(Task t, ulong address, int flags)
    {
        if ((flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) != 0)
            return -Errno.EINVAL;
        (OpenFile reader, OpenFile writer) = Pipe.Create(t, flags);
        return InstallPair(t, reader, writer, address, flags);
    }

    /// <summary>Installs two files and tells their descriptors, or neither.</summary>
    internal static long InstallPair(Task t, OpenFile first, OpenFile second, ulong address, int flags)
    {
        long a = DescriptorSyscalls.Install(t, first, flags);
        if (a < 0)
        {
            second.Put();
            return a;
        }
        long b = DescriptorSyscalls.Install(t, second, flags);
        if (b < 0)
        {
            t.Files.Close(t, (int)a);
            return b;
        }
        if (t.TryWrite(address, (ulong)(uint)a | ((ulong)b << 32)))
            return 0;
        t.Files.Close(t, (int)a);
        t.Files.Close(t, (int)b);
        return -Errno.EFAULT;
    }

    internal static Files.Path Anonymous(Task t, string name)
    {
        AnonymousFilesystem fs = t.Machine.Vfs.Anonymous;
        return fs.Add(new MemoryInode(fs, 0x180, t.Credentials.EffectiveUid, t.Credentials.EffectiveGid), $"anon_inode:{name}");
    }

    private static long MakeEventFd(Task t, uint initial, int flags)
    {
        if ((flags & ~(O_CLOEXEC | O_NONBLOCK | EFD_SEMAPHORE)) != 0)
            return -Errno.EINVAL;
        var file = new EventFd(initial, (flags & EFD_SEMAPHORE) != 0, O_RDWR | (flags & O_NONBLOCK)) { Path = Anonymous(t, "[eventfd]") };
        return DescriptorSyscalls.Install(t, file, flags);
    }

    private static long MakeSignalFd(Task t, int fd, ulong address, ulong size, int flags)
    {
        if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) != 0 || size != 8)
            return -Errno.EINVAL;
        if (!t.TryRead(address, out ulong mask))
            return -Errno.EFAULT;
        mask &= ~Signal.Unblockable;
        if (fd == -1)
            return DescriptorSyscalls.Install(t, new SignalFd(mask, O_RDWR | (flags & O_NONBLOCK)) { Path = Anonymous(t, "[signalfd]") }, flags);
        using FileReference reference = t.Files.GetForIo(fd);
        if (reference.File is null)
            return -Errno.EBADF;
        if (reference.File is not SignalFd existing)
            return -Errno.EINVAL;
        existing.Mask = mask;
        t.Process.SignalArrived.WakeAll();
        return fd;
    }

    private static long TimerFdCreate(Task t, in SyscallArgs a)
    {
        int clock = (int)a.A0, flags = (int)a.A1;
        if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) != 0 || clock is not (0 or 1 or 7 or 8 or 9))
            return -Errno.EINVAL;
        return DescriptorSyscalls.Install(t, new TimerFd(t.Machine, clock, O_RDWR | (flags & O_NONBLOCK)) { Path = Anonymous(t, "[timerfd]") }, flags);
    }

    /// <summary>struct itimerspec.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct TimerSpec(Timespec Interval, Timespec Value);

    private static long TimerFdSetTime(Task t, in SyscallArgs a)
    {
        int flags = (int)a.A1;
        if (!t.TryRead(a.A2, out TimerSpec spec))
            return -Errno.EFAULT;
        if ((flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) != 0 || !spec.Value.IsValid || !spec.Interval.IsValid)
            return -Errno.EINVAL;
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is null)
            return -Errno.EBADF;
        if (reference.File is not TimerFd timer)
            return -Errno.EINVAL;
        timer.Set(spec.Value.ToNs(), spec.Interval.ToNs(), (flags & TFD_TIMER_ABSTIME) != 0, out long oldValue, out long oldInterval);
        if (a.A3 == 0)
            return 0;
        return t.TryWrite(a.A3, new TimerSpec(Timespec.FromNs(oldInterval), Timespec.FromNs(oldValue))) ? 0 : -Errno.EFAULT;
    }

    private static long TimerFdGetTime(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is null)
            return -Errno.EBADF;
        if (reference.File is not TimerFd timer)
            return -Errno.EINVAL;
        timer.Get(out long value, out long interval);
        return t.TryWrite(a.A1, new TimerSpec(Timespec.FromNs(interval), Timespec.FromNs(value))) ? 0 : -Errno.EFAULT;
    }

    private static long EpollCreate(Task t, int flags)
    {
        if ((flags & ~O_CLOEXEC) != 0)
            return -Errno.EINVAL;
        return DescriptorSyscalls.Install(t, new EventPoll(O_RDWR) { Path = Anonymous(t, "[eventpoll]") }, flags);
    }

    private static long EpollControl(Task t, in SyscallArgs a)
    {
        int operation = (int)a.A1, fd = (int)a.A2;
        Span<byte> raw = stackalloc byte[EpollEventSize];
        raw.Clear();
        if (operation != EPOLL_CTL_DEL && !t.CopyFromUser(a.A3, raw))
            return -Errno.EFAULT;
        uint events = BinaryPrimitives.ReadUInt32LittleEndian(raw);
        ulong data = BinaryPrimitives.ReadUInt64LittleEndian(raw[4..]);
        using FileReference epollReference = t.Files.GetForIo((int)a.A0);
        if (epollReference.File is null)
            return -Errno.EBADF;
        using FileReference reference = t.Files.GetForIo(fd);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        if (!file.CanPoll)
            return -Errno.EPERM;
        if (epollReference.File is not EventPoll epoll || ReferenceEquals(epoll, file))
            return -Errno.EINVAL;
        if (operation != EPOLL_CTL_DEL && (events & EventPoll.EPOLLEXCLUSIVE) != 0 && (operation == EPOLL_CTL_MOD || file is EventPoll || (events & EventPoll.EPOLLONESHOT) != 0))
            return -Errno.EINVAL;
        return operation switch
        {
            EPOLL_CTL_ADD => epoll.Add(t, file, fd, events, data),
            EPOLL_CTL_MOD => epoll.Modify(t, file, fd, events, data),
            EPOLL_CTL_DEL => epoll.Delete(file, fd),
            _ => -Errno.EINVAL,
        };
    }

    private static long MillisecondDeadline(Task t, int timeout) =>
        timeout < 0 ? Clock.Never : Deadline.After(t.Machine.Clock.MonotonicNs, timeout * Clock.Millisecond);

    private static long EpollPWait(Task t, in SyscallArgs a)
    {
        long r = PollSyscalls.SetMask(t, a.A4, a.A5);
        return r < 0 ? r : EpollWait(t, a, MillisecondDeadline(t, (int)a.A3));
    }

    private static long EpollPWait2(Task t, in SyscallArgs a)
    {
        long r = Timespec.ReadDeadline(t, a.A3, out long deadline);
        if (r == 0)
            r = PollSyscalls.SetMask(t, a.A4, a.A5);
        return r < 0 ? r : EpollWait(t, a, deadline);
    }

    private static long EpollWait(Task t, in SyscallArgs a, long deadline)
    {
        const int MaxAtOnce = 256;
        int maximum = (int)a.A2;
        if (maximum <= 0 || maximum > int.MaxValue / EpollEventSize)
            return -Errno.EINVAL;
        if (!UserAccess.IsUserRange(a.A1, (ulong)maximum * EpollEventSize))
            return -Errno.EFAULT;
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is null)
            return -Errno.EBADF;
        if (reference.File is not EventPoll epoll)
            return -Errno.EINVAL;
        // In bounds: MaxAtOnce, however many the program has room for.
        Span<(uint Events, ulong Data)> found = stackalloc (uint, ulong)[Math.Min(maximum, MaxAtOnce)];
        long n = epoll.Wait(t, found, deadline);
        Span<byte> raw = stackalloc byte[EpollEventSize];
        for (int i = 0; i < n; i++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(raw, found[i].Events);
            BinaryPrimitives.WriteUInt64LittleEndian(raw[4..], found[i].Data);
            if (!t.CopyToUser(a.A1 + ((ulong)i * EpollEventSize), raw))
                return i > 0 ? i : -Errno.EFAULT;
        }
        return n;
    }
}
