using Emulator.Hardware.Memory;
using Emulator.Kernel.Files;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Memory;

/// <summary>madvise, mincore and msync (mm/madvise.c, mm/mincore.c, mm/msync.c).</summary>
public sealed unsafe partial class Mm
{
    /// <summary>madvise(2).</summary>
    public long Madvise(Task? task, ulong address, ulong length, int advice)
    {
        if (!IsKnownAdvice(advice) || !Layout.IsPageAligned(address))
            return -Errno.EINVAL;
        ulong rounded = Layout.PageAlign(length);
        if (length != 0 && rounded == 0)
            return -Errno.EINVAL;
        ulong end = address + rounded;
        if (end < address)
            return -Errno.EINVAL;
        if (end == address)
            return 0;
        if (advice is MADV_POPULATE_READ or MADV_POPULATE_WRITE)
            return MadvisePopulate(task, address, end, advice == MADV_POPULATE_WRITE);
        if (advice == MADV_REMOVE)
            return MadviseRemove(task, address, end);
        bool changesFlags = advice is not (MADV_WILLNEED or MADV_DONTNEED or MADV_DONTNEED_LOCKED or MADV_FREE or MADV_COLD or MADV_PAGEOUT);
        if (changesFlags)
            LockWrite(task);
        else
            LockRead(task);
        try
        {
            return WalkAdvice(task, address, end, advice);
        }
        finally
        {
            if (changesFlags)
                UnlockWrite();
            else
                UnlockRead();
        }
    }

    private static bool IsKnownAdvice(int advice) => advice is >= MADV_NORMAL and <= MADV_DONTNEED or >= MADV_FREE and <= MADV_DOFORK
        or >= MADV_MERGEABLE and <= MADV_COLLAPSE;

    /// <summary>madvise_walk_vmas: what is mapped is advised; a hole makes the answer -ENOMEM in the end.</summary>
    private long WalkAdvice(Task? task, ulong start, ulong end, int advice)
    {
        long unmapped = 0;
        Vma? vma = Vmas.FindEndingAfter(start);
        while (true)
        {
            if (vma is null || vma.Start >= end)
                return -Errno.ENOMEM;
            if (start < vma.Start)
            {
                unmapped = -Errno.ENOMEM;
                start = vma.Start;
            }
            ulong to = Math.Min(vma.End, end);
            long error = Advise(task, ref vma, start, to, advice);
            if (error < 0)
                return error;
            start = to;
            if (start >= end)
                return unmapped;
            vma = Vmas.FindEndingAfter(start);
        }
    }

    private long Advise(Task? task, ref Vma vma, ulong start, ulong end, int advice)
    {
        if (vma.IsContainer)
            return AdviseContainer(task, ref vma, start, end, advice);
        VmFlags flags = vma.Flags;
        switch (advice)
        {
            case MADV_WILLNEED:
                return 0;
            case MADV_COLD or MADV_PAGEOUT:
                if (!IsEvictable(vma))
                    return -Errno.EINVAL;
                if (advice == MADV_COLD)
                    AdviseCold(task, start, end);
                else
                    AdvisePageout(task, vma, start, end);
                return 0;
            case MADV_COLLAPSE:
                return Collapse(task, vma, start, end);
            case MADV_FREE when vma.Cache is not null:
                return -Errno.EINVAL;
            case MADV_DONTNEED or MADV_DONTNEED_LOCKED or MADV_FREE:
                if ((flags & VmFlags.PfnMap) != 0)
                    return -Errno.EINVAL;
                if ((flags & VmFlags.HugeTlb) != 0)
                {
                    // Whole huge pages from the start on; a part at the end stays (madvise_dontneed_free_valid_vma).
                    ulong mask = PageSizeOf(vma) - 1;
                    if ((start & mask) != 0)
                        return -Errno.EINVAL;
                    end &= ~mask;
                }
                if ((flags & VmFlags.Locked) != 0 && advice != MADV_DONTNEED_LOCKED)
                    return -Errno.EINVAL;
                if (advice == MADV_FREE)
                    AdviseFree(task, start, end);
                else
                    ZapRange(task, vma, start, end);
                return 0;
            case MADV_NORMAL:
                flags &= ~(VmFlags.RandomRead | VmFlags.SequentialRead);
                break;
            case MADV_RANDOM:
                flags = (flags & ~VmFlags.SequentialRead) | VmFlags.RandomRead;
                break;
            case MADV_SEQUENTIAL:
                flags = (flags & ~VmFlags.RandomRead) | VmFlags.SequentialRead;
                break;
            case MADV_DONTFORK:
                flags |= VmFlags.DontCopy;
                break;
            case MADV_DOFORK:
                flags &= ~VmFlags.DontCopy;
                break;
            case MADV_WIPEONFORK:
                if (vma.Cache is not null || vma.IsShared)
                    return -Errno.EINVAL;
                flags |= VmFlags.WipeOnFork;
                break;
            case MADV_KEEPONFORK:
                flags &= ~VmFlags.WipeOnFork;
                break;
            case MADV_DONTDUMP:
                flags |= VmFlags.DontDump;
                break;
            case MADV_DODUMP:
                flags &= ~VmFlags.DontDump;
                break;
            case MADV_MERGEABLE:
                flags |= VmFlags.Mergeable;
                break;
            case MADV_UNMERGEABLE:
                flags &= ~VmFlags.Mergeable;
                break;
            case MADV_HUGEPAGE:
                flags = (flags & ~VmFlags.NoHugePage) | VmFlags.HugePage;
                break;
            case MADV_NOHUGEPAGE:
                flags = (flags & ~VmFlags.HugePage) | VmFlags.NoHugePage;
                break;
        }
        return ChangeFlags(task, ref vma, start, end, flags);
    }

    /// <summary>madvise_remove: punches a hole into the file behind a shared writable mapping.</summary>
    private long MadviseRemove(Task? task, ulong start, ulong end)
    {
        long unmapped = 0;
        while (start < end)
        {
            LockRead(task);
            Vma? vma = Vmas.FindIntersection(start, end);
            PageCache? cache = vma?.Cache is ShmemPageCache or HugeTlbPageCache ? vma.Cache : null;
            OpenFile? file = null;
            ulong from = 0, to = 0, offset = 0;
            long error = 0;
            if (vma is null)
                error = -Errno.ENOMEM;
            else if ((vma.Flags & VmFlags.Locked) != 0 || vma.Cache is null)
                error = -Errno.EINVAL;
            else if (!MayWriteFile(vma))
                error = -Errno.EACCES;
            else if (cache is null)
                error = -Errno.EOPNOTSUPP;
            else
            {
                from = Math.Max(start, vma.Start);
                to = Math.Min(end, vma.End);
                offset = vma.IndexOf(from) << 12;
                file = vma.File?.Get();
                cache.GetUser();
            }
            UnlockRead();
            if (error < 0)
                return error;
            if (from > start)
                unmapped = -Errno.ENOMEM;
            error = file is null || task is null
                ? (cache as HugeTlbPageCache)?.PunchHole(task, offset, to - from) ?? ((ShmemPageCache)cache!).PunchHole(task, offset, to - from)
                : file.Allocate(task, FileAbi.FALLOC_FL_PUNCH_HOLE | FileAbi.FALLOC_FL_KEEP_SIZE, (long)offset, (long)(to - from));
            file?.Put();
            cache!.PutUser();
            if (error < 0)
                return error;
            start = to;
        }
        return unmapped;
    }

    /// <summary>mincore(2), one byte a page into <paramref name="result"/>; 0 or -ENOMEM where nothing is mapped.</summary>
    public long Mincore(Task? task, ulong address, Span<byte> result)
    {
        LockRead(task);
        try
        {
            for (int i = 0; i < result.Length; i++)
            {
                ulong at = address + ((ulong)i << 12);
                if (Vmas.Find(at) is not { } vma)
                    return -Errno.ENOMEM;
                bool inCore;
                if (!vma.IsContainer)
                    inCore = IsInCore(vma, at);
                else if (!TryIsInCore(task, vma, at, out inCore))
                    return -Errno.ENOMEM;
                result[i] = inCore ? (byte)1 : (byte)0;
            }
            return 0;
        }
        finally
        {
            UnlockRead();
        }
    }

    private bool IsInCore(Vma vma, ulong address)
    {
        ulong* entry = Tables.Find(address, out _);
        ulong value = entry is null ? 0 : Volatile.Read(ref *entry);
        // A page on its way to another frame is there (mincore_pte_range).
        return PageTables.IsMapped(value)
            || (SwapEntry.TryDecode(value, out SwapEntry swap) && (swap.HasFrame || (swap.Kind == SwapKind.Swap && _system.Swap.IsCached(swap.Offset))))
            || (vma.Cache is { } cache && cache.Contains(vma.IndexOf(address)));
    }

    /// <summary>msync(2).</summary>
    public long Msync(Task? task, ulong address, ulong length, int flags)
    {
        if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) != 0 || !Layout.IsPageAligned(address)
            || (flags & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
            return -Errno.EINVAL;
        ulong end = address + Layout.PageAlign(length);
        if (end < address)
            return -Errno.ENOMEM;
        long unmapped = 0;
        while (address < end)
        {
            LockRead(task);
            Vma? vma = Vmas.FindEndingAfter(address);
            if (vma is null || vma.Start >= end)
            {
                UnlockRead();
                return -Errno.ENOMEM;
            }
            if (address < vma.Start)
            {
                if (flags == MS_ASYNC)
                {
                    UnlockRead();
                    return -Errno.ENOMEM;
                }
                address = vma.Start;
                unmapped = -Errno.ENOMEM;
            }
            bool busy = (flags & MS_INVALIDATE) != 0 && (vma.Flags & VmFlags.Locked) != 0;
            ulong to = Math.Min(end, vma.End), first = vma.IndexOf(address), last = vma.IndexOf(to - 1);
            PageCache? cache = vma.IsShared && (flags & MS_SYNC) != 0 ? vma.Cache : null;
            cache?.GetUser();
            UnlockRead();
            if (busy)
            {
                cache?.PutUser();
                return -Errno.EBUSY;
            }
            long error = cache?.Sync(task, first, last) ?? 0;
            cache?.PutUser();
            if (error < 0)
                return error;
            address = to;
        }
        return unmapped;
    }
}
