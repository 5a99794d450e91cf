using Emulator.Kernel.Files.Host;
using Emulator.Kernel.Host;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>A descriptor that the emulator was started with: the guest's standard input, output or error, passed through byte for byte.</summary>
internal sealed class HostStream : OpenFile
{
    private const uint FIONREAD = 0x541B;

    private readonly Machine _machine;
    private readonly int _fd;
    private readonly WaitQueue _ready = new();
    private readonly bool _isTerminal;
    private readonly bool _isSeekable;

    public HostStream(Machine machine, int fd, int flags)
        : base(flags)
    {
        _machine = machine;
        _fd = fd;
        _isTerminal = HostCalls.IsTerminal(fd);
        _isSeekable = !_isTerminal && HostCalls.Seek(fd, 0, SEEK_CUR) >= 0;
    }

    /// <summary>The host keeps the offset, which it may share with the program that started us.</summary>
    public override bool IsSeekable => false;

    internal override bool CanPoll => !_isSeekable;

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        if (_isTerminal && _machine.Vfs.Terminal.CheckBackgroundRead(task) is < 0 and var stopped)
            return stopped;
        long r = WaitUntilReady(task, HostPoller.PollIn);
        return r < 0 ? r : HostCalls.Read(_fd, buffer);
    }

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position)
    {
        if (_isSeekable)
            return HostCalls.Write(_fd, buffer);
        // A host pipe that is ready takes this much without blocking us.
        int done = 0;
        do
        {
            long r = WaitUntilReady(task, HostPoller.PollOut);
            if (r == 0)
                r = HostCalls.Write(_fd, buffer.Slice(done, Math.Min(Pipe.AtomicSize, buffer.Length - done)));
            if (r < 0)
            {
                if (r == -Errno.EPIPE)
                    task.Send(new SignalInfo(Signal.SIGPIPE, SignalInfo.SI_USER) { Pid = task.Process.Pid });
                return done > 0 ? done : r;
            }
            done += (int)r;
        }
        while (done < buffer.Length);
        return done;
    }

    private long WaitUntilReady(Task task, short events)
    {
        if (_isSeekable || HostPoller.Ready(_fd, events) != 0)
            return 0;
        if (IsNonBlocking)
            return -Errno.EAGAIN;
        return task.BlockOnHost(_fd, events) == WaitResult.Ok ? 0 : -Errno.ERESTARTSYS;
    }

    /// <summary>The view of a redirected file that pread and pwrite use, which leaves the host's offset alone; null for other streams.</summary>
    internal OpenFile? Positional => _isSeekable ? new PositionalView(_fd, Flags) : null;

    private sealed class PositionalView(int fd, int flags) : OpenFile(flags)
    {
        public override bool IsSeekable => true;

        public override long Read(Task task, Span<byte> buffer, ref long position) => Advance(HostCalls.ReadAt(fd, buffer, position), ref position);

        public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position) => Advance(HostCalls.WriteAt(fd, buffer, position), ref position);

        private static long Advance(long n, ref long position)
        {
            position += Math.Max(0, n);
            return n;
        }
    }

    public override long Seek(Task task, long offset, int whence) => HostCalls.Seek(_fd, offset, whence);

    public override long Sync(Task task) => HostCalls.Sync(_fd);

    public override long Truncate(Task task, long length) => HostCalls.Truncate(_fd, length);

    public override unsafe long Ioctl(Task task, uint command, ulong argument)
    {
        if (_isTerminal)
            return _machine.Vfs.Terminal.Ioctl(task, _fd, command, argument);
        if (command != FIONREAD)
            return -Errno.ENOTTY;
        int count = 0;
        long r = HostCalls.Ioctl(_fd, command, &count);
        return r < 0 ? r : task.TryWrite(argument, count) ? 0 : -Errno.EFAULT;
    }

    public override PollEvents Poll(Task task, PollTable? table)
    {
        table?.Add(_ready);
        short wanted = (short)((CanRead(Flags) ? HostPoller.PollIn : 0) | (CanWrite(Flags) ? HostPoller.PollOut : 0));
        short now, missing;
        // What becomes ready between the look and the arming is not armed: look again. Errors are reported whatever is wanted, and end it.
        do
        {
            now = HostPoller.Ready(_fd, wanted);
            missing = (short)(wanted & ~now);
        }
        while (missing != 0 && (now & ~wanted) == 0 && (table is not null || _ready.HasWaiters) && _machine.HostPoller.IsReadyOrArm(_fd, missing, _ready));
        PollEvents events = (PollEvents)now & (PollEvents.Error | PollEvents.HangUp);
        events |= (now & HostPoller.PollIn) != 0 ? PollEvents.Readable : 0;
        events |= (now & HostPoller.PollOut) != 0 ? PollEvents.Writable : 0;
        return events;
    }

    /// <summary>A terminal is the node in our /dev/pts, so that ttyname finds it; other streams show what the host says of them.</summary>
    public override long GetAttributes(out InodeAttributes attributes)
    {
        if (_isTerminal)
            return base.GetAttributes(out attributes);
        long r = HostCalls.StatAt(_fd, "\0"u8, HostCalls.AT_EMPTY_PATH, out HostCalls.Statx s);
        attributes = default;
        if (r < 0)
            return r;
        Path.Inode.GetAttributes(Path.Dentry!, out attributes);
        attributes.Mode = s.Mode;
        attributes.Size = (long)s.Size;
        attributes.Blocks = (long)s.Blocks;
        attributes.BlockSize = s.BlockSize;
        attributes.Inode = s.Inode;
        attributes.Device = DeviceNumber.Make(s.DeviceMajor, s.DeviceMinor);
        attributes.SpecialDevice = DeviceNumber.Make(s.SpecialMajor, s.SpecialMinor);
        attributes.LinkCount = s.LinkCount;
        attributes.ModifyTime = new(s.ModifyTime.Seconds, s.ModifyTime.Nanoseconds);
        attributes.AccessTime = new(s.AccessTime.Seconds, s.AccessTime.Nanoseconds);
        attributes.ChangeTime = new(s.ChangeTime.Seconds, s.ChangeTime.Nanoseconds);
        return 0;
    }

    protected override void Release() => _machine.HostPoller.Disarm(_ready);

    public override long SetAttributes(Task task, in AttributeChange change) =>
        change.Size is { } size ? HostCalls.Truncate(_fd, size) : 0;
}

/// <summary>The inode of a passed-through stream. Opening it again, through /dev/stdin or /proc/self/fd, gives the same host descriptor.</summary>
internal sealed class HostStreamInode(Filesystem fs, uint mode, uint uid, uint gid, int fd, ulong device = 0) : MemoryInode(fs, mode, uid, gid, device)
{
    public override long Open(Task task, Path path, int flags, out OpenFile? file)
    {
        file = new HostStream(task.Machine, fd, flags) { Path = path };
        return 0;
    }
}
