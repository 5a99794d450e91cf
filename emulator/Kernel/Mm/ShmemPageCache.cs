using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>The seals of a memfd (include/uapi/linux/fcntl.h).</summary>
[Flags]
public enum Seals
{
    None = 0,
    /// <summary>F_SEAL_SEAL: no more seals.</summary>
    Seal = 1,
    Shrink = 2,
    Grow = 4,
    Write = 8,
    FutureWrite = 16,
    /// <summary>F_SEAL_EXEC: the executable bits of the mode may not change.</summary>
    Exec = 32,
}

/// <summary>A file that lives in memory only: tmpfs, memfd, POSIX and SysV shared memory, shared anonymous mappings (mm/shmem.c).</summary>
public sealed class ShmemPageCache(PageAllocator pages, Seals seals = Seals.Seal) : PageCache(pages)
{
    private const Seals AllSeals = Seals.Seal | Seals.Shrink | Seals.Grow | Seals.Write | Seals.FutureWrite | Seals.Exec;

    private readonly Lock _sealLock = new();
    private Seals _seals = seals;

    protected override PageFlags FrameFlags => PageFlags.Cache | PageFlags.SwapBacked;

    public Seals Seals => _seals;

    /// <summary>Adds seals (mm/memfd.c:memfd_add_seals). The caller has checked that the descriptor is open for writing.</summary>
    public long AddSeals(int bits)
    {
        if ((bits & ~(int)AllSeals) != 0)
            return -Errno.EINVAL;
        lock (_sealLock)
        {
            if ((_seals & Seals.Seal) != 0)
                return -Errno.EPERM;
            var added = (Seals)bits;
            if ((added & Seals.Write) != 0 && (_seals & Seals.Write) == 0 && WritableMappings > 0)
                return -Errno.EBUSY;
            _seals |= added;
            return 0;
        }
    }

    /// <summary>A file sealed against writing has no shared mapping that may be, or become, writable (seal_check_write).</summary>
    internal override long CheckMapping(ref VmFlags flags)
    {
        if ((_seals & (Seals.Write | Seals.FutureWrite)) == 0 || (flags & VmFlags.Shared) == 0)
            return 0;
        if ((flags & VmFlags.Write) != 0)
            return -Errno.EPERM;
        flags &= ~VmFlags.MayWrite;
        return 0;
    }

    public override long Write(ulong offset, ReadOnlySpan<byte> buffer)
    {
        Seals seals = _seals;
        if ((seals & (Seals.Write | Seals.FutureWrite)) != 0)
            return -Errno.EPERM;
        if ((seals & Seals.Grow) != 0 && offset + (ulong)buffer.Length > Size)
            return -Errno.EPERM;
        return base.Write(offset, buffer);
    }

    public override long Truncate(Task? task, ulong size)
    {
        if ((size < Size && (_seals & Seals.Shrink) != 0) || (size > Size && (_seals & Seals.Grow) != 0))
            return -Errno.EPERM;
        return base.Truncate(task, size);
    }

    /// <summary>Frees the pages of [offset, offset + length) and clears the parts of pages at its ends (FALLOC_FL_PUNCH_HOLE).</summary>
    public long PunchHole(Task? task, ulong offset, ulong length)
    {
        if ((_seals & (Seals.Write | Seals.FutureWrite)) != 0)
            return -Errno.EPERM;
        ulong end = offset + length;
        ulong firstWhole = (offset + 0xFFF) & ~0xFFFUL, lastWhole = end & ~0xFFFUL;
        if (firstWhole > lastWhole)
        {
            ClearRange(offset, end);
            return 0;
        }
        ClearRange(offset, firstWhole);
        if (lastWhole > firstWhole)
            RemovePages(task, firstWhole >> 12, (lastWhole >> 12) - 1, evenCopies: false);
        ClearRange(lastWhole, end);
        return 0;
    }

    /// <summary>Populates [offset, offset + length), growing the file unless <paramref name="keepSize"/> (shmem_fallocate).</summary>
    public long Allocate(ulong offset, ulong length, bool keepSize)
    {
        ulong end = offset + length;
        if (end > MaxSize)
            return -Errno.EFBIG;
        if (!keepSize && end > Size && (_seals & Seals.Grow) != 0)
            return -Errno.EPERM;
        if ((length >> 12) > (ulong)Math.Max(0, Pages.FreeFrames - Pages.ReserveFrames))
            return -Errno.ENOSPC;
        for (ulong index = offset >> 12; index < (end + 0xFFF) >> 12; index++)
        {
            if (!TryGetPage(index, create: true, out var frame))
                return -Errno.ENOSPC;
            Pages.Put(frame);
        }
        if (!keepSize && end > Size)
            Size = end;
        return 0;
    }
}
