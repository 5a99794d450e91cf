using System.Buffers.Binary;
using System.Text;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files.Host;

/// <summary>A file of the host, as it was when its name was looked up.</summary>
internal sealed class HostInode : Inode
{
    private readonly HostFs _fs;
    private readonly ulong _number;
    private readonly ulong _device;
    private readonly ulong _specialDevice;
    private readonly Lock _lock = new();
    private Dictionary<string, WeakReference<Dentry>>? _children;
    private int _pruneAt = 64;
    private HostPageCache? _cache;
    private int _openCount;

    public HostInode(HostFs fs, in HostCalls.Statx stat)
    {
        _fs = fs;
        _number = stat.Inode;
        _device = DeviceNumber.Make(stat.DeviceMajor, stat.DeviceMinor);
        _specialDevice = DeviceNumber.Make(stat.SpecialMajor, stat.SpecialMinor);
        Mode = stat.Mode;
    }

    public override uint Mode { get; }

    internal override bool ChecksPermissionsItself => true;

    internal HostFs Filesystem => _fs;

    /// <summary>The pages that the guest has mapped, if it has mapped any.</summary>
    internal HostPageCache? Cache => Volatile.Read(ref _cache);

    /// <summary>Null: the host gives no descriptor more, so nobody can map the file.</summary>
    internal HostPageCache? GetOrCreateCache(int fd)
    {
        lock (_lock)
            return _cache ??= HostPageCache.TryCreate(_fs.Machine.Pages, fd);
    }

    internal override void Opened()
    {
        lock (_lock)
            _openCount++;
    }

    /// <summary>With the last open file, and so the last mapping, the cached pages go; what is dirty goes to the host.</summary>
    internal override void Closed()
    {
        HostPageCache? cache = null;
        lock (_lock)
        {
            if (--_openCount == 0)
                (cache, _cache) = (_cache, null);
        }
        cache?.Free();
    }

    public override long GetAttributes(Dentry self, out InodeAttributes attributes)
    {
        long r = _fs.Stat(self, "", out HostCalls.Statx stat);
        attributes = r < 0 ? default : _fs.ToAttributes(stat);
        return r;
    }

    public override long SetAttributes(Task task, Dentry self, in AttributeChange change)
    {
        long fd = _fs.Open(self, "", change.Size is null ? HostCalls.O_PATH : O_WRONLY | HostCalls.O_NONBLOCK);
        if (fd < 0)
            return fd;
        long r = HostFile.Change(_fs, (int)fd, IsSymlink, change);
        if (change.Size is not null)
            Cache?.SizeChanged(task);
        HostCalls.Close((int)fd);
        return r;
    }

    internal override long Access(Task task, Dentry self, int mask)
    {
        if (IsSymlink)
            return 0;
        long fd = _fs.Open(self, "", HostCalls.O_PATH);
        if (fd < 0)
            return fd;
        long r = HostCalls.AccessAt(HostCalls.AT_FDCWD, HostCalls.DescriptorName((int)fd), mask, 0);
        HostCalls.Close((int)fd);
        return r;
    }

    public override long Open(Task task, Path path, int flags, out OpenFile? file)
    {
        file = null;
        switch (Type)
        {
            case S_IFDIR:
                Opened();
                file = new DirectoryFile(flags) { Path = path };
                return 0;
            case S_IFCHR:
                return Devices.Open(task, path, _specialDevice, flags, out file);
            case S_IFREG:
                // The name may have become a FIFO since it was looked up: never wait for its other end.
                long fd = _fs.Open(path.Dentry, "", (flags & (O_ACCMODE | O_NOATIME | O_SYNC)) | HostCalls.O_NONBLOCK);
                if (fd < 0)
                    return fd;
                if (HostCalls.StatAt((int)fd, "\0"u8, HostCalls.AT_EMPTY_PATH, out HostCalls.Statx stat) < 0 || (stat.Mode & S_IFMT) != S_IFREG)
                {
                    HostCalls.Close((int)fd);
                    return -Errno.ENXIO;
                }
                Opened();
                _fs.Keep((int)fd);
                file = new HostFile(this, (int)fd, flags) { Path = path };
                return 0;
            default:
                return -Errno.ENXIO;
        }
    }

    internal override long CreateOpen(Task task, Path directory, string name, uint mode, int flags, out OpenFile? file)
    {
        file = null;
        int access = (flags & O_ACCMODE) == O_RDONLY ? O_RDONLY : O_RDWR;
        long fd = _fs.Open(directory.Dentry, name, access | O_CREAT | O_EXCL, mode & S_IALLUGO);
        if (fd < 0)
            return fd;
        // The emulator's own umask is not the guest's.
        HostFile.Change(_fs, (int)fd, isSymlink: false, new AttributeChange { Mode = mode });
        long r = Lookup(task, directory.Dentry!, name, out Dentry? child);
        if (r < 0 || child!.Inode is not HostInode inode || !inode.IsRegular)
        {
            HostCalls.Close((int)fd);
            return r < 0 ? r : -Errno.EEXIST;
        }
        inode.Opened();
        _fs.Keep((int)fd);
        file = new HostFile(inode, (int)fd, flags) { Path = directory with { Dentry = child } };
        return 0;
    }

    internal override long OpenNameless(Task task, Path directory, uint mode, int flags, out OpenFile? file)
    {
        file = null;
        long fd = _fs.Open(directory.Dentry, "", (flags & O_ACCMODE) | O_TMPFILE, mode & S_IALLUGO);
        if (fd < 0)
            return fd;
        HostFile.Change(_fs, (int)fd, isSymlink: false, new AttributeChange { Mode = mode });
        HostCalls.StatAt((int)fd, "\0"u8, HostCalls.AT_EMPTY_PATH, out HostCalls.Statx stat);
        var inode = new HostInode(_fs, stat);
        var dentry = new Dentry(_fs, directory.Dentry, $"#{stat.Inode}", inode);
        dentry.MarkUnlinked();
        inode.Opened();
        _fs.Keep((int)fd);
        file = new HostFile(inode, (int)fd, flags) { Path = directory with { Dentry = dentry } };
        return 0;
    }

    public override long Lookup(Task task, Dentry self, string name, out Dentry? child)
    {
        child = null;
        if (!IsDirectory)
            return -Errno.ENOTDIR;
        long r = _fs.Stat(self, name, out HostCalls.Statx stat);
        if (r < 0)
            return r == -Errno.ELOOP || r == -Errno.EXDEV ? -Errno.ENOENT : r;
        lock (_lock)
        {
            _children ??= new(StringComparer.Ordinal);
            if (_children.TryGetValue(name, out WeakReference<Dentry>? weak) && weak.TryGetTarget(out child) && ((HostInode)child.Inode).IsSame(stat))
                return 0;
            child = new Dentry(_fs, self, name, new HostInode(_fs, stat));
            _children[name] = new WeakReference<Dentry>(child);
            Prune();
        }
        return 0;
    }

    private bool IsSame(in HostCalls.Statx stat) =>
        _number == stat.Inode && Mode == stat.Mode && _device == DeviceNumber.Make(stat.DeviceMajor, stat.DeviceMinor);

    private void Prune()
    {
        if (_children!.Count < _pruneAt)
            return;
        foreach ((string name, WeakReference<Dentry> weak) in _children)
        {
            if (!weak.TryGetTarget(out _))
                _children.Remove(name);
        }
        _pruneAt = Math.Max(64, _children.Count * 2);
    }

    public override long List(Task task, Dentry self, List<DirectoryEntry> entries)
    {
        long fd = _fs.Open(self, "", O_RDONLY | O_DIRECTORY);
        if (fd < 0)
            return fd;
        byte[] buffer = new byte[32 << 10];
        long n;
        while ((n = HostCalls.ReadDirectory((int)fd, buffer)) > 0)
        {
            for (int at = 0; at < n;)
            {
                ReadOnlySpan<byte> record = buffer.AsSpan(at, BinaryPrimitives.ReadUInt16LittleEndian(buffer.AsSpan(at + 16)));
                ReadOnlySpan<byte> name = record[19..];
                name = name[..name.IndexOf((byte)0)];
                // Some file systems have longer ones than anybody could open here.
                if (name.Length <= NameMax && !name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8))
                    entries.Add(new DirectoryEntry(Encoding.Latin1.GetString(name), BinaryPrimitives.ReadUInt64LittleEndian(record), record[18]));
                at += record.Length;
            }
        }
        HostCalls.Close((int)fd);
        return n;
    }

    public override long Create(Task task, Dentry self, string name, uint mode, ulong device, out Dentry? child)
    {
        child = null;
        if ((mode & S_IFMT) is S_IFCHR or S_IFBLK)
            return -Errno.EPERM;
        long r = _fs.WithDirectory(self, fd => HostCalls.MakeNodeAt(fd, HostFs.Name(name), mode, 0));
        return r < 0 ? r : SetNewMode(task, self, name, mode, out child);
    }

    public override long MakeDirectory(Task task, Dentry self, string name, uint mode)
    {
        long r = _fs.WithDirectory(self, fd => HostCalls.MakeDirectoryAt(fd, HostFs.Name(name), mode & S_IALLUGO));
        return r < 0 ? r : SetNewMode(task, self, name, mode, out _);
    }

    /// <summary>The emulator's own umask took bits from a new file that the guest's left.</summary>
    private long SetNewMode(Task task, Dentry self, string name, uint mode, out Dentry? child)
    {
        long r = Lookup(task, self, name, out child);
        if (r < 0 || child!.Inode.IsSymlink || (child.Inode.Mode & S_IRWXUGO) == (mode & S_IRWXUGO))
            return r;
        child.Inode.SetAttributes(task, child, new AttributeChange { Mode = mode });
        return Lookup(task, self, name, out child);
    }

    public override long MakeSymlink(Task task, Dentry self, string name, string target) =>
        _fs.WithDirectory(self, fd => HostCalls.SymlinkAt(HostFs.Name(target), fd, HostFs.Name(name)));

    public override long Link(Task task, Dentry self, string name, Dentry target)
    {
        if (target.Parent is not { } from)
            return -Errno.EXDEV;
        return _fs.WithDirectory(from, old => _fs.WithDirectory(self, fd => HostCalls.LinkAt(old, HostFs.Name(target.Name), fd, HostFs.Name(name), 0)));
    }

    public override long Unlink(Task task, Dentry self, Dentry child) => Remove(self, child, 0);

    public override long RemoveDirectory(Task task, Dentry self, Dentry child) => Remove(self, child, AT_REMOVEDIR);

    private long Remove(Dentry self, Dentry child, int flags)
    {
        long r = _fs.WithDirectory(self, fd => HostCalls.UnlinkAt(fd, HostFs.Name(child.Name), flags));
        if (r < 0)
            return r;
        lock (_lock)
            _children?.Remove(child.Name);
        child.MarkUnlinked();
        return 0;
    }

    public override long Rename(Task task, Dentry self, Dentry child, Dentry newDirectory, string newName, int flags)
    {
        string oldName = child.Name;
        long r = _fs.WithDirectory(self, from => _fs.WithDirectory(newDirectory, to =>
            HostCalls.RenameAt(from, HostFs.Name(oldName), to, HostFs.Name(newName), (uint)flags)));
        if (r < 0)
            return r;
        // Open directories below must find their new path; what was at the new name is looked up afresh.
        lock (_lock)
            _children?.Remove(oldName);
        var target = (HostInode)newDirectory.Inode;
        lock (target._lock)
        {
            target._children ??= new(StringComparer.Ordinal);
            if (target._children.TryGetValue(newName, out WeakReference<Dentry>? weak) && weak.TryGetTarget(out Dentry? victim) && (flags & RENAME_EXCHANGE) == 0)
                victim.MarkUnlinked();
            target._children[newName] = new WeakReference<Dentry>(child);
        }
        child.Move(newDirectory, newName);
        return 0;
    }

    public override long ReadLink(Task task, Dentry self, out string target)
    {
        target = "";
        byte[] buffer = new byte[PathMax];
        long fd = _fs.Open(self, "", HostCalls.O_PATH);
        if (fd < 0)
            return fd;
        long n = HostCalls.ReadLinkAt((int)fd, "\0"u8, buffer);
        HostCalls.Close((int)fd);
        if (n < 0)
            return n == -Errno.ENOENT ? -Errno.EINVAL : n;
        target = Encoding.Latin1.GetString(buffer, 0, (int)n);
        return 0;
    }
}
