using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>read, write and their vector and positional forms (fs/read_write.c).</summary>
internal static class ReadWriteSyscalls
{
    private const int RWF_APPEND = 0x10, RwfKnown = 0x1F;

    internal static readonly SyscallDefinition[] Table =
    [
        new(0, "read", "fd,out:buf,size", Read),
        new(1, "write", "fd,buf,size", Write),
        new(8, "lseek", "fd,int,whence", Seek),
        new(17, "pread64", "fd,out:buf,size,int", ReadAt),
        new(18, "pwrite64", "fd,buf,size,int", WriteAt),
        new(19, "readv", "fd,out:iovec,size", ReadVector),
        new(20, "writev", "fd,iovec,size", WriteVector),
        new(295, "preadv", "fd,out:iovec,size,int", ReadVectorAt),
        new(296, "pwritev", "fd,iovec,size,int", WriteVectorAt),
        new(327, "preadv2", "fd,out:iovec,size,int,int,hex", ReadVectorAt2),
        new(328, "pwritev2", "fd,iovec,size,int,int,hex", WriteVectorAt2),
    ];

    private static long Read(Task t, in SyscallArgs a) => One(t, (int)a.A0, a.A1, a.A2, write: false, null);

    private static long Write(Task t, in SyscallArgs a) => One(t, (int)a.A0, a.A1, a.A2, write: true, null);

    private static long ReadAt(Task t, in SyscallArgs a) => One(t, (int)a.A0, a.A1, a.A2, write: false, (long)a.A3);

    private static long WriteAt(Task t, in SyscallArgs a) => One(t, (int)a.A0, a.A1, a.A2, write: true, (long)a.A3);

    private static long ReadVector(Task t, in SyscallArgs a) => Many(t, (int)a.A0, a.A1, a.A2, write: false, null, 0);

    private static long WriteVector(Task t, in SyscallArgs a) => Many(t, (int)a.A0, a.A1, a.A2, write: true, null, 0);

    private static long ReadVectorAt(Task t, in SyscallArgs a) => Many(t, (int)a.A0, a.A1, a.A2, write: false, (long)a.A3, 0);

    private static long WriteVectorAt(Task t, in SyscallArgs a) => Many(t, (int)a.A0, a.A1, a.A2, write: true, (long)a.A3, 0);

    private static long ReadVectorAt2(Task t, in SyscallArgs a) => Many(t, (int)a.A0, a.A1, a.A2, write: false, AtOrCurrent(a.A3), (int)a.A5);

    private static long WriteVectorAt2(Task t, in SyscallArgs a) => Many(t, (int)a.A0, a.A1, a.A2, write: true, AtOrCurrent(a.A3), (int)a.A5);

    private static long? AtOrCurrent(ulong offset) => offset == ulong.MaxValue ? null : (long)offset;

    private static long One(Task t, int fd, ulong address, ulong length, bool write, long? offset)
    {
        if (offset < 0)
            return -Errno.EINVAL;
        using FileReference reference = t.Files.GetForIo(fd);
        long r = Check(reference.File, write, offset);
        if (r < 0)
            return r;
        Span<IoVector> vector = stackalloc IoVector[1];
        long total = UserTransfer.OneVector(address, length, vector);
        return total < 0 ? total : Transfer(t, reference.File!, vector, total, write, offset);
    }

    private static long Many(Task t, int fd, ulong address, ulong count, bool write, long? offset, int flags)
    {
        if (offset < 0)
            return -Errno.EINVAL;
        using FileReference reference = t.Files.GetForIo(fd);
        long r = Check(reference.File, write, offset);
        if (r < 0)
            return r;
        long total = UserTransfer.ReadVectors(t, address, count, out IoVector[] vectors);
        if (total < 0)
            return total;
        if ((flags & ~RwfKnown) != 0)
            return -Errno.EOPNOTSUPP;
        if (write && (flags & RWF_APPEND) != 0 && reference.File!.GetAttributes(out InodeAttributes attributes) == 0)
            offset = offset is null ? null : attributes.Size;
        return Transfer(t, reference.File!, vectors, total, write, offset);
    }

    private static long Check(OpenFile? file, bool write, long? offset)
    {
        if (file is null)
            return -Errno.EBADF;
        if (offset is not null && !file.IsSeekable && file is not HostStream { Positional: not null })
            return -Errno.ESPIPE;
        return (write ? CanWrite(file.Flags) : CanRead(file.Flags)) ? 0 : -Errno.EBADF;
    }

    private static long Transfer(Task t, OpenFile file, ReadOnlySpan<IoVector> vectors, long total, bool write, long? offset)
    {
        if (offset is not null && file is HostStream { Positional: { } view })
            file = view;
        if (offset is { } at)
            return write ? UserTransfer.Write(t, file, vectors, total, ref at) : UserTransfer.Read(t, file, vectors, total, ref at);
        if (!file.IsSeekable)
        {
            long none = 0;
            return write ? UserTransfer.Write(t, file, vectors, total, ref none) : UserTransfer.Read(t, file, vectors, total, ref none);
        }
        using (file.PositionLock.Enter(t))
        {
            long position = file.Position;
            long r = write ? UserTransfer.Write(t, file, vectors, total, ref position) : UserTransfer.Read(t, file, vectors, total, ref position);
            file.Position = position;
            return r;
        }
    }

    private static long Seek(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        if ((uint)a.A2 > SEEK_HOLE)
            return -Errno.EINVAL;
        if (!file.IsSeekable)
            return file.Seek(t, (long)a.A1, (int)a.A2);
        using (file.PositionLock.Enter(t))
            return file.Seek(t, (long)a.A1, (int)a.A2);
    }
}
