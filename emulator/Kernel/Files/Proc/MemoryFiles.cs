using System.Buffers.Binary;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files.Proc;

/// <summary>A file of /proc/PID that shows an address space: it keeps naming the one it was opened for, also after exec.</summary>
internal abstract class MemoryFile(Mm mm, int flags) : OpenFile(flags)
{
    public override bool IsSeekable => true;

    internal override bool CanPoll => false;

    /// <summary>mem_lseek: addresses have no end to count from.</summary>
    public override long Seek(Task task, long offset, int whence) =>
        whence is SEEK_SET or SEEK_CUR ? FileSeek.Apply(this, offset, whence, 0) : -Errno.EINVAL;

    public sealed override long Read(Task task, Span<byte> buffer, ref long position)
    {
        if (!mm.TryGet())
            return 0;
        long read = Read(task, mm, (ulong)position, buffer);
        mm.Put(task);
        position += Math.Max(0, read);
        return read;
    }

    protected abstract long Read(Task task, Mm mm, ulong position, Span<byte> buffer);

    /// <summary>The inode of such a file.</summary>
    internal sealed class Node(Filesystem fs, uint permissions, uint uid, uint gid, Func<Mm?> mm, Func<Mm, Path, int, OpenFile> open)
        : MemoryInode(fs, S_IFREG | permissions, uid, gid)
    {
        public override long Open(Task task, Path path, int flags, out OpenFile? file)
        {
            file = null;
            // A zombie has no address space, nor has the kernel's own process.
            if (mm() is not { } shown)
                return -Errno.ESRCH;
            file = open(shown, path, flags);
            return 0;
        }

        protected override long Resize(Task task, long size) => 0;
    }
}

/// <summary>/proc/PID/mem: the address space as a file; permissions of the mappings do not matter, as for a debugger (fs/proc/base.c:mem_rw).</summary>
internal sealed class ProcessMemoryFile(Mm mm, int flags) : MemoryFile(mm, flags)
{
    private readonly Mm _mm = mm;

    protected override long Read(Task task, Mm mm, ulong position, Span<byte> buffer)
    {
        int read = mm.ReadMemory(task, position, buffer, force: true);
        return read > 0 || buffer.IsEmpty ? read : -Errno.EIO;
    }

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position)
    {
        if (!_mm.TryGet())
            return 0;
        int written = _mm.WriteMemory(task, (ulong)position, buffer, force: true);
        _mm.Put(task);
        position += written;
        return written > 0 || buffer.IsEmpty ? written : -Errno.EIO;
    }
}

/// <summary>
/// /proc/PID/pagemap: 64 bits for each page (Documentation/admin-guide/mm/pagemap.rst). Frame numbers are zero, as for
/// everybody without CAP_SYS_ADMIN.
/// </summary>
internal sealed class PagemapFile(Mm mm, int flags) : MemoryFile(mm, flags)
{
    private const int EntrySize = 8;
    private const int ChunkPages = 512;

    protected override long Read(Task task, Mm mm, ulong position, Span<byte> buffer)
    {
        if (position % EntrySize != 0 || buffer.Length % EntrySize != 0)
            return -Errno.EINVAL;
        const ulong pages = Layout.TaskSize >> 12;
        ulong first = position / EntrySize;
        if (first >= pages)
            return 0;
        int count = (int)Math.Min((ulong)(buffer.Length / EntrySize), pages - first);
        // In bounds: parts of so many pages, as many as the caller's buffer has entries.
        Span<PagemapEntry> entries = stackalloc PagemapEntry[ChunkPages];
        for (int done = 0; done < count;)
        {
            int part = Math.Min(count - done, ChunkPages);
            mm.DescribePages(task, (first + (ulong)done) << 12, entries[..part]);
            for (int i = 0; i < part; i++)
                BinaryPrimitives.WriteUInt64LittleEndian(buffer[((done + i) * EntrySize)..], (ulong)entries[i]);
            done += part;
        }
        return (long)count * EntrySize;
    }
}
