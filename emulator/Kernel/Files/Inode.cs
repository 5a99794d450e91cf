using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>An entry that a directory lists.</summary>
/// <param name="Name">Latin-1 byte string.</param>
/// <param name="Inode">d_ino.</param>
/// <param name="Type">d_type, a DT_* number.</param>
public readonly record struct DirectoryEntry(string Name, ulong Inode, byte Type);

/// <summary>
/// A file of any kind, and the operations of its file system on it. Operations get the name through which the file was reached, as in
/// Linux; permissions and read-only mounts were checked by <see cref="Vfs"/> before. All return 0 or a negative error.
/// </summary>
public abstract class Inode
{
    private FileLocks? _locks;
    private object? _attachment;

    /// <summary>File type and permission bits.</summary>
    public abstract uint Mode { get; }

    public uint Type => Mode & S_IFMT;

    public bool IsDirectory => Type == S_IFDIR;

    public bool IsSymlink => Type == S_IFLNK;

    public bool IsRegular => Type == S_IFREG;

    /// <summary>The file system's host enforces permissions itself; we ask it instead of reading mode bits.</summary>
    internal virtual bool ChecksPermissionsItself => false;

    internal FileLocks Locks => _locks ?? Interlocked.CompareExchange(ref _locks, new FileLocks(), null) ?? _locks;

    /// <summary>What a FIFO or a bound socket keeps with its name: the pipe, the listening socket.</summary>
    internal object? Attachment => Volatile.Read(ref _attachment);

    /// <summary>Attaches <paramref name="value"/> unless something is attached already; returns what is.</summary>
    internal object Attach(object value) => Interlocked.CompareExchange(ref _attachment, value, null) ?? value;

    /// <summary>Writers, one at a time (i_rwsem): appends and partial updates do not interleave.</summary>
    internal Tasks.Locks.Mutex WriteLock { get; } = new(Tasks.Locks.LockClass.InodeWrite);

    public abstract long GetAttributes(Dentry self, out InodeAttributes attributes);

    public virtual long SetAttributes(Task task, Dentry self, in AttributeChange change) => -Errno.EPERM;

    /// <summary>Opens the file itself (no walking, no creation). Special files are opened by <see cref="Vfs"/>.</summary>
    public virtual long Open(Task task, Path path, int flags, out OpenFile? file)
    {
        file = null;
        return -Errno.ENXIO;
    }

    public virtual long Lookup(Task task, Dentry self, string name, out Dentry? child)
    {
        child = null;
        return -Errno.ENOTDIR;
    }

    /// <summary>The entries except "." and "..".</summary>
    public virtual long List(Task task, Dentry self, List<DirectoryEntry> entries) => -Errno.ENOTDIR;

    /// <summary>mknod: a regular file, FIFO, socket or device.</summary>
    public virtual long Create(Task task, Dentry self, string name, uint mode, ulong device, out Dentry? child)
    {
        child = null;
        return -Errno.EPERM;
    }

    /// <summary>open(2) of a name that does not exist: the new file is open whatever its mode says.</summary>
    internal virtual long CreateOpen(Task task, Path directory, string name, uint mode, int flags, out OpenFile? file)
    {
        file = null;
        long r = Create(task, directory.Dentry!, name, S_IFREG | mode, 0, out Dentry? child);
        return r < 0 ? r : task.Machine.Vfs.OpenExisting(task, directory with { Dentry = child }, flags & ~O_TRUNC, created: true, out file);
    }

    public virtual long MakeDirectory(Task task, Dentry self, string name, uint mode) => -Errno.EPERM;

    public virtual long MakeSymlink(Task task, Dentry self, string name, string target) => -Errno.EPERM;

    public virtual long Link(Task task, Dentry self, string name, Dentry target) => -Errno.EPERM;

    public virtual long Unlink(Task task, Dentry self, Dentry child) => -Errno.EPERM;

    public virtual long RemoveDirectory(Task task, Dentry self, Dentry child) => -Errno.EPERM;

    /// <param name="task">The caller.</param>
    /// <param name="self">The directory that has <paramref name="child"/>.</param>
    /// <param name="child">What moves.</param>
    /// <param name="newDirectory">A directory of the same file system.</param>
    /// <param name="newName">The name there.</param>
    /// <param name="flags">RENAME_*.</param>
    public virtual long Rename(Task task, Dentry self, Dentry child, Dentry newDirectory, string newName, int flags) => -Errno.EPERM;

    /// <summary>Makes and opens a nameless regular file (O_TMPFILE).</summary>
    internal virtual long OpenNameless(Task task, Path directory, uint mode, int flags, out OpenFile? file)
    {
        file = null;
        return -Errno.EOPNOTSUPP;
    }

    public virtual long ReadLink(Task task, Dentry self, out string target)
    {
        target = "";
        return -Errno.EINVAL;
    }

    /// <summary>A link that leads to an object rather than to a name, as /proc/PID/fd/N and /proc/PID/cwd do.</summary>
    internal virtual bool TryFollow(Task task, Dentry self, out Path path)
    {
        path = default;
        return false;
    }

    /// <summary>access(2) by the file system's own means; only where <see cref="ChecksPermissionsItself"/>.</summary>
    internal virtual long Access(Task task, Dentry self, int mask) => 0;

    /// <summary>An <see cref="OpenFile"/> came into being or went; a file without a name lives as long as one is open.</summary>
    internal virtual void Opened()
    {
    }

    internal virtual void Closed()
    {
    }
}
