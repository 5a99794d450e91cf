using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>An inode whose attributes live in our memory: tmpfs, devices, pipes, sockets.</summary>
public class MemoryInode : Inode
{
    private readonly Lock _lock = new();
    private uint _mode;
    private uint _uid;
    private uint _gid;
    private Timestamp _access;
    private Timestamp _modify;
    private Timestamp _change;
    private readonly Timestamp _birth;

    public MemoryInode(Filesystem filesystem, uint mode, uint uid, uint gid, ulong specialDevice = 0)
    {
        Filesystem = filesystem;
        Number = filesystem.NextInode();
        SpecialDevice = specialDevice;
        _mode = mode;
        _uid = uid;
        _gid = gid;
        _birth = _access = _modify = _change = Now;
        LinkCount = 1;
    }

    public Filesystem Filesystem { get; }

    public ulong Number { get; }

    public ulong SpecialDevice { get; }

    /// <summary>Names of this inode; guarded by the file system's tree lock.</summary>
    public uint LinkCount { get; internal set; }

    public override uint Mode => Volatile.Read(ref _mode);

    public virtual long Size => 0;

    /// <summary>In units of 512 bytes.</summary>
    protected virtual long Blocks => 0;

    private protected Timestamp Now => Timestamp.FromNanoseconds(Filesystem.Machine.Clock.RealtimeNs);

    public override long GetAttributes(Dentry self, out InodeAttributes attributes)
    {
        lock (_lock)
        {
            attributes = new InodeAttributes
            {
                Device = Filesystem.Device,
                Inode = Number,
                Mode = _mode,
                LinkCount = LinkCount,
                Uid = _uid,
                Gid = _gid,
                SpecialDevice = SpecialDevice,
                Size = Size,
                BlockSize = 4096,
                Blocks = Blocks,
                AccessTime = _access,
                ModifyTime = _modify,
                ChangeTime = _change,
                BirthTime = _birth,
            };
        }
        return 0;
    }

    public override long SetAttributes(Task task, Dentry self, in AttributeChange change)
    {
        if (change.Size is { } size)
        {
            long r = Resize(task, size);
            if (r < 0)
                return r;
        }
        lock (_lock)
        {
            Timestamp now = Now;
            if (change.Mode is { } mode)
                _mode = (_mode & S_IFMT) | (mode & S_IALLUGO);
            _uid = change.Uid ?? _uid;
            _gid = change.Gid ?? _gid;
            _access = change.AccessTime ?? _access;
            _modify = change.ModifyTime ?? (change.Size is null ? _modify : now);
            _change = now;
        }
        return 0;
    }

    /// <summary>Changes the length of the contents.</summary>
    protected virtual long Resize(Task task, long size) => -Errno.EINVAL;

    /// <summary>Contents changed: mtime and ctime.</summary>
    internal void Touch()
    {
        lock (_lock)
            _modify = _change = Now;
    }

    /// <summary>Names changed: ctime.</summary>
    internal void TouchChange()
    {
        lock (_lock)
            _change = Now;
    }

    /// <summary>Contents were read: atime, once a day or after a change (relatime).</summary>
    internal void TouchAccess()
    {
        lock (_lock)
        {
            Timestamp now = Now;
            if (IsBefore(_access, _modify) || IsBefore(_access, _change) || now.Seconds - _access.Seconds >= 86_400)
                _access = now;
        }
    }

    private static bool IsBefore(Timestamp a, Timestamp b) => a.Seconds < b.Seconds || (a.Seconds == b.Seconds && a.Nanoseconds <= b.Nanoseconds);
}

/// <summary>Holds files that have no place in the tree: pipes, sockets, event files, memfds.</summary>
public sealed class AnonymousFilesystem(Machine machine, uint minor, string typeName, ulong magic) : Filesystem(machine, minor)
{
    public override string TypeName => typeName;

    public override ulong Magic => magic;

    /// <summary>A path to a nameless file, which readlink shows as <paramref name="name"/>.</summary>
    public Path Add(Inode inode, string name) => new(null, new Dentry(this, null, name, inode));

    internal override string DisplayName(Path path) => path.Dentry!.Name;
}
