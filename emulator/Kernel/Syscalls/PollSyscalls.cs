using System.Buffers;
using System.Runtime.InteropServices;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>poll and select (fs/select.c).</summary>
internal static class PollSyscalls
{
    private const PollEvents SelectIn = PollEvents.Readable | PollEvents.ReadBand | PollEvents.HangUp | PollEvents.Error;
    private const PollEvents SelectOut = PollEvents.Writable | PollEvents.WriteBand | PollEvents.Error;

    internal static readonly SyscallDefinition[] Table =
    [
        new(7, "poll", "ptr,size,int", Poll),
        new(23, "select", "int,ptr,ptr,ptr,timeval", Select),
        new(270, "pselect6", "int,ptr,ptr,ptr,timespec,ptr", PSelect),
        new(271, "ppoll", "ptr,size,timespec,sigset,size", PPoll),
    ];

    [StructLayout(LayoutKind.Sequential)]
    private struct PollFd
    {
        public int Fd;
        public ushort Events;
        public ushort Returned;
    }

    private static long Poll(Task t, in SyscallArgs a)
    {
        int timeoutMs = (int)a.A2;
        long deadline = timeoutMs < 0 ? Clock.Never : Deadline.After(t.Machine.Clock.MonotonicNs, timeoutMs * Clock.Millisecond);
        ulong address = a.A0;
        uint count = (uint)a.A1;
        return PollOrRestart(t, address, count, deadline);
    }

    /// <summary>poll continues with the time that is left when a signal without a handler interrupts it.</summary>
    private static long PollOrRestart(Task t, ulong address, uint count, long deadline)
    {
        long r = PollUser(t, address, count, deadline);
        if (r != -Errno.EINTR)
            return r;
        t.RestartBlock = task => PollOrRestart(task, address, count, deadline);
        return -Errno.ERESTART_RESTARTBLOCK;
    }

    private static long PPoll(Task t, in SyscallArgs a)
    {
        long r = Timespec.ReadDeadline(t, a.A2, out long deadline);
        if (r == 0)
            r = SetMask(t, a.A3, a.A4);
        if (r < 0)
            return r;
        r = PollUser(t, a.A0, (uint)a.A1, deadline);
        WriteRemaining(t, a.A2, deadline);
        return r == -Errno.EINTR ? -Errno.ERESTARTNOHAND : r;
    }

    /// <summary>A signal mask for the length of the call; none if the pointer is null.</summary>
    internal static long SetMask(Task t, ulong address, ulong size)
    {
        if (address == 0)
            return 0;
        if (size != 8)
            return -Errno.EINVAL;
        if (!t.TryRead(address, out ulong mask))
            return -Errno.EFAULT;
        t.SetTemporaryMask(mask);
        return 0;
    }

    private static void WriteRemaining(Task t, ulong address, long deadline)
    {
        if (address != 0 && deadline != Clock.Never)
            t.TryWrite(address, Timespec.FromNs(Math.Max(0, deadline - t.Machine.Clock.MonotonicNs)));
    }

    private static long PollUser(Task t, ulong address, uint count, long deadline)
    {
        if (count > t.Process.Limits[ResourceLimits.NOFILE].Current || count > FdTable.HardLimit)
            return -Errno.EINVAL;
        // In bounds: HardLimit entries at most, for the length of the call.
        PollFd[] fds = ArrayPool<PollFd>.Shared.Rent((int)count);
        OpenFile?[] files = ArrayPool<OpenFile?>.Shared.Rent((int)count);
        Span<PollFd> polled = fds.AsSpan(0, (int)count);
        try
        {
            if (!t.CopyFromUser(address, MemoryMarshal.AsBytes(polled)))
            {
                Array.Clear(files);
                return -Errno.EFAULT;
            }
            for (int i = 0; i < count; i++)
                files[i] = polled[i].Fd < 0 ? null : t.Files.GetForIo(polled[i].Fd).File;
            long ready = Loop(t, fds, files, (int)count, deadline);
            if (ready < 0)
                return ready;
            for (int i = 0; i < count; i++)
            {
                if (!t.TryWrite(address + ((ulong)i * 8) + 6, polled[i].Returned))
                    return -Errno.EFAULT;
            }
            return ready;
        }
        finally
        {
            for (int i = 0; i < count; i++)
                files[i]?.Put();
            ArrayPool<OpenFile?>.Shared.Return(files, clearArray: true);
            ArrayPool<PollFd>.Shared.Return(fds);
        }
    }

    private static long Loop(Task t, PollFd[] fds, OpenFile?[] files, int count, long deadline)
    {
        var waiters = new PollWaiters(t);
        PollTable? table = waiters;
        bool timedOut = false;
        try
        {
            while (true)
            {
                int ready = 0;
                for (int i = 0; i < count; i++)
                {
                    ref PollFd p = ref fds[i];
                    p.Returned = 0;
                    if (p.Fd < 0)
                        continue;
                    PollEvents wanted = (PollEvents)p.Events | PollEvents.Error | PollEvents.HangUp;
                    p.Returned = files[i] is { } file ? (ushort)(file.Poll(t, table) & wanted) : (ushort)PollEvents.Invalid;
                    if (p.Returned == 0)
                        continue;
                    ready++;
                    table = null; // Nobody will wait any more.
                }
                table = null;
                if (ready > 0 || timedOut)
                    return ready;
                switch (waiters.Wait(deadline))
                {
                    case WaitResult.Interrupted: return -Errno.EINTR;
                    case WaitResult.TimedOut: timedOut = true; break;
                }
            }
        }
        finally
        {
            waiters.RemoveAll();
        }
    }

    private static long Select(Task t, in SyscallArgs a)
    {
        long deadline = Clock.Never;
        if (a.A4 != 0)
        {
            if (!t.TryRead(a.A4, out Timeval timeout))
                return -Errno.EFAULT;
            if (timeout.Seconds < 0 || timeout.Microseconds < 0)
                return -Errno.EINVAL;
            deadline = Deadline.After(t.Machine.Clock.MonotonicNs, new Timeval(timeout.Seconds + (timeout.Microseconds / 1_000_000), timeout.Microseconds % 1_000_000).ToNs());
        }
        long r = SelectUser(t, (int)a.A0, a.A1, a.A2, a.A3, deadline);
        if (a.A4 != 0)
            t.TryWrite(a.A4, Timeval.FromNs(Math.Max(0, deadline - t.Machine.Clock.MonotonicNs)));
        return r == -Errno.EINTR ? -Errno.ERESTARTNOHAND : r;
    }

    private static long PSelect(Task t, in SyscallArgs a)
    {
        long r = Timespec.ReadDeadline(t, a.A4, out long deadline);
        if (r < 0)
            return r;
        if (a.A5 != 0)
        {
            if (!t.TryRead(a.A5, out ulong mask) || !t.TryRead(a.A5 + 8, out ulong size))
                return -Errno.EFAULT;
            r = SetMask(t, mask, size);
            if (r < 0)
                return r;
        }
        r = SelectUser(t, (int)a.A0, a.A1, a.A2, a.A3, deadline);
        WriteRemaining(t, a.A4, deadline);
        return r == -Errno.EINTR ? -Errno.ERESTARTNOHAND : r;
    }

    private static long SelectUser(Task t, int count, ulong inAddress, ulong outAddress, ulong exceptAddress, long deadline)
    {
        if (count < 0)
            return -Errno.EINVAL;
        count = Math.Min(count, t.Files.Capacity);
        int words = (count + 63) / 64;
        ulong[][] sets = [new ulong[words], new ulong[words], new ulong[words]];
        ulong[] addresses = [inAddress, outAddress, exceptAddress];
        for (int i = 0; i < 3; i++)
        {
            if (addresses[i] != 0 && !t.CopyFromUser(addresses[i], MemoryMarshal.AsBytes(sets[i].AsSpan())))
                return -Errno.EFAULT;
        }
        var fds = new List<PollFd>();
        var files = new List<OpenFile?>();
        try
        {
            for (int fd = 0; fd < count; fd++)
            {
                ulong bit = 1UL << fd;
                PollEvents wanted = ((sets[0][fd / 64] & bit) != 0 ? SelectIn : 0) | ((sets[1][fd / 64] & bit) != 0 ? SelectOut : 0)
                    | ((sets[2][fd / 64] & bit) != 0 ? PollEvents.Priority : 0);
                if (wanted == 0)
                    continue;
                OpenFile? file = t.Files.GetForIo(fd).File;
                if (file is null)
                    return -Errno.EBADF;
                fds.Add(new PollFd { Fd = fd, Events = (ushort)wanted });
                files.Add(file);
            }
            PollFd[] polled = [.. fds];
            long r = Loop(t, polled, [.. files], polled.Length, deadline);
            return r < 0 ? r : CopyOut(t, polled, sets, addresses);
        }
        finally
        {
            foreach (OpenFile? file in files)
                file?.Put();
        }
    }

    private static long CopyOut(Task t, PollFd[] polled, ulong[][] sets, ulong[] addresses)
    {
        long total = 0;
        PollEvents[] kinds = [SelectIn, SelectOut, PollEvents.Priority];
        for (int i = 0; i < 3; i++)
        {
            ulong[] set = sets[i];
            ulong[] result = new ulong[set.Length];
            foreach (PollFd p in polled)
            {
                ulong bit = 1UL << p.Fd;
                if ((set[p.Fd / 64] & bit) == 0 || ((PollEvents)p.Returned & kinds[i]) == 0)
                    continue;
                result[p.Fd / 64] |= bit;
                total++;
            }
            if (addresses[i] != 0 && !t.CopyToUser(addresses[i], MemoryMarshal.AsBytes(result.AsSpan())))
                return -Errno.EFAULT;
        }
        return total;
    }
}
