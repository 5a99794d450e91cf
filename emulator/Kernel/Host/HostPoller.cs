using System.Runtime.InteropServices;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Host;

/// <summary>
/// The machine's event loop on the host: it waits for host descriptors that guests wait for, and for the next timer. A parallel machine
/// runs it on a thread of its own; a deterministic one calls it when no task can run.
/// </summary>
/// <remarks>In bounds: the host is told how many descriptors the array has: those that the machine was started with, each once, and one of our own.</remarks>
public sealed unsafe partial class HostPoller : IDisposable
{
    public const short PollIn = 1, PollOut = 4, PollError = 8, PollHangUp = 16;

    private const short PollInvalid = 32;

    private readonly Machine _machine;
    private readonly Lock _lock = new();
    private readonly List<(int Fd, short Events, WaitQueue Queue)> _armed = [];
    private readonly int _wakeUp;
    private Thread? _thread;
    private volatile bool _stopping;
    private long _sleepingUntil; // The deadline that the thread waits for; 0 while it does not wait.

    internal HostPoller(Machine machine)
    {
        _machine = machine;
        const int EfdCloseOnExec = 0x80000, EfdNonBlock = 0x800;
        _wakeUp = eventfd(0, EfdCloseOnExec | EfdNonBlock);
    }

    /// <summary>Times that the host was asked to wait; a machine in which nothing happens asks no more.</summary>
    internal long Waits => Volatile.Read(ref _waits);

    private long _waits;

    internal bool HasArmed
    {
        get
        {
            lock (_lock)
                return _armed.Count != 0;
        }
    }

    /// <summary>Whether the descriptor is ready now; if not, <paramref name="queue"/> is woken once when it becomes so.</summary>
    public bool IsReadyOrArm(int fd, short events, WaitQueue queue)
    {
        if (Ready(fd, events) != 0)
            return true;
        lock (_lock)
        {
            foreach ((int Fd, short Events, WaitQueue Queue) a in _armed)
                if (a.Fd == fd && a.Events == events && a.Queue == queue)
                    return false;
            _armed.Add((fd, events, queue));
        }
        EnsureThread();
        Interrupt();
        return false;
    }

    /// <summary>Nobody waits on a queue any more: what it was armed for is forgotten, or a program that begins waits and gives them up would fill the list.</summary>
    internal void Disarm(WaitQueue queue)
    {
        lock (_lock)
            _armed.RemoveAll(armed => armed.Queue == queue);
    }

    /// <summary>Queues that wait for the host.</summary>
    internal int ArmedCount
    {
        get
        {
            lock (_lock)
                return _armed.Count;
        }
    }

    /// <summary>Host poll without waiting: the events that hold now.</summary>
    public static short Ready(int fd, short events)
    {
        var p = new PollFd { Fd = fd, Events = events };
        return poll(&p, 1, 0) > 0 ? p.ReturnedEvents : (short)0;
    }

    /// <summary>A timer has been armed that is earlier than all others.</summary>
    internal void Reconsider()
    {
        if (_machine.Options.Deterministic)
            return;
        EnsureThread();
        if (Volatile.Read(ref _sleepingUntil) > _machine.Timers.NextDeadline)
            Interrupt();
    }

    internal void Interrupt()
    {
        ulong one = 1;
        _ = write(_wakeUp, &one, sizeof(ulong));
    }

    /// <summary>Waits once, at most <paramref name="timeoutNs"/>, and wakes the queues whose descriptors are ready. False: the time is up.</summary>
    internal bool WaitOnce(long timeoutNs)
    {
        (int Fd, short Events, WaitQueue Queue)[] armed;
        lock (_lock)
            armed = [.. _armed];
        // A descriptor once, however many wait for it: the host refuses more than a process may have open.
        var waited = new List<PollFd> { new() { Fd = _wakeUp, Events = PollIn } };
        foreach ((int fd, short events, _) in armed)
        {
            int known = waited.FindIndex(w => w.Fd == fd);
            if (known < 0)
                waited.Add(new PollFd { Fd = fd, Events = events });
            else
                waited[known] = waited[known] with { Events = (short)(waited[known].Events | events) };
        }
        PollFd[] fds = [.. waited];
        var timeout = new Timespec { Seconds = timeoutNs / Clock.Second, Nanoseconds = timeoutNs % Clock.Second };
        _waits++;
        fixed (PollFd* p = fds)
        {
            if (ppoll(p, (nuint)fds.Length, timeoutNs == Clock.Never ? null : &timeout, null) <= 0)
                return false;
        }
        if (fds[0].ReturnedEvents != 0)
        {
            ulong count;
            _ = read(_wakeUp, &count, sizeof(ulong));
        }
        foreach ((int fd, short events, WaitQueue queue) one in armed)
        {
            // Errors and hang-ups come without having been asked for.
            if ((Array.Find(fds, f => f.Fd == one.fd).ReturnedEvents & (one.events | PollError | PollHangUp | PollInvalid)) == 0)
                continue;
            lock (_lock)
                _armed.Remove(one);
            one.queue.WakeAll();
        }
        return true;
    }

    private void EnsureThread()
    {
        if (_thread is not null || _machine.Options.Deterministic)
            return;
        lock (_lock)
        {
            if (_thread is not null || _stopping)
                return;
            _thread = new Thread(Loop, 256 << 10) { IsBackground = true, Name = "events" };
            _thread.Start();
        }
    }

    private void Loop()
    {
        try
        {
            ServeUntilStopped();
        }
#pragma warning disable CA1031 // The root of the thread.
        catch (Exception e)
#pragma warning restore CA1031
        {
            _machine.Fail(null, e);
        }
    }

    private void ServeUntilStopped()
    {
        while (!_stopping)
        {
            _machine.Timers.Fire();
            long deadline = _machine.Timers.NextDeadline;
            Volatile.Write(ref _sleepingUntil, deadline);
            Interlocked.MemoryBarrier(); // Reconsider reads _sleepingUntil after arming; we read the deadline after announcing the sleep.
            long next = _machine.Timers.NextDeadline;
            WaitOnce(next == Clock.Never ? Clock.Never : Math.Max(0, next - _machine.Clock.MonotonicNs));
            Volatile.Write(ref _sleepingUntil, 0);
        }
    }

    public void Dispose()
    {
        _stopping = true;
        Interrupt();
        Thread? thread;
        lock (_lock)
            thread = _thread;
        thread?.Join();
        _ = close(_wakeUp);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollFd
    {
        public int Fd;
        public short Events;
        public short ReturnedEvents;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Timespec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    [LibraryImport("libc")]
    private static partial int poll(PollFd* fds, nuint count, int timeoutMs);

    [LibraryImport("libc")]
    private static partial int ppoll(PollFd* fds, nuint count, Timespec* timeout, void* mask);

    [LibraryImport("libc")]
    private static partial int eventfd(uint initial, int flags);

    [LibraryImport("libc")]
    private static partial nint read(int fd, void* buffer, nuint size);

    [LibraryImport("libc")]
    private static partial nint write(int fd, void* buffer, nuint size);

    [LibraryImport("libc")]
    private static partial int close(int fd);
}
