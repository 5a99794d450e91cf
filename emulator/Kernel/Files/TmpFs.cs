using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>A file system in guest memory (mm/shmem.c): data in page caches, names in dictionaries.</summary>
public sealed class TmpFs : Filesystem
{
    private readonly string _typeName;

    public TmpFs(Machine machine, uint minor, uint rootMode, uint uid, uint gid, string typeName = "tmpfs")
        : base(machine, minor)
    {
        _typeName = typeName;
        var root = new TmpDirectory(this, S_IFDIR | rootMode, uid, gid);
        Root = new Dentry(this, null, "", root);
    }

    public override string TypeName => _typeName;

    public override ulong Magic => 0x0102_1994;

    /// <summary>Guards every name of this file system: a leaf lock, held for a few dictionary operations.</summary>
    internal Lock Tree { get; } = new();

    public override long GetStatistics(Dentry dentry, out FilesystemStatistics statistics)
    {
        PageAllocator pages = Machine.Pages;
        statistics = new FilesystemStatistics
        {
            BlockSize = 4096,
            Blocks = Machine.Memory.FrameCount / 2,
            FreeBlocks = Math.Min((ulong)pages.FreeFrames, Machine.Memory.FrameCount / 2),
            Files = 1 << 20,
            FreeFiles = 1 << 19,
        };
        return 0;
    }

    /// <summary>A nameless file in memory, as memfd_create and O_TMPFILE make.</summary>
    internal TmpFile NewFile(uint mode, uint uid, uint gid, Seals seals = Seals.Seal) =>
        new(this, S_IFREG | (mode & S_IALLUGO), uid, gid, new ShmemPageCache(Machine.Pages, seals));

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
        file.Cache.Write(0, System.Text.Encoding.Latin1.GetBytes(text));
        return AddEntry(parent, name, file);
    }

    internal Dentry AddSymlink(Dentry parent, string name, string target, uint uid, uint gid) =>
        AddEntry(parent, name, new TmpSymlink(this, target, uid, gid));
}

/// <summary>A regular file of tmpfs.</summary>
internal sealed class TmpFile(TmpFs fs, uint mode, uint uid, uint gid, ShmemPageCache cache) : MemoryInode(fs, mode, uid, gid)
{
    private int _openCount;

    public ShmemPageCache Cache { get; } = cache;

    public override long Size => (long)Cache.Size;

    protected override long Blocks => Cache.ResidentPages * 8;

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
    internal void FreeIfUnused()
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

/// <summary>An open regular file of tmpfs.</summary>
internal sealed class MemoryFile(TmpFile inode, int flags) : OpenFile(flags)
{
    public override bool IsSeekable => true;

    internal override bool CanPoll => false;

    public override PageCache? Mapping => inode.Cache;

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        long n = inode.Cache.Read((ulong)position, buffer);
        if (n > 0)
            position += n;
        if ((Flags & O_NOATIME) == 0)
            inode.TouchAccess();
        return n;
    }

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position)
    {
        using (inode.WriteLock.Enter(task))
        {
            if ((Flags & O_APPEND) != 0)
                position = inode.Size;
            long allowed = FileLimits.Clip(task, position, buffer.Length);
            if (allowed < 0)
                return allowed;
            long n = inode.Cache.Write((ulong)position, buffer[..(int)allowed]);
            if (n > 0)
            {
                position += n;
                inode.Touch();
            }
            return n;
        }
    }

    public override long Seek(Task task, long offset, int whence)
    {
        if (whence is SEEK_DATA or SEEK_HOLE)
        {
            long found = FindExtent(offset, whence == SEEK_DATA);
            return found < 0 ? found : Position = found;
        }
        return FileSeek.Apply(this, offset, whence, inode.Size);
    }

    private long FindExtent(long offset, bool data)
    {
        long size = inode.Size;
        if (offset < 0 || offset >= size)
            return -Errno.ENXIO;
        ulong page = (ulong)offset >> 12;
        if (data)
        {
            if (!inode.Cache.TryFindPage(page, out ulong at) || (at << 12) >= (ulong)size)
                return -Errno.ENXIO;
            return Math.Max(offset, (long)(at << 12));
        }
        ulong hole = page;
        while ((hole << 12) < (ulong)size && inode.Cache.Contains(hole))
            hole++;
        return Math.Clamp((long)(hole << 12), offset, size);
    }

    public override long Sync(Task task) => 0;

    public override long Truncate(Task task, long length)
    {
        using (inode.WriteLock.Enter(task))
            return inode.SetAttributes(task, Path.Dentry!, new AttributeChange { Size = length });
    }

    public override long Allocate(Task task, int mode, long offset, long length)
    {
        using (inode.WriteLock.Enter(task))
        {
            long r = mode switch
            {
                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE => inode.Cache.PunchHole(task, (ulong)offset, (ulong)length),
                0 or FALLOC_FL_KEEP_SIZE => inode.Cache.Allocate((ulong)offset, (ulong)length, keepSize: mode != 0),
                _ => -Errno.EOPNOTSUPP,
            };
            if (r == 0)
                inode.Touch();
            return r;
        }
    }
}
