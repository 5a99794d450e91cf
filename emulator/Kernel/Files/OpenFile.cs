using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>An open file description (struct file): what descriptors, mappings and messages in flight refer to.</summary>
public abstract class OpenFile
{
    private int _references = 1;
    private int _flags;
    private readonly Lock _watcherLock = new();
    private List<EventPoll.Item>? _watchers;

    protected OpenFile(int flags) => _flags = flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC);

    /// <summary>O_* status flags and access mode.</summary>
    public int Flags
    {
        get => Volatile.Read(ref _flags);
        set => Volatile.Write(ref _flags, value);
    }

    /// <summary>Where the name led when the file was opened; pipes and the like have a path without a mount.</summary>
    public Path Path { get; init; }

    public Inode? Inode => Path.Dentry?.Inode;

    /// <summary>The offset of read and write; guarded by <see cref="PositionLock"/> where it matters.</summary>
    public long Position { get; set; }

    /// <summary>f_pos_lock: reads and writes at the shared offset happen one after another.</summary>
    public Tasks.Locks.Mutex PositionLock { get; } = new(Tasks.Locks.LockClass.FilePosition);

    public bool IsNonBlocking => (Flags & O_NONBLOCK) != 0;

    /// <summary>Has an offset: pread and lseek work.</summary>
    public virtual bool IsSeekable => false;

    /// <summary>A write is one message and cannot be split.</summary>
    internal virtual bool KeepsMessages => false;

    /// <summary>F_SETOWN's process or, negative, process group.</summary>
    internal int Owner { get; set; }

    /// <summary>The pages that mmap maps, or null where mapping is refused with ENODEV.</summary>
    public virtual PageCache? Mapping => null;

    /// <summary>Pages that a driver makes for one new mapping of its file, and maps at once; null: what is mapped is <see cref="Mapping"/>.</summary>
    internal virtual PageCache? CreateMapping(PageAllocator pages, ulong bytes) => null;

    /// <summary>The locks of flock and fcntl belong to the inode; anonymous files have none.</summary>
    internal FileLocks? Locks => Inode?.Locks;

    /// <summary>Counts one more user and returns this.</summary>
    public OpenFile Get()
    {
        Interlocked.Increment(ref _references);
        return this;
    }

    /// <summary>Drops a user; the last one closes the file.</summary>
    public void Put()
    {
        if (DropReference())
            Close();
    }

    private Memory.KernelMemory? _chargedTo;
    private long _kept;

    /// <summary>Counts the file in the kernel's memory, once in its life. False: there is no room for it.</summary>
    internal bool TryCharge(Memory.KernelMemory memory)
    {
        if (_chargedTo is not null)
            return true;
        if (!memory.TryCharge(Memory.KernelMemory.OpenFile))
            return false;
        // Two threads may install one file at the same time, if it came through /proc or a socket.
        if (Interlocked.CompareExchange(ref _chargedTo, memory, null) is not null)
            memory.Uncharge(Memory.KernelMemory.OpenFile);
        else
            memory.CountFiles(1);
        return true;
    }

    /// <summary>Counts what the file keeps beside what every file does, such as a text that is read in pieces. False: there is no room, and what it kept before counts on.</summary>
    private protected bool TryKeep(long bytes)
    {
        if (_chargedTo is not { } memory)
            return true;
        long more = bytes - Interlocked.Exchange(ref _kept, bytes);
        if (memory.TryCharge(more))
            return true;
        Interlocked.Add(ref _kept, -more);
        return false;
    }

    /// <summary>Drops a user; true: it was the last one, and the caller has to call <see cref="Close"/>.</summary>
    /// <exception cref="InvalidOperationException">A mistake of the kernel: somebody has dropped what was not theirs.</exception>
    private protected bool DropReference() => Interlocked.Decrement(ref _references) switch
    {
        0 => true,
        < 0 => throw new InvalidOperationException("An open file has been dropped more often than it was taken."),
        _ => false,
    };

    private protected void Close()
    {
        _chargedTo?.Uncharge(Memory.KernelMemory.OpenFile + _kept);
        _chargedTo?.CountFiles(-1);
        LeaveEpolls();
        Locks?.ReleaseOwner(this);
        Release();
        Inode?.Closed();
    }

    /// <summary>Counts one more user unless the last one has gone.</summary>
    internal bool TryGet()
    {
        while (true)
        {
            int n = Volatile.Read(ref _references);
            if (n == 0)
                return false;
            if (Interlocked.CompareExchange(ref _references, n + 1, n) == n)
                return true;
        }
    }

    /// <summary>epoll and poll take this kind of file; regular files are refused by epoll.</summary>
    internal virtual bool CanPoll => true;

    /// <summary>An epoll instance watches this file, and must hear when it is closed.</summary>
    internal void AddWatcher(EventPoll.Item item)
    {
        lock (_watcherLock)
            (_watchers ??= []).Add(item);
    }

    internal void RemoveWatcher(EventPoll.Item item)
    {
        lock (_watcherLock)
            _watchers?.Remove(item);
    }

    /// <summary>The epoll instances that watch this file.</summary>
    private protected EventPoll[] Watchers()
    {
        lock (_watcherLock)
            return _watchers is null ? [] : [.. _watchers.Select(static item => item.Owner)];
    }

    private void LeaveEpolls()
    {
        EventPoll.Item[] items;
        lock (_watcherLock)
        {
            if (_watchers is null)
                return;
            items = [.. _watchers];
            _watchers = null;
        }
        foreach (EventPoll.Item item in items)
            item.FileClosed();
    }

    /// <summary>The references now, for tests and /proc.</summary>
    internal int ReferenceCount => Volatile.Read(ref _references);

    /// <summary>Reads at <paramref name="position"/> and advances it.</summary>
    /// <returns>Bytes read, 0 at the end, or a negative error.</returns>
    public virtual long Read(Task task, Span<byte> buffer, ref long position) => -Errno.EINVAL;

    /// <summary>Writes at <paramref name="position"/> and advances it.</summary>
    /// <returns>Bytes written or a negative error.</returns>
    public virtual long Write(Task task, ReadOnlySpan<byte> buffer, ref long position) => -Errno.EINVAL;

    /// <summary>lseek(2).</summary>
    public virtual long Seek(Task task, long offset, int whence) => -Errno.ESPIPE;

    public virtual long Ioctl(Task task, uint command, ulong argument) => -Errno.ENOTTY;

    /// <summary>What the file is ready for now. With a table, also registers the queues that tell of a change.</summary>
    public virtual PollEvents Poll(Task task, PollTable? table) => PollEvents.Readable | PollEvents.Writable;

    public virtual long Sync(Task task) => -Errno.EINVAL;

    public virtual long Truncate(Task task, long length) => -Errno.EINVAL;

    public virtual long Allocate(Task task, int mode, long offset, long length) => -Errno.ENODEV;

    /// <summary>Lines that /proc/PID/fdinfo adds for this kind of file.</summary>
    internal virtual void DescribeTo(System.Text.StringBuilder text)
    {
    }

    /// <summary>The target that readlink shows in /proc/PID/fd.</summary>
    public virtual string DisplayName => Path.Dentry is { } dentry ? dentry.Filesystem.DisplayName(Path) : "anon_inode:[unknown]";

    /// <summary>Attributes of the open file, also when it has no name any more.</summary>
    public virtual long GetAttributes(out InodeAttributes attributes)
    {
        if (Path.Dentry is { } dentry)
            return dentry.Inode.GetAttributes(dentry, out attributes);
        attributes = default;
        return -Errno.EBADF;
    }

    public virtual long SetAttributes(Task task, in AttributeChange change) =>
        Path.Dentry is { } dentry ? dentry.Inode.SetAttributes(task, dentry, change) : -Errno.EINVAL;

    /// <summary>The last user is gone.</summary>
    protected virtual void Release()
    {
    }
}
