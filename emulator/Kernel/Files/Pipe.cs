using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>The buffer behind a pipe or FIFO (fs/pipe.c).</summary>
/// <remarks>In bounds: the ring never has more than the capacity, which is at most a MiB, and both its ends are moved under the lock, modulo its length; it is counted in the kernel's memory.</remarks>
public sealed class Pipe
{
    /// <summary>PIPE_BUF: a write up to this size is never split.</summary>
    public const int AtomicSize = 4096;
    private const int DefaultCapacity = 65_536;

    /// <summary>fs.pipe-max-size.</summary>
    private const int MaxCapacity = 1 << 20;

    private readonly Lock _lock = new();
    private readonly Memory.KernelMemory? _memory;
    private readonly WaitQueue _changed = new();
    private byte[] _ring = [];
    private int _head;
    private int _count;
    private int _capacity = DefaultCapacity;
    private int _readers;
    private int _writers;
    private int _readersEver;
    private int _writersEver;
    private bool _unnamed;

    /// <summary>Woken at every change that a reader, a writer or a poller may wait for.</summary>
    internal WaitQueue Changed => _changed;

    public int Capacity => Volatile.Read(ref _capacity);

    public int Available => Volatile.Read(ref _count);

    internal int Readers => Volatile.Read(ref _readers);

    internal int Writers => Volatile.Read(ref _writers);

    private int Free => _capacity - _count;

    /// <param name="memory">Where what waits in the pipe is counted; null: nowhere.</param>
    internal Pipe(Memory.KernelMemory? memory) => _memory = memory;

    /// <summary>Both ends of a new pipe.</summary>
    internal static (OpenFile Reader, OpenFile Writer) Create(Task task, int flags)
    {
        AnonymousFilesystem fs = task.Machine.Vfs.Pipes;
        var pipe = new Pipe(task.Machine.KernelMemory) { _unnamed = true };
        var inode = new MemoryInode(fs, S_IFIFO | 0x180, task.Credentials.EffectiveUid, task.Credentials.EffectiveGid);
        inode.Attach(pipe);
        Path path = fs.Add(inode, $"pipe:[{inode.Number}]");
        flags &= O_NONBLOCK | O_DIRECT;
        return (pipe.OpenEnd(path, O_RDONLY | flags), pipe.OpenEnd(path, O_WRONLY | flags));
    }

    /// <summary>
    /// open(2) of a FIFO: each side waits for the other. Of a pipe, through /proc/PID/fd, it does not: the other side may have written and gone
    /// (fs/pipe.c:fifo_open).
    /// </summary>
    internal long OpenNamed(Task task, Path path, int flags, out OpenFile? file)
    {
        file = null;
        bool read = CanRead(flags), write = CanWrite(flags), nonBlocking = (flags & O_NONBLOCK) != 0;
        if (write && !read && nonBlocking && Readers == 0 && !_unnamed)
            return -Errno.ENXIO;
        int readersBefore = Volatile.Read(ref _readersEver), writersBefore = Volatile.Read(ref _writersEver);
        file = OpenEnd(path, flags);
        _changed.WakeAll();
        if (nonBlocking || _unnamed || (read && write) || (read ? Writers > 0 : Readers > 0))
            return 0;
        WaitResult r = _changed.Wait(task, (Self: this, read, readersBefore, writersBefore), static s =>
            s.read ? Volatile.Read(ref s.Self._writersEver) != s.writersBefore : Volatile.Read(ref s.Self._readersEver) != s.readersBefore);
        if (r == WaitResult.Ok)
            return 0;
        file.Put();
        file = null;
        return -Errno.ERESTARTSYS;
    }

    private PipeFile OpenEnd(Path path, int flags)
    {
        lock (_lock)
        {
            if (CanRead(flags))
            {
                _readers++;
                _readersEver++;
            }
            if (CanWrite(flags))
            {
                _writers++;
                _writersEver++;
            }
        }
        return new PipeFile(this, flags) { Path = path };
    }

    internal void CloseEnd(int flags)
    {
        lock (_lock)
        {
            _readers -= CanRead(flags) ? 1 : 0;
            _writers -= CanWrite(flags) ? 1 : 0;
            if (_readers == 0 && _writers == 0)
            {
                _memory?.Uncharge(_ring.Length);
                _ring = [];
                _head = _count = 0;
            }
        }
        _changed.WakeAll();
    }

    internal long Read(Task task, Span<byte> buffer, bool nonBlocking)
    {
        if (buffer.IsEmpty)
            return 0;
        while (true)
        {
            bool ended = Writers == 0; // Before the look at the data: what a writer left on its way out still counts.
            int n = TryRead(buffer, consume: true);
            if (n > 0)
            {
                _changed.WakeAll();
                return n;
            }
            if (ended)
                return 0;
            if (nonBlocking)
                return -Errno.EAGAIN;
            if (_changed.Wait(task, this, static p => p.Available > 0 || p.Writers == 0) != WaitResult.Ok)
                return -Errno.ERESTARTSYS;
        }
    }

    /// <summary>Copies the first bytes and, unless this is tee(2), removes them.</summary>
    internal int TryRead(Span<byte> buffer, bool consume)
    {
        lock (_lock)
        {
            int n = Math.Min(buffer.Length, _count);
            int first = Math.Min(n, _ring.Length - _head);
            _ring.AsSpan(_head, first).CopyTo(buffer);
            _ring.AsSpan(0, n - first).CopyTo(buffer[first..]);
            if (consume)
            {
                _count -= n;
                _head = _count == 0 || _ring.Length == 0 ? 0 : (_head + n) % _ring.Length;
            }
            return n;
        }
    }

    internal long Write(Task task, ReadOnlySpan<byte> buffer, bool nonBlocking)
    {
        int done = 0;
        while (true)
        {
            if (Readers == 0)
            {
                if (done > 0)
                    return done;
                task.Send(new SignalInfo(Signal.SIGPIPE, SignalInfo.SI_USER) { Pid = task.Process.Pid });
                return -Errno.EPIPE;
            }
            int needed = buffer.Length <= AtomicSize ? buffer.Length : 1;
            int n = TryWrite(buffer[done..], needed);
            if (n < 0)
                return done > 0 ? done : n;
            if (n > 0)
                _changed.WakeAll();
            done += n;
            if (done == buffer.Length)
                return done;
            if (nonBlocking)
                return done > 0 ? done : -Errno.EAGAIN;
            if (_changed.Wait(task, (Self: this, needed), static s => s.Self.Readers == 0 || s.Self.Capacity - s.Self.Available >= s.needed) != WaitResult.Ok)
                return done > 0 ? done : -Errno.ERESTARTSYS;
        }
    }

    /// <summary>Waits until something can be written; how much.</summary>
    internal long WaitForRoom(Task task, bool nonBlocking)
    {
        if (Readers > 0 && Capacity == Available)
        {
            if (nonBlocking)
                return -Errno.EAGAIN;
            if (_changed.Wait(task, this, static p => p.Readers == 0 || p.Available < p.Capacity) != WaitResult.Ok)
                return -Errno.ERESTARTSYS;
        }
        if (Readers > 0)
            return Capacity - Available;
        task.Send(new SignalInfo(Signal.SIGPIPE, SignalInfo.SI_USER) { Pid = task.Process.Pid });
        return -Errno.EPIPE;
    }

    /// <summary>Waits until something can be read; how much, 0 at the end.</summary>
    internal long WaitForData(Task task, bool nonBlocking)
    {
        if (Available == 0 && Writers > 0)
        {
            if (nonBlocking)
                return -Errno.EAGAIN;
            if (_changed.Wait(task, this, static p => p.Available > 0 || p.Writers == 0) != WaitResult.Ok)
                return -Errno.ERESTARTSYS;
        }
        return Available;
    }

    private int TryWrite(ReadOnlySpan<byte> buffer, int needed)
    {
        lock (_lock)
        {
            if (Free < needed)
                return 0;
            int n = Math.Min(buffer.Length, Free);
            if (!TryReserve(_count + n))
                return -Errno.ENOMEM;
            int tail = (_head + _count) % Math.Max(1, _ring.Length);
            int first = Math.Min(n, _ring.Length - tail);
            buffer[..first].CopyTo(_ring.AsSpan(tail));
            buffer[first..n].CopyTo(_ring);
            _count += n;
            return n;
        }
    }

    /// <summary>Grows the ring; a pipe that carries little stays small. False: the kernel has no memory for it.</summary>
    private bool TryReserve(int size)
    {
        if (size <= _ring.Length)
            return true;
        int length = Math.Min(_capacity, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(size, 512)));
        if (_memory?.TryCharge(length - _ring.Length) == false)
            return false;
        byte[] larger = new byte[length];
        int first = Math.Min(_count, _ring.Length - _head);
        _ring.AsSpan(_head, first).CopyTo(larger);
        _ring.AsSpan(0, _count - first).CopyTo(larger.AsSpan(first));
        _ring = larger;
        _head = 0;
        return true;
    }

    /// <summary>F_SETPIPE_SZ.</summary>
    internal long SetCapacity(uint size)
    {
        if (size > MaxCapacity)
            return -Errno.EPERM;
        int capacity = (int)Math.Max(4096, System.Numerics.BitOperations.RoundUpToPowerOf2(size));
        lock (_lock)
        {
            if (capacity < _count)
                return -Errno.EBUSY;
            _memory?.Uncharge(_ring.Length - _count);
            byte[] ring = new byte[_count];
            int first = Math.Min(_count, _ring.Length - _head);
            _ring.AsSpan(_head, first).CopyTo(ring);
            _ring.AsSpan(0, _count - first).CopyTo(ring.AsSpan(first));
            _ring = ring;
            _head = 0;
            _capacity = capacity;
        }
        _changed.WakeAll();
        return capacity;
    }

    internal PollEvents Poll(int flags)
    {
        PollEvents events = PollEvents.None;
        if (CanRead(flags))
        {
            events |= Available > 0 ? PollEvents.Readable : 0;
            events |= Writers == 0 && Volatile.Read(ref _writersEver) > 0 ? PollEvents.HangUp : 0;
        }
        if (CanWrite(flags))
        {
            events |= Capacity - Available >= AtomicSize ? PollEvents.Writable : 0;
            events |= Readers == 0 ? PollEvents.Error : 0;
        }
        return events;
    }
}

/// <summary>An open end, or both, of a pipe.</summary>
internal sealed class PipeFile(Pipe pipe, int flags) : OpenFile(flags)
{
    private const uint FIONREAD = 0x541B;
    private readonly int _opened = flags;

    public Pipe Pipe { get; } = pipe;

    public override long Read(Task task, Span<byte> buffer, ref long position) => Pipe.Read(task, buffer, IsNonBlocking);

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position) => Pipe.Write(task, buffer, IsNonBlocking);

    public override long Ioctl(Task task, uint command, ulong argument) =>
        command == FIONREAD ? (task.TryWrite(argument, Pipe.Available) ? 0 : -Errno.EFAULT) : -Errno.ENOTTY;

    public override PollEvents Poll(Task task, PollTable? table)
    {
        table?.Add(Pipe.Changed);
        return Pipe.Poll(Flags);
    }

    protected override void Release() => Pipe.CloseEnd(_opened);
}
