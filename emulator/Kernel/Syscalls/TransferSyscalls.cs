using System.Buffers;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>Copies between descriptors that do not pass user memory (fs/splice.c), and getrandom.</summary>
internal static class TransferSyscalls
{
    private const int ChunkSize = 64 << 10;
    private const uint SPLICE_F_NONBLOCK = 2, SpliceKnown = 15, GRND_RANDOM = 2, GRND_INSECURE = 4, GrndKnown = 7;

    internal static readonly SyscallDefinition[] Table =
    [
        new(40, "sendfile", "fd,fd,ptr,size", SendFile),
        new(275, "splice", "fd,ptr,fd,ptr,size,hex", Splice),
        new(276, "tee", "fd,fd,size,hex", Tee),
        new(278, "vmsplice", "fd,iovec,size,hex", VmSplice),
        new(318, "getrandom", "out:buf,size,hex", GetRandom),
        new(326, "copy_file_range", "fd,ptr,fd,ptr,size,hex", CopyFileRange),
    ];

    /// <summary>Copies until <paramref name="count"/>, the end of the input, or an output that takes no more. Both offsets advance by what was written.</summary>
    private static long Copy(Task t, OpenFile input, ref long inputAt, OpenFile output, ref long outputAt, ulong count)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(ChunkSize);
        try
        {
            ulong done = 0;
            while (done < count)
            {
                int wanted = (int)Math.Min(ChunkSize, count - done);
                long start = inputAt;
                long n = input.Read(t, buffer.AsSpan(0, wanted), ref inputAt);
                if (n <= 0)
                    return done > 0 ? (long)done : n;
                long written = output.Write(t, buffer.AsSpan(0, (int)n), ref outputAt);
                inputAt = start + Math.Max(0, written);
                if (written < 0)
                    return done > 0 ? (long)done : written;
                done += (ulong)written;
                if (written < wanted)
                    break;
            }
            return (long)done;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Copies with offsets in user memory; a null pointer means the file's own.</summary>
    private static long CopyAt(Task t, OpenFile input, ulong inputPointer, OpenFile output, ulong outputPointer, ulong count)
    {
        long inputAt = input.Position, outputAt = output.Position;
        if (inputPointer != 0 && !t.TryRead(inputPointer, out inputAt))
            return -Errno.EFAULT;
        if (outputPointer != 0 && !t.TryRead(outputPointer, out outputAt))
            return -Errno.EFAULT;
        if ((inputPointer != 0 && inputAt < 0) || (outputPointer != 0 && outputAt < 0))
            return -Errno.EINVAL;
        long r = Copy(t, input, ref inputAt, output, ref outputAt, Math.Min(count, MaxTransfer));
        if (inputPointer == 0)
            input.Position = inputAt;
        else if (!t.TryWrite(inputPointer, inputAt))
            return -Errno.EFAULT;
        if (outputPointer == 0)
            output.Position = outputAt;
        else if (!t.TryWrite(outputPointer, outputAt))
            return -Errno.EFAULT;
        return r;
    }

    private static long SendFile(Task t, in SyscallArgs a)
    {
        using FileReference output = t.Files.GetForIo((int)a.A0);
        using FileReference input = t.Files.GetForIo((int)a.A1);
        if (input.File is null || !CanRead(input.File.Flags) || output.File is null || !CanWrite(output.File.Flags))
            return -Errno.EBADF;
        if (a.A2 != 0 && !input.File.IsSeekable)
            return -Errno.ESPIPE;
        if (!input.File.IsSeekable && input.File is not (HostStream or PipeFile) || (output.File.Flags & O_APPEND) != 0)
            return -Errno.EINVAL;
        if (input.File.Inode is { IsDirectory: true })
            return -Errno.EINVAL;
        return CopyAt(t, input.File, a.A2, output.File, 0, a.A3);
    }

    private static long CopyFileRange(Task t, in SyscallArgs a)
    {
        using FileReference input = t.Files.GetForIo((int)a.A0);
        using FileReference output = t.Files.GetForIo((int)a.A2);
        if (input.File is not { } from || output.File is not { } to)
            return -Errno.EBADF;
        if (a.A5 != 0)
            return -Errno.EINVAL;
        if (from.Inode is { IsDirectory: true } || to.Inode is { IsDirectory: true })
            return -Errno.EISDIR;
        if (from.Inode is not { IsRegular: true } || to.Inode is not { IsRegular: true })
            return -Errno.EINVAL;
        if (!CanRead(from.Flags) || !CanWrite(to.Flags) || (to.Flags & O_APPEND) != 0)
            return -Errno.EBADF;
        if (from.Path.Dentry!.Filesystem != to.Path.Dentry!.Filesystem)
            return -Errno.EXDEV;
        return CopyAt(t, from, a.A1, to, a.A3, a.A4);
    }

    private static long Splice(Task t, in SyscallArgs a)
    {
        if (a.A4 == 0)
            return 0;
        if (((uint)a.A5 & ~SpliceKnown) != 0)
            return -Errno.EINVAL;
        using FileReference input = t.Files.GetForIo((int)a.A0);
        using FileReference output = t.Files.GetForIo((int)a.A2);
        if (input.File is not { } from || output.File is not { } to || !CanRead(from.Flags) || !CanWrite(to.Flags))
            return -Errno.EBADF;
        if (from is not PipeFile && to is not PipeFile)
            return -Errno.EINVAL;
        if ((from is PipeFile && a.A1 != 0) || (to is PipeFile && a.A3 != 0))
            return -Errno.ESPIPE;
        if (from is PipeFile x && to is PipeFile y && ReferenceEquals(x.Pipe, y.Pipe))
            return -Errno.EINVAL;
        if ((to.Flags & O_APPEND) != 0)
            return -Errno.EINVAL;
        // No more than fits is taken from a pipe: what was read but not written would be lost.
        ulong count = a.A4;
        if (to is PipeFile target)
        {
            bool nonBlocking = to.IsNonBlocking || ((uint)a.A5 & SPLICE_F_NONBLOCK) != 0;
            long room = target.Pipe.WaitForRoom(t, nonBlocking);
            if (room < 0)
                return room;
            count = Math.Min(count, (ulong)room);
        }
        if (from is PipeFile { Pipe: { Available: 0, Writers: > 0 } } && ((uint)a.A5 & SPLICE_F_NONBLOCK) != 0)
            return -Errno.EAGAIN;
        // One chunk: a splice returns what is there rather than wait for more.
        return CopyAt(t, from, a.A1, to, a.A3, Math.Min(count, ChunkSize));
    }

    private static long Tee(Task t, in SyscallArgs a)
    {
        if (((uint)a.A3 & ~SpliceKnown) != 0)
            return -Errno.EINVAL;
        if (a.A2 == 0)
            return 0;
        using FileReference input = t.Files.GetForIo((int)a.A0);
        using FileReference output = t.Files.GetForIo((int)a.A1);
        if (input.File is null || output.File is null || !CanRead(input.File.Flags) || !CanWrite(output.File.Flags))
            return -Errno.EBADF;
        if (input.File is not PipeFile from || output.File is not PipeFile to || ReferenceEquals(from.Pipe, to.Pipe))
            return -Errno.EINVAL;
        bool nonBlocking = ((uint)a.A3 & SPLICE_F_NONBLOCK) != 0;
        long r = from.Pipe.WaitForData(t, nonBlocking);
        if (r <= 0)
            return r;
        long room = to.Pipe.WaitForRoom(t, nonBlocking);
        if (room < 0)
            return room;
        byte[] buffer = ArrayPool<byte>.Shared.Rent(ChunkSize);
        int n = from.Pipe.TryRead(buffer.AsSpan(0, (int)Math.Min(Math.Min(a.A2, (ulong)room), ChunkSize)), consume: false);
        r = n == 0 ? 0 : to.Pipe.Write(t, buffer.AsSpan(0, n), nonBlocking);
        ArrayPool<byte>.Shared.Return(buffer);
        return r;
    }

    private static long VmSplice(Task t, in SyscallArgs a)
    {
        if (((uint)a.A3 & ~SpliceKnown) != 0)
            return -Errno.EINVAL;
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is not PipeFile pipe)
            return -Errno.EBADF;
        long total = UserTransfer.ReadVectors(t, a.A1, a.A2, out IoVector[] vectors);
        if (total <= 0)
            return total;
        long none = 0;
        return CanWrite(pipe.Flags) ? UserTransfer.Write(t, pipe, vectors, total, ref none) : UserTransfer.Read(t, pipe, vectors, total, ref none);
    }

    private static long GetRandom(Task t, in SyscallArgs a)
    {
        uint flags = (uint)a.A2;
        if ((flags & ~GrndKnown) != 0 || (flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
            return -Errno.EINVAL;
        ulong length = Math.Min(a.A1, MaxTransfer);
        Span<byte> chunk = stackalloc byte[256];
        ulong done = 0;
        while (done < length)
        {
            Span<byte> part = chunk[..(int)Math.Min((ulong)chunk.Length, length - done)];
            t.Machine.Random.Fill(part);
            int n = t.CopyToUserPartial(a.A0 + done, part);
            done += (ulong)n;
            if (n < part.Length)
                return done > 0 ? (long)done : -Errno.EFAULT;
            if (t.SignalPending && done >= 256)
                break;
        }
        return (long)done;
    }
}
