using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files.Host;

/// <summary>An open regular file of the host.</summary>
internal sealed class HostFile(HostInode inode, int fd, int flags) : OpenFile(flags)
{
    public override bool IsSeekable => true;

    internal override bool CanPoll => false;

    public override PageCache? Mapping => inode.GetOrCreateCache(fd);

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        // What the guest stored through a shared mapping may not have reached the host yet.
        long n = inode.Cache is { } cache ? cache.Read((ulong)position, buffer, task) : HostCalls.ReadAt(fd, buffer, position);
        if (n > 0)
            position += n;
        return n;
    }

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position)
    {
        using (inode.WriteLock.Enter(task))
        {
            if ((Flags & O_APPEND) != 0)
            {
                long size = Size();
                if (size < 0)
                    return size;
                position = size;
            }
            long allowed = FileLimits.Clip(task, position, buffer.Length);
            if (allowed < 0)
                return allowed;
            ReadOnlySpan<byte> part = buffer[..(int)allowed];
            long n = inode.Cache is { } cache ? cache.Write((ulong)position, part, task) : HostCalls.WriteAt(fd, part, position);
            if (n > 0)
                position += n;
            return n;
        }
    }

    private long Size()
    {
        long r = HostCalls.StatAt(fd, "\0"u8, HostCalls.AT_EMPTY_PATH, out HostCalls.Statx stat);
        return r < 0 ? r : (long)stat.Size;
    }

    public override long Seek(Task task, long offset, int whence)
    {
        if (whence is SEEK_DATA or SEEK_HOLE)
        {
            long found = HostCalls.Seek(fd, offset, whence);
            return found < 0 ? found : Position = found;
        }
        long size = whence == SEEK_END ? Size() : 0;
        return size < 0 ? size : FileSeek.Apply(this, offset, whence, size);
    }

    public override long Sync(Task task)
    {
        inode.Cache?.Sync(task, 0, ulong.MaxValue >> 12);
        return HostCalls.Sync(fd);
    }

    public override long Truncate(Task task, long length)
    {
        using (inode.WriteLock.Enter(task))
        {
            inode.Cache?.WriteBack(0, ulong.MaxValue >> 12);
            long r = HostCalls.Truncate(fd, length);
            inode.Cache?.SizeChanged(task);
            return r;
        }
    }

    public override long Allocate(Task task, int mode, long offset, long length)
    {
        using (inode.WriteLock.Enter(task))
        {
            inode.Cache?.WriteBack(0, ulong.MaxValue >> 12);
            long r = HostCalls.Allocate(fd, mode, offset, length);
            inode.Cache?.SizeChanged(task);
            return r;
        }
    }

    public override long GetAttributes(out InodeAttributes attributes)
    {
        long r = HostCalls.StatAt(fd, "\0"u8, HostCalls.AT_EMPTY_PATH, out HostCalls.Statx stat);
        attributes = r < 0 ? default : inode.Filesystem.ToAttributes(stat);
        return r;
    }

    public override long SetAttributes(Task task, in AttributeChange change) =>
        change.Size is { } size ? Truncate(task, size) : Change(inode.Filesystem, fd, isSymlink: false, change);

    /// <summary>Applies a change to the file of a descriptor, which may be an O_PATH one: names could meanwhile have become links.</summary>
    internal static long Change(HostFs fs, int fd, bool isSymlink, in AttributeChange change)
    {
        byte[] name = HostCalls.DescriptorName(fd);
        long r = 0;
        if (change.Size is { } size)
            r = HostCalls.Truncate(fd, size);
        if (r == 0 && (change.Uid is not null || change.Gid is not null))
            r = HostCalls.ChangeOwnerAt(fd, "\0"u8, Id(change.Uid, fs.ToHostUid), Id(change.Gid, fs.ToHostGid), HostCalls.AT_EMPTY_PATH);
        if (r == 0 && change.Mode is { } mode)
            r = isSymlink ? -Errno.EOPNOTSUPP : HostCalls.ChangeModeAt(HostCalls.AT_FDCWD, name, mode & S_IALLUGO);
        if (r == 0 && (change.AccessTime is not null || change.ModifyTime is not null))
        {
            const long Omit = 0x3FFFFFFE;
            ReadOnlySpan<long> times =
            [
                change.AccessTime?.Seconds ?? 0, change.AccessTime?.Nanoseconds ?? Omit,
                change.ModifyTime?.Seconds ?? 0, change.ModifyTime?.Nanoseconds ?? Omit,
            ];
            r = isSymlink ? HostCalls.SetTimesAt(fd, "\0"u8, times, HostCalls.AT_EMPTY_PATH) : HostCalls.SetTimesAt(HostCalls.AT_FDCWD, name, times, 0);
        }
        return r;
    }

    private static uint Id(uint? id, Func<uint, uint> map) => id is { } given ? map(given) : uint.MaxValue;

    protected override void Release()
    {
        inode.Cache?.WriteBack(0, ulong.MaxValue >> 12);
        inode.Filesystem.CloseFile(fd);
    }
}
