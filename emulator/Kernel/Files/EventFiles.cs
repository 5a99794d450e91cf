using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Scheduling;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>A file without contents: seeking succeeds and does nothing (fs/read_write.c:noop_llseek).</summary>
internal abstract class EventFile(int flags) : OpenFile(flags)
{
    public override long Seek(Task task, long offset, int whence) => 0;
}

/// <summary>eventfd(2): a 64-bit counter.</summary>
internal sealed class EventFd(ulong initial, bool semaphore, int flags) : EventFile(flags)
{
    private readonly Lock _lock = new();
    private readonly WaitQueue _changed = new();
    private ulong _count = initial;

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        if (buffer.Length < 8)
            return -Errno.EINVAL;
        ulong taken;
        while (!TryTake(out taken))
        {
            if (IsNonBlocking)
                return -Errno.EAGAIN;
            if (_changed.Wait(task, this, static e => Volatile.Read(ref e._count) != 0) != WaitResult.Ok)
                return -Errno.ERESTARTSYS;
        }
        BinaryPrimitives.WriteUInt64LittleEndian(buffer, taken);
        _changed.WakeAll();
        return 8;
    }

    private bool TryTake(out ulong taken)
    {
        lock (_lock)
        {
            taken = semaphore && _count > 0 ? 1 : _count;
            _count -= taken;
            return taken != 0;
        }
    }

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position)
    {
        if (buffer.Length < 8)
            return -Errno.EINVAL;
        ulong added = BinaryPrimitives.ReadUInt64LittleEndian(buffer);
        if (added == ulong.MaxValue)
            return -Errno.EINVAL;
        while (!TryAdd(added))
        {
            if (IsNonBlocking)
                return -Errno.EAGAIN;
            if (_changed.Wait(task, (Self: this, added), static s => s.Self.HasRoom(s.added)) != WaitResult.Ok)
                return -Errno.ERESTARTSYS;
        }
        _changed.WakeAll();
        return 8;
    }

    private bool HasRoom(ulong added) => ulong.MaxValue - Volatile.Read(ref _count) > added;

    private bool TryAdd(ulong added)
    {
        lock (_lock)
        {
            if (!HasRoom(added))
                return false;
            _count += added;
            return true;
        }
    }

    public override PollEvents Poll(Task task, PollTable? table)
    {
        table?.Add(_changed);
        ulong count = Volatile.Read(ref _count);
        return (count > 0 ? PollEvents.Readable : 0) | (count < ulong.MaxValue - 1 ? PollEvents.Writable : 0);
    }

    internal override void DescribeTo(StringBuilder text) => text.Append(CultureInfo.InvariantCulture, $"eventfd-count: {_count,16:x}\n");
}

/// <summary>timerfd_create(2): expirations counted until they are read.</summary>
internal sealed class TimerFd : EventFile
{
    private const int CLOCK_REALTIME = 0, CLOCK_REALTIME_ALARM = 8;

    private readonly Machine _machine;
    private readonly int _clock;
    private readonly KernelTimer _timer;
    private readonly Lock _lock = new();
    private readonly WaitQueue _expired = new();
    private long _next = Clock.Never;
    private long _interval;
    private ulong _count;

    /// <summary>The expiry at <see cref="_next"/> is counted already: of a periodic timer, until somebody looks.</summary>
    private bool _isCounted;

    public TimerFd(Machine machine, int clock, int flags)
        : base(flags)
    {
        _machine = machine;
        _clock = clock;
        _timer = new KernelTimer(machine, Fire);
    }

    /// <summary>What must be added to the machine's monotonic time to give this timer's clock.</summary>
    private long Offset => _clock is CLOCK_REALTIME or CLOCK_REALTIME_ALARM ? _machine.Clock.RealtimeOffsetNs : 0;

    /// <summary>timerfd_settime; times in nanoseconds, 0 disarms.</summary>
    public void Set(long value, long interval, bool absolute, out long oldValue, out long oldInterval)
    {
        lock (_lock)
        {
            Get(out oldValue, out oldInterval);
            long delta = absolute ? value - Offset : Deadline.After(_machine.Clock.MonotonicNs, value);
            _next = value == 0 ? Clock.Never : Math.Max(1, delta);
            _interval = interval;
            _count = 0;
            _isCounted = false;
            _timer.Arm(_next);
        }
    }

    /// <summary>Time left until the next expiry, and the interval.</summary>
    public void Get(out long value, out long interval)
    {
        lock (_lock)
        {
            Forward();
            value = _next == Clock.Never ? 0 : Math.Max(1, _next - _machine.Clock.MonotonicNs);
            interval = _interval;
        }
    }

    private void Fire()
    {
        lock (_lock)
        {
            if (_next == Clock.Never || _isCounted)
                return;
            if (_machine.Clock.MonotonicNs < _next)
            {
                _timer.Arm(_next);
                return;
            }
            _count++;
            _isCounted = _interval != 0;
            if (!_isCounted)
                _next = Clock.Never;
        }
        _expired.WakeAll();
    }

    /// <summary>
    /// Counts the periods that have passed since a timer expired, and arms the next. It is not armed again before somebody looks, so that no period, however
    /// short, can drown the machine (timerfd_read and do_timerfd_gettime, hrtimer_forward_now). The lock is held.
    /// </summary>
    private void Forward()
    {
        if (!_isCounted)
            return;
        long periods = (_machine.Clock.MonotonicNs - _next) / _interval;
        _count += (ulong)periods;
        _next = Deadline.After(_next + periods * _interval, _interval);
        _isCounted = false;
        _timer.Arm(_next);
    }

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        if (buffer.Length < 8)
            return -Errno.EINVAL;
        while (true)
        {
            ulong count;
            lock (_lock)
            {
                Forward();
                count = _count;
                _count = 0;
            }
            if (count > 0)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(buffer, count);
                return 8;
            }
            if (IsNonBlocking)
                return -Errno.EAGAIN;
            if (_expired.Wait(task, this, static t => Volatile.Read(ref t._count) != 0) != WaitResult.Ok)
                return -Errno.ERESTARTSYS;
        }
    }

    public override PollEvents Poll(Task task, PollTable? table)
    {
        table?.Add(_expired);
        return Volatile.Read(ref _count) != 0 ? PollEvents.Readable : 0;
    }

    protected override void Release()
    {
        lock (_lock)
            (_next, _isCounted) = (Clock.Never, false);
        _timer.Cancel();
    }
}
