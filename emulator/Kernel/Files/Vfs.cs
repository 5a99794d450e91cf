using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>The tree of mounted file systems and the operations on names. Errors are negative numbers, as system calls return them.</summary>
public sealed partial class Vfs
{
    /// <summary>Far below Linux's (fs.mount-max): programs may mount, nobody can unmount, and all are copied for each new one.</summary>
    private const int MaxMounts = 1000;

    private readonly Lock _mountLock = new();
    private volatile List<Mount> _mounts = [];
    private int _lastMinor = 20;

    internal Vfs(Machine machine)
    {
        Machine = machine;
        Pipes = new AnonymousFilesystem(machine, NextMinor(), "pipefs", 0x5049_5045);
        Sockets = new AnonymousFilesystem(machine, NextMinor(), "sockfs", 0x534F_434B);
        Anonymous = new AnonymousFilesystem(machine, NextMinor(), "anon_inodefs", 0x0904_1934);
        Memfds = new TmpFs(machine, NextMinor(), S_IRWXUGO, 0, 0) { IsMounted = false };
        HugeTlbFiles = new AnonymousFilesystem(machine, NextMinor(), "hugetlbfs", 0x9584_58F6);
        DmaBufFiles = new AnonymousFilesystem(machine, NextMinor(), "dmabuf", 0x444D_4142);
        Terminal = new HostTerminal(machine);
        try
        {
            Root = FilesystemTree.Build(this);
        }
        catch (MachineOptionsException)
        {
            Dispose();
            throw;
        }
    }

    public Machine Machine { get; }

    /// <summary>The root of the whole tree.</summary>
    public Path Root { get; }

    /// <summary>All mounts in the order in which they were made.</summary>
    public IReadOnlyList<Mount> Mounts => _mounts;

    /// <summary>The terminal that the emulator runs on.</summary>
    public HostTerminal Terminal { get; }

    internal AnonymousFilesystem Pipes { get; }

    internal AnonymousFilesystem Sockets { get; }

    /// <summary>Held while one epoll instance is added to another (epnested_mutex): outside of all locks of instances.</summary>
    internal Lock EpollNesting { get; } = new();

    internal Sockets.AbstractSockets AbstractSockets { get; } = new();

    internal AnonymousFilesystem Anonymous { get; }

    /// <summary>Where memfds and SysV segments live, unseen by any name.</summary>
    internal TmpFs Memfds { get; }

    /// <summary>Where memfds of huge pages live.</summary>
    internal AnonymousFilesystem HugeTlbFiles { get; }

    /// <summary>Where buffers shared with devices live.</summary>
    internal AnonymousFilesystem DmaBufFiles { get; }

    internal uint NextMinor() => (uint)Interlocked.Increment(ref _lastMinor);

    /// <summary>Attaches a file system over the entry <paramref name="name"/> of a directory.</summary>
    internal Mount AddMount(Dentry root, Path directory, string name, bool readOnly, string source)
    {
        lock (_mountLock)
        {
            var mount = new Mount(_mounts.Count + 21, root, directory, name, readOnly) { Source = source };
            directory.Mount?.Add(directory.Dentry!, name, mount);
            _mounts = [.. _mounts, mount];
            return mount;
        }
    }

    /// <summary>mount(2) as far as it goes here: msharefs, on a directory that is not a mount yet. For everybody.</summary>
    internal long Mount(Task task, string source, string target, string type)
    {
        if (!string.Equals(type, MshareFs.Type, StringComparison.Ordinal))
            return -Errno.EPERM;
        long r = Walk(task, AT_FDCWD, target, WalkFlags.Follow, out Path path);
        if (r < 0)
            return r;
        if (!path.Inode.IsDirectory)
            return -Errno.ENOTDIR;
        if (path.Dentry!.Parent is not { } parent || ReferenceEquals(path.Dentry, path.Mount?.Root))
            return -Errno.EBUSY;
        if (_mounts.Count >= MaxMounts)
            return -Errno.ENOSPC;
        AddMount(new MshareFs(Machine, NextMinor()).Root, path with { Dentry = parent }, path.Dentry.Name, readOnly: false, source);
        return 0;
    }

    /// <summary>The directory that a *at call starts from.</summary>
    internal long StartAt(Task task, int dirfd, string name, out Path start)
    {
        start = default;
        if (name.StartsWith('/'))
        {
            start = task.Fs.Root;
            return 0;
        }
        if (dirfd == AT_FDCWD)
        {
            start = task.Fs.WorkingDirectory;
            return 0;
        }
        using FileReference reference = task.Files.Get(dirfd);
        if (reference.File is null)
            return -Errno.EBADF;
        if (reference.File.Path.Dentry is null)
            return -Errno.ENOTDIR;
        start = reference.File.Path;
        return start.Inode.IsDirectory || name.Length == 0 ? 0 : -Errno.ENOTDIR;
    }

    /// <summary>Whether the caller may use a file: <paramref name="mask"/> is made of R_OK, W_OK and X_OK (fs/namei.c:inode_permission).</summary>
    internal long CheckPermission(Task task, Path path, int mask, bool realIds = false)
    {
        if ((mask & W_OK) != 0 && path.IsReadOnly && path.Inode.Type is S_IFREG or S_IFDIR or S_IFLNK)
            return -Errno.EROFS;
        Inode inode = path.Inode;
        if (inode.ChecksPermissionsItself)
            return 0;
        Credentials c = task.Credentials;
        long r = inode.GetAttributes(path.Dentry!, out InodeAttributes a);
        return r < 0 ? r : CheckMode(a, mask, realIds ? c.Uid : c.EffectiveUid, realIds ? c.Gid : c.EffectiveGid, c.Groups);
    }

    /// <summary>As <see cref="CheckPermission"/>, asking the host where it decides.</summary>
    internal long CheckAccess(Task task, Path path, int mask, bool realIds = false)
    {
        long r = CheckPermission(task, path, mask, realIds);
        return r < 0 || !path.Inode.ChecksPermissionsItself ? r : path.Inode.Access(task, path.Dentry!, mask);
    }

    private static long CheckMode(in InodeAttributes a, int mask, uint uid, uint gid, IReadOnlyList<uint> groups)
    {
        if (uid == 0)
            return (mask & X_OK) == 0 || a.Type == S_IFDIR || (a.Mode & 0x49) != 0 ? 0 : -Errno.EACCES;
        uint bits = a.Mode;
        if (uid == a.Uid)
            bits >>= 6;
        else if (gid == a.Gid || groups.Contains(a.Gid))
            bits >>= 3;
        return (mask & ~(int)bits & 7) == 0 ? 0 : -Errno.EACCES;
    }

    /// <summary>May the caller remove or rename <paramref name="child"/>? Sticky directories keep that to owners (fs/namei.c:may_delete).</summary>
    internal long CheckRemoval(Task task, Path directory, Dentry child)
    {
        long r = CheckPermission(task, directory, W_OK | X_OK);
        if (r < 0 || directory.Inode.ChecksPermissionsItself || task.Credentials.EffectiveUid == 0 || (directory.Inode.Mode & S_ISVTX) == 0)
            return r;
        if (directory.Inode.GetAttributes(directory.Dentry!, out InodeAttributes d) < 0 || child.Inode.GetAttributes(child, out InodeAttributes c) < 0)
            return -Errno.EPERM;
        uint uid = task.Credentials.EffectiveUid;
        return uid == d.Uid || uid == c.Uid ? 0 : -Errno.EPERM;
    }

    /// <summary>A directory's entries with ".", "..", and the mounts that no entry of the file system stands for.</summary>
    internal long ListDirectory(Task task, Path directory, List<DirectoryEntry> entries)
    {
        entries.Add(new DirectoryEntry(".", NumberOf(directory), 4));
        entries.Add(new DirectoryEntry("..", NumberOf(Parent(directory, task.Fs.Root)), 4));
        long r = directory.Inode.List(task, directory.Dentry!, entries);
        if (r < 0 || directory.Mount is not { Children.Count: > 0 } mount)
            return r;
        foreach (((Dentry parent, string name), Mount child) in mount.Children)
        {
            if (ReferenceEquals(parent, directory.Dentry) && !entries.Exists(e => string.Equals(e.Name, name, StringComparison.Ordinal)))
                entries.Add(new DirectoryEntry(name, NumberOf(new Path(child, child.Root)), DirectoryType(child.Root.Inode.Mode)));
        }
        return 0;
    }

    private static ulong NumberOf(Path path) => path.Inode.GetAttributes(path.Dentry!, out InodeAttributes a) == 0 ? a.Inode : 1;

    /// <summary>The absolute name of a place as seen from the tree's root, or from a task's own root.</summary>
    public string PathName(Path path) => PathName(path, Root, out _);

    /// <summary>What <see cref="PathName(Path)"/> says of a place whose name has more than PATH_MAX bytes, as one can be reached step by step (d_path's -ENAMETOOLONG).</summary>
    internal const string TooLong = "(too long)";

    internal string PathName(Path path, Path root, out bool reachable)
    {
        bool deleted = path.Dentry!.IsUnlinked;
        var names = new Stack<string>();
        int length = 0;
        reachable = true;
        while (path != root)
        {
            length += names.Count == 0 ? 0 : names.Peek().Length + 1;
            if (length >= PathMax)
                return TooLong;
            Dentry dentry = path.Dentry!;
            if (path.Mount is { } mount && ReferenceEquals(dentry, mount.Root))
            {
                if (mount.ParentDirectory.Dentry is null)
                {
                    reachable = false;
                    break;
                }
                names.Push(mount.Name);
                path = mount.ParentDirectory;
            }
            else if (dentry.Parent is null)
            {
                names.Push(dentry.Name);
                reachable = false;
                break;
            }
            else
            {
                names.Push(dentry.Name);
                path = path with { Dentry = dentry.Parent };
            }
        }
        string name = "/" + string.Join('/', names);
        return deleted ? name + " (deleted)" : name;
    }

    /// <summary>".." of a directory: out of mounts, but not out of <paramref name="root"/>.</summary>
    internal static Path Parent(Path path, Path root)
    {
        if (path == root)
            return path;
        if (path.Mount is { } mount && ReferenceEquals(path.Dentry, mount.Root))
            return mount.ParentDirectory.Dentry is null ? path : mount.ParentDirectory;
        return path.Dentry!.Parent is { } parent ? path with { Dentry = parent } : path;
    }
}
