using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>A directory of tmpfs.</summary>
/// <remarks>In bounds: each name is counted in the kernel's memory, with what a symbolic link says.</remarks>
internal sealed class TmpDirectory : MemoryInode
{
    /// <summary>What tmpfs counts for a name (mm/shmem.c:BOGO_DIRENT_SIZE).</summary>
    private const int EntrySize = 20;

    /// <summary>So deep, a directory that is removed still knows where it was; one that was deeper is then in the root, where ".." leads and which its name shows.</summary>
    private const int KeptParents = 16;

    private readonly TmpFs _fs;
    private readonly Dictionary<string, Dentry> _entries = new(StringComparer.Ordinal);
    private bool _removed;

    public TmpDirectory(TmpFs fs, uint mode, uint uid, uint gid)
        : base(fs, mode, uid, gid)
    {
        _fs = fs;
        LinkCount = 2;
    }

    public override long Size => (_entries.Count + 2) * EntrySize;

    public override long Open(Task task, Path path, int flags, out OpenFile? file)
    {
        file = new DirectoryFile(flags) { Path = path };
        return 0;
    }

    public override long Lookup(Task task, Dentry self, string name, out Dentry? child)
    {
        lock (_fs.Tree)
            return _entries.TryGetValue(name, out child) ? 0 : -Errno.ENOENT;
    }

    public override long List(Task task, Dentry self, List<DirectoryEntry> entries)
    {
        lock (_fs.Tree)
        {
            foreach ((string name, Dentry d) in _entries)
                entries.Add(new DirectoryEntry(name, ((MemoryInode)d.Inode).Number, DirectoryType(d.Inode.Mode)));
        }
        TouchAccess();
        return 0;
    }

    public override long Create(Task task, Dentry self, string name, uint mode, ulong device, out Dentry? child)
    {
        (uint uid, uint gid) = Owner(task);
        child = null;
        long error = _fs.MakeInode(task, mode, uid, gid, device, out MemoryInode? inode);
        if (error < 0)
            return error;
        error = Add(self, name, inode!, out child);
        if (error < 0)
        {
            inode!.LinkCount = 0;
            (inode as ICountedInode)?.FreeIfUnused();
        }
        return error;
    }

    public override long MakeDirectory(Task task, Dentry self, string name, uint mode)
    {
        (uint uid, uint gid) = Owner(task);
        uint inherited = Mode & S_ISGID;
        return Add(self, name, new TmpDirectory(_fs, S_IFDIR | (mode & S_IALLUGO) | inherited, uid, gid), out _);
    }

    public override long MakeSymlink(Task task, Dentry self, string name, string target)
    {
        if (!_fs.AllowsSymlinks)
            return -Errno.EPERM;
        (uint uid, uint gid) = Owner(task);
        return Add(self, name, new TmpSymlink(_fs, target, uid, gid), out _);
    }

    internal override long OpenNameless(Task task, Path directory, uint mode, int flags, out OpenFile? file)
    {
        if (!_fs.AllowsSymlinks)
            return base.OpenNameless(task, directory, mode, flags, out file);
        (uint uid, uint gid) = Owner(task);
        TmpFile inode = _fs.NewFile(mode, uid, gid);
        inode.LinkCount = 0;
        var dentry = new Dentry(_fs, directory.Dentry, $"#{inode.Number}", inode);
        dentry.MarkUnlinked();
        return inode.Open(task, directory with { Dentry = dentry }, flags, out file);
    }

    public override long Link(Task task, Dentry self, string name, Dentry target)
    {
        var inode = (MemoryInode)target.Inode;
        lock (_fs.Tree)
        {
            if (_removed)
                return -Errno.ENOENT;
            if (_entries.ContainsKey(name))
                return -Errno.EEXIST;
            if (Enter(name, new Dentry(_fs, self, name, inode)) is < 0 and var error)
                return error;
            inode.LinkCount++;
        }
        inode.TouchChange();
        Touch();
        return 0;
    }

    public override long Unlink(Task task, Dentry self, Dentry child)
    {
        if (_fs.IsProtected(child.Inode))
            return -Errno.EPERM;
        lock (_fs.Tree)
        {
            if (!Holds(child))
                return -Errno.ENOENT;
            Drop(child);
        }
        Touch();
        Forget(child);
        return 0;
    }

    public override long RemoveDirectory(Task task, Dentry self, Dentry child)
    {
        var directory = (TmpDirectory)child.Inode;
        lock (_fs.Tree)
        {
            if (!Holds(child))
                return -Errno.ENOENT;
            if (directory._entries.Count != 0)
                return -Errno.ENOTEMPTY;
            Drop(child);
        }
        Touch();
        return 0;
    }

    public override long Rename(Task task, Dentry self, Dentry child, Dentry newDirectory, string newName, int flags)
    {
        if (_fs.IsProtected(child.Inode))
            return -Errno.EPERM;
        var to = (TmpDirectory)newDirectory.Inode;
        Dentry? victim;
        lock (_fs.Tree)
        {
            if (!Holds(child))
                return -Errno.ENOENT;
            if (to._removed)
                return -Errno.ENOENT;
            to._entries.TryGetValue(newName, out victim);
            if (victim is not null && _fs.IsProtected(victim.Inode))
                return -Errno.EPERM;
            long r = CheckRename(child, newDirectory, victim, flags);
            if (r != 0)
                return r < 0 ? r : 0;
            if ((flags & RENAME_EXCHANGE) != 0)
            {
                string oldName = child.Name;
                Take(child);
                to.Take(victim!);
                victim!.Move(self, oldName);
                child.Move(newDirectory, newName);
                Put(victim);
                to.Put(child);
                victim = null;
            }
            else
            {
                if (victim is not null)
                    to.Drop(victim);
                Take(child);
                child.Move(newDirectory, newName);
                to.Put(child);
            }
        }
        Touch();
        to.Touch();
        ((MemoryInode)child.Inode).TouchChange();
        if (victim is not null)
            Forget(victim);
        return 0;
    }

    /// <summary>The rules of rename(2), in fs/namei.c's order. 1 means there is nothing to do.</summary>
    private static long CheckRename(Dentry child, Dentry newDirectory, Dentry? victim, int flags)
    {
        bool exchange = (flags & RENAME_EXCHANGE) != 0;
        if (exchange && victim is null)
            return -Errno.ENOENT;
        if ((flags & RENAME_NOREPLACE) != 0 && victim is not null)
            return -Errno.EEXIST;
        if (child.Inode.IsDirectory && newDirectory.IsWithin(child))
            return -Errno.EINVAL;
        if (victim is null)
            return 0;
        // vfs_rename, first of all: two names of one inode, or one name twice, are left as they are.
        if (ReferenceEquals(victim.Inode, child.Inode))
            return 1;
        if (exchange)
            return child.Parent is { } parent && victim.Inode.IsDirectory && parent.IsWithin(victim) ? -Errno.EINVAL : 0;
        if (child.Parent is { } from && from.IsWithin(victim))
            return -Errno.ENOTEMPTY;
        if (child.Inode.IsDirectory != victim.Inode.IsDirectory)
            return victim.Inode.IsDirectory ? -Errno.EISDIR : -Errno.ENOTDIR;
        return victim.Inode is TmpDirectory { _entries.Count: > 0 } ? -Errno.ENOTEMPTY : 0;
    }

    internal void Insert(string name, Dentry dentry)
    {
        _entries.Add(name, dentry);
        if (dentry.Inode is TmpDirectory)
            LinkCount++;
    }

    private long Add(Dentry self, string name, Inode inode, out Dentry? child)
    {
        child = new Dentry(_fs, self, name, inode);
        lock (_fs.Tree)
        {
            if (_removed)
                return -Errno.ENOENT;
            if (_entries.ContainsKey(name))
                return -Errno.EEXIST;
            if (Enter(name, child) is < 0 and var error)
                return error;
        }
        Touch();
        return 0;
    }

    private bool Holds(Dentry child) => _entries.TryGetValue(child.Name, out Dentry? there) && ReferenceEquals(there, child);

    private void Take(Dentry child)
    {
        _entries.Remove(child.Name);
        if (child.Inode is TmpDirectory)
            LinkCount--;
    }

    /// <summary>Enters a name that is new, and pays for it and for what a symbolic link says. The caller holds the tree's lock.</summary>
    private long Enter(string name, Dentry child)
    {
        long target = child.Inode is TmpSymlink link ? link.Size : 0;
        long cost = Memory.KernelMemory.Name + (name.Length + target) * sizeof(char);
        if (!_fs.Machine.KernelMemory.TryCharge(cost))
            return -Errno.ENOSPC;
        child.Cost = cost;
        Insert(name, child);
        return 0;
    }

    private void Put(Dentry child) => Insert(child.Name, child);

    private void Drop(Dentry child)
    {
        Take(child);
        _fs.Machine.KernelMemory.Uncharge(child.Cost);
        child.Cost = 0;
        child.MarkUnlinked();
        if (child.Inode is TmpDirectory directory)
        {
            directory._removed = true;
            directory.LinkCount = 0;
            // Counted no longer, but kept by whoever is in it or below: a chain of thousands of them must not hang on one descriptor.
            if (child.IsDeeperThan(KeptParents))
                child.Move(_fs.Root, child.Name);
        }
        else
        {
            ((MemoryInode)child.Inode).LinkCount--;
        }
    }

    private static void Forget(Dentry child)
    {
        ((MemoryInode)child.Inode).TouchChange();
        (child.Inode as ICountedInode)?.FreeIfUnused();
    }

    /// <summary>New files belong to the caller, and to the directory's group where that is set-group-ID.</summary>
    private (uint Uid, uint Gid) Owner(Task task)
    {
        uint gid = task.Credentials.EffectiveGid;
        if ((Mode & S_ISGID) != 0 && GetAttributes(null!, out InodeAttributes mine) == 0)
            gid = mine.Gid;
        return (task.Credentials.EffectiveUid, gid);
    }
}

/// <summary>A FIFO, socket or device node.</summary>
internal sealed class SpecialInode(Filesystem fs, uint mode, uint uid, uint gid, ulong device) : MemoryInode(fs, mode, uid, gid, device);
