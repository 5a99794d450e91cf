using System.Buffers;
using System.Runtime.InteropServices;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>struct iovec.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct IoVector
{
    public ulong Base;
    public ulong Length;
}

/// <summary>Moves data between user memory and open files, through pooled buffers of a fixed size whatever the guest asks for.</summary>
/// <remarks>In bounds: a call has as many vectors as its array, which is read once and has no more than UIO_MAXIOV; their lengths are cut to MAX_RW_COUNT together, and pieces to the buffer's length.</remarks>
internal static class UserTransfer
{
    /// <summary>UIO_MAXIOV.</summary>
    public const int MaxVectors = 1024;

    private const int ChunkSize = 128 << 10;

    /// <summary>Reads an iovec array and checks it (lib/iov_iter.c:import_iovec); lengths beyond MAX_RW_COUNT are cut.</summary>
    public static long ReadVectors(Task task, ulong address, ulong count, out IoVector[] vectors)
    {
        vectors = [];
        if (count > MaxVectors)
            return -Errno.EINVAL;
        vectors = new IoVector[count];
        if (!task.CopyFromUser(address, MemoryMarshal.AsBytes(vectors.AsSpan())))
            return -Errno.EFAULT;
        ulong total = 0;
        foreach (ref IoVector v in vectors.AsSpan())
        {
            if ((long)v.Length < 0)
                return -Errno.EINVAL;
            if (!UserAccess.IsUserRange(v.Base, v.Length))
                return -Errno.EFAULT;
            v.Length = Math.Min(v.Length, FileAbi.MaxTransfer - total);
            total += v.Length;
        }
        return (long)total;
    }

    /// <summary>One buffer as a vector; checks that it lies in user space.</summary>
    public static long OneVector(ulong address, ulong length, Span<IoVector> vector)
    {
        if ((long)length < 0)
            return -Errno.EINVAL;
        if (!UserAccess.IsUserRange(address, length))
            return -Errno.EFAULT;
        vector[0] = new IoVector { Base = address, Length = Math.Min(length, FileAbi.MaxTransfer) };
        return (long)vector[0].Length;
    }

    public static long Read(Task task, OpenFile file, ReadOnlySpan<IoVector> vectors, long total, ref long position)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(total, ChunkSize));
        try
        {
            var to = new Cursor(vectors);
            long done = 0;
            do
            {
                int chunk = (int)Math.Min(total - done, ChunkSize);
                long start = position;
                long n = file.Read(task, buffer.AsSpan(0, chunk), ref position);
                if (n <= 0)
                    return done > 0 ? done : n;
                int copied = to.CopyToUser(task, buffer.AsSpan(0, (int)n));
                done += copied;
                if (copied < n)
                {
                    position = file.IsSeekable ? start + copied : position;
                    return done > 0 ? done : -Errno.EFAULT;
                }
                if (n < chunk || !file.IsSeekable)
                    break;
            }
            while (done < total);
            return done;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    public static long Write(Task task, OpenFile file, ReadOnlySpan<IoVector> vectors, long total, ref long position)
    {
        if (file.KeepsMessages && total > ChunkSize)
            return -Errno.EMSGSIZE;
        byte[] buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(total, ChunkSize));
        try
        {
            var from = new Cursor(vectors);
            long done = 0;
            do
            {
                int chunk = (int)Math.Min(total - done, ChunkSize);
                int copied = from.CopyFromUser(task, buffer.AsSpan(0, chunk));
                if (copied == 0 && chunk > 0)
                    return done > 0 ? done : -Errno.EFAULT;
                long n = file.Write(task, buffer.AsSpan(0, copied), ref position);
                if (n < 0)
                    return done > 0 ? done : n;
                done += n;
                if (n < chunk)
                    break;
            }
            while (done < total);
            return done;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>A place in an iovec array.</summary>
    internal ref struct Cursor(ReadOnlySpan<IoVector> vectors)
    {
        private readonly ReadOnlySpan<IoVector> _vectors = vectors;
        private int _index;
        private ulong _offset;

        public int CopyToUser(Task task, ReadOnlySpan<byte> source)
        {
            int done = 0;
            while (done < source.Length && Next(source.Length - done, out ulong address, out int length))
            {
                int n = task.CopyToUserPartial(address, source.Slice(done, length));
                done += n;
                _offset += (ulong)n;
                if (n < length)
                    break;
            }
            return done;
        }

        public int CopyFromUser(Task task, Span<byte> destination)
        {
            int done = 0;
            while (done < destination.Length && Next(destination.Length - done, out ulong address, out int length))
            {
                int n = task.CopyFromUserPartial(address, destination.Slice(done, length));
                done += n;
                _offset += (ulong)n;
                if (n < length)
                    break;
            }
            return done;
        }

        private bool Next(int wanted, out ulong address, out int length)
        {
            while (_index < _vectors.Length && _offset == _vectors[_index].Length)
            {
                _index++;
                _offset = 0;
            }
            if (_index == _vectors.Length)
            {
                (address, length) = (0, 0);
                return false;
            }
            address = _vectors[_index].Base + _offset;
            length = (int)Math.Min((ulong)wanted, _vectors[_index].Length - _offset);
            return true;
        }
    }
}
