using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>A file system in guest memory (mm/shmem.c): data in page caches, names in dictionaries.</summary>
public class TmpFs : Filesystem
{
    private readonly string _typeName;

    public TmpFs(Machine machine, uint minor, uint rootMode, uint uid, uint gid, string typeName = "tmpfs")
        : base(machine, minor)
    {
        _typeName = typeName;
        Quota = new ShmemQuota((long)machine.Memory.FrameCount / 2);
        var root = new TmpDirectory(this, S_IFDIR | rootMode, uid, gid);
        Root = new Dentry(this, null, "", root);
    }

    public override string TypeName => _typeName;

    public override ulong Magic => 0x0102_1994;

    /// <summary>Half of the machine's memory may be files (shmem_default_max_blocks).</summary>
    internal ShmemQuota Quota { get; }

    /// <summary>False for the kernel's own instance, whose files (memfds) no mount limits.</summary>
    internal bool IsMounted { get; init; } = true;

    /// <summary>Guards every name of this file system: a leaf lock, held for a few dictionary operations.</summary>
    internal Lock Tree { get; } = new();

    public override long GetStatistics(Dentry dentry, out FilesystemStatistics statistics)
    {
        PageAllocator pages = Machine.Pages;
        statistics = new FilesystemStatistics
        {
            BlockSize = 4096,
            Blocks = (ulong)Quota.MaxPages,
            FreeBlocks = (ulong)Math.Min(pages.FreeFrames, Quota.MaxPages - Quota.UsedPages),
            Files = 1 << 20,
            FreeFiles = 1 << 19,
        };
        return 0;
    }

    /// <summary>A nameless file in memory, as memfd_create and O_TMPFILE make.</summary>
    internal TmpFile NewFile(uint mode, uint uid, uint gid, Seals seals = Seals.Seal) =>
        new(this, S_IFREG | (mode & S_IALLUGO), uid, gid, new ShmemPageCache(Machine.Pages, seals, IsMounted ? Quota : null));

    /// <summary>What mknod makes here: 0 or a negative errno.</summary>
    internal virtual long MakeInode(Task task, uint mode, uint uid, uint gid, ulong device, out MemoryInode? inode)
    {
        inode = (mode & S_IFMT) == S_IFREG ? NewFile(mode, uid, gid) : new SpecialInode(this, mode, uid, gid, device);
        return 0;
    }

    internal virtual bool AllowsSymlinks => true;

    /// <summary>A file whose name stays (-EPERM).</summary>
    internal virtual bool IsProtected(Inode inode) => false;

    /// <summary>Adds a name from the machine's side, for trees that are made at start.</summary>
    internal Dentry AddEntry(Dentry directory, string name, Inode inode)
    {
        var dentry = new Dentry(this, directory, name, inode);
        lock (Tree)
            ((TmpDirectory)directory.Inode).Insert(name, dentry);
        return dentry;
    }

    internal Dentry AddDirectory(Dentry parent, string name, uint mode, uint uid, uint gid) =>
        AddEntry(parent, name, new TmpDirectory(this, S_IFDIR | mode, uid, gid));

    internal Dentry AddFile(Dentry parent, string name, string text, uint mode, uint uid, uint gid)
    {
        TmpFile file = NewFile(mode, uid, gid);
        file.Cache.Write(0, System.Text.Encoding.Latin1.GetBytes(text), task: null);
        return AddEntry(parent, name, file);
    }

    internal Dentry AddSymlink(Dentry parent, string name, string target, uint uid, uint gid) =>
        AddEntry(parent, name, new TmpSymlink(this, target, uid, gid));
}

/// <summary>A file that ends with its last name and its last open file.</summary>
internal interface ICountedInode
{
    /// <summary>A name or an open file has gone.</summary>
    void FreeIfUnused();
}

/// <summary>A regular file of tmpfs.</summary>
internal sealed class TmpFile(TmpFs fs, uint mode, uint uid, uint gid, ShmemPageCache cache) : MemoryInode(fs, mode, uid, gid), ICountedInode
{
    private int _openCount;

    public ShmemPageCache Cache { get; } = cache;

    public override long Size => (long)Cache.Size;

    protected override long Blocks => (Cache.ResidentPages + Cache.SwappedPages) * 8;

    public override long SetAttributes(Task task, Dentry self, in AttributeChange change)
    {
        const uint executable = 0x49;
        bool changesExecution = change.Mode is { } mode && ((mode ^ Mode) & executable) != 0;
        return changesExecution && (Cache.Seals & Seals.Exec) != 0 ? -Errno.EPERM : base.SetAttributes(task, self, change);
    }

    protected override long Resize(Task task, long size) => Cache.Truncate(task, (ulong)size);

    public override long Open(Task task, Path path, int flags, out OpenFile? file)
    {
        Opened();
        file = new MemoryFile(this, flags) { Path = path };
        return 0;
    }

    internal override void Opened() => Interlocked.Increment(ref _openCount);

    internal override void Closed()
    {
        if (Interlocked.Decrement(ref _openCount) == 0)
            FreeIfUnused();
    }

    /// <summary>The pages go when the last name and the last open file are gone.</summary>
    public void FreeIfUnused()
    {
        bool unused;
        lock (fs.Tree)
            unused = LinkCount == 0 && Volatile.Read(ref _openCount) == 0;
        if (unused)
            Cache.Free();
    }
}

/// <summary>A symbolic link of tmpfs.</summary>
internal sealed class TmpSymlink(TmpFs fs, string target, uint uid, uint gid) : MemoryInode(fs, S_IFLNK | S_IRWXUGO, uid, gid)
{
    public override long Size => target.Length;

    public override long ReadLink(Task task, Dentry self, out string result)
    {
        result = target;
        return 0;
    }
}
