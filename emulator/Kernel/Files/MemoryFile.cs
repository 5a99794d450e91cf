using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>An open regular file of tmpfs.</summary>
internal sealed class MemoryFile(TmpFile inode, int flags) : OpenFile(flags)
{
    public override bool IsSeekable => true;

    internal override bool CanPoll => false;

    public override PageCache? Mapping => inode.Cache;

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        long n = inode.Cache.Read((ulong)position, buffer, task);
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
            long n = inode.Cache.Write((ulong)position, buffer[..(int)allowed], task);
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
            if (!inode.Cache.TryFindData(page, out ulong at) || (at << 12) >= (ulong)size)
                return -Errno.ENXIO;
            return Math.Max(offset, (long)(at << 12));
        }
        ulong hole = inode.Cache.FindHole(page, ((ulong)size + 0xFFF) >> 12);
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
                0 or FALLOC_FL_KEEP_SIZE => inode.Cache.Allocate(task, (ulong)offset, (ulong)length, keepSize: mode != 0),
                _ => -Errno.EOPNOTSUPP,
            };
            if (r == 0)
                inode.Touch();
            return r;
        }
    }
}
