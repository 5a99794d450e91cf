using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>A nameless file of hugetlbfs (fs/hugetlbfs/inode.c), as memfd_create makes it; it goes with its last descriptor and mapping.</summary>
internal sealed class HugeTlbInode(AnonymousFilesystem fs, uint mode, uint uid, uint gid, HugeTlbPageCache cache) : MemoryInode(fs, mode, uid, gid)
{
    public HugeTlbPageCache Cache { get; } = cache;

    public override long Size => (long)Cache.Size;

    protected override long Blocks => Cache.ResidentPages << (Cache.Pool.Shift - 9);

    public override long GetAttributes(Dentry self, out InodeAttributes attributes)
    {
        long error = base.GetAttributes(self, out attributes);
        attributes = attributes with { BlockSize = (uint)Cache.Pool.PageSize };
        return error;
    }

    public override long SetAttributes(Task task, Dentry self, in AttributeChange change)
    {
        const uint executable = 0x49;
        bool changesExecution = change.Mode is { } mode && ((mode ^ Mode) & executable) != 0;
        return changesExecution && (Cache.Seals & Seals.Exec) != 0 ? -Errno.EPERM : base.SetAttributes(task, self, change);
    }

    protected override long Resize(Task task, long size) => Cache.Truncate(task, (ulong)size);

    public override long Open(Task task, Path path, int flags, out OpenFile? file)
    {
        Cache.GetUser();
        file = new HugeTlbFile(this, flags) { Path = path };
        return 0;
    }
}

/// <summary>An open file of hugetlbfs: it can be read, but is written through mappings only.</summary>
internal sealed class HugeTlbFile(HugeTlbInode inode, int flags) : OpenFile(flags)
{
    public override bool IsSeekable => true;

    internal override bool CanPoll => false;

    public override PageCache? Mapping => inode.Cache;

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        long n = inode.Cache.Read((ulong)position, buffer, task);
        if (n > 0)
            position += n;
        return n;
    }

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position) => -Errno.EINVAL;

    public override long Seek(Task task, long offset, int whence)
    {
        // No holes are told of (default_llseek).
        if (whence is not (SEEK_DATA or SEEK_HOLE))
            return FileSeek.Apply(this, offset, whence, inode.Size);
        if (offset < 0 || offset >= inode.Size)
            return -Errno.ENXIO;
        return Position = whence == SEEK_DATA ? offset : inode.Size;
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
            return mode switch
            {
                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE => inode.Cache.PunchHole(task, (ulong)offset, (ulong)length),
                0 or FALLOC_FL_KEEP_SIZE => inode.Cache.Allocate(task, (ulong)offset, (ulong)length, keepSize: mode != 0),
                _ => -Errno.EOPNOTSUPP,
            };
        }
    }

    protected override void Release()
    {
        inode.Cache.PutUser();
        base.Release();
    }
}
