using Emulator.Hardware.Memory;
using Emulator.Kernel.Files;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Memory;

/// <summary>mmap, munmap and brk (mm/mmap.c). Checks come in Linux's order, because the order decides the error.</summary>
public sealed partial class Mm
{
    /// <summary>Maps a file or anonymous memory.</summary>
    /// <param name="task">The caller; null for tests and for a program that is being loaded.</param>
    /// <param name="address">A hint, or with MAP_FIXED the place.</param>
    /// <param name="length">In bytes; rounded up to pages.</param>
    /// <param name="prot">PROT_*.</param>
    /// <param name="flags">MAP_*.</param>
    /// <param name="file">What to map, without MAP_ANONYMOUS.</param>
    /// <param name="pageOffset">The file's first page.</param>
    /// <returns>The address, or a negative errno.</returns>
    public long Mmap(Task? task, ulong address, ulong length, int prot, int flags, OpenFile? file, ulong pageOffset)
    {
        HugeTlbPool? pool = (file?.Mapping as HugeTlbPageCache)?.Pool;
        if (file is null && (flags & MAP_HUGETLB) != 0)
        {
            pool = _system.HugeTlb.Find(flags >>> MAP_HUGE_SHIFT & MAP_HUGE_MASK);
            if (pool is null)
                return -Errno.EINVAL;
        }
        length = pool?.Align(length) ?? length;
        LockWrite(task);
        long result;
        bool populate;
        try
        {
            result = MmapLocked(task, address, length, prot, flags, file, pool, pageOffset, out populate);
        }
        finally
        {
            UnlockWrite();
        }
        if (result >= 0 && populate)
            Populate(task, (ulong)result, (ulong)result + Layout.PageAlign(length));
        return result;
    }

    private long MmapLocked(Task? task, ulong address, ulong length, int prot, int flags, OpenFile? file, HugeTlbPool? pool, ulong pageOffset, out bool populate)
    {
        populate = false;
        if (length == 0)
            return -Errno.EINVAL;
        if ((flags & MAP_FIXED_NOREPLACE) != 0)
            flags |= MAP_FIXED;
        if ((flags & MAP_FIXED) == 0)
            address = RoundHint(address);
        length = Layout.PageAlign(length);
        if (length == 0)
            return -Errno.ENOMEM;
        if (pageOffset + (length >> 12) < pageOffset)
            return -Errno.EOVERFLOW;
        if (Vmas.Count > Layout.MaxMapCount || !_system.KernelMemory.HasRoom)
            return -Errno.ENOMEM;

        VmFlags vmFlags = ProtFlags(prot) | DefaultFlags | VmFlags.MayRead | VmFlags.MayWrite | VmFlags.MayExec;
        if ((flags & MAP_GROWSDOWN) != 0)
            vmFlags |= VmFlags.GrowsDown;
        if ((flags & MAP_LOCKED) != 0)
            vmFlags |= VmFlags.Locked;
        // calc_vm_flag_bits since 6.7: most of a stack is never touched.
        if ((flags & MAP_STACK) != 0 && _system.Profile != KernelProfile.V6_1)
            vmFlags |= VmFlags.NoHugePage;
        if (file is ISharedRegion region)
            return MapContainer(task, address, length, vmFlags, flags, file, region, pageOffset, out populate);
        long place = pool is null ? FindPlace(address, length, flags) : FindHugePlace(address, length, flags, pool.PageSize);
        if (place < 0)
            return place;
        address = (ulong)place;
        if ((flags & MAP_FIXED_NOREPLACE) != 0 && Vmas.FindIntersection(address, address + length) is not null)
            return -Errno.EEXIST;
        if ((flags & MAP_LOCKED) != 0 && Limit(task, ResourceLimits.MEMLOCK) == 0)
            return -Errno.EPERM;
        if ((vmFlags & VmFlags.Locked) != 0 && !MayLock(task, length >> 12))
            return -Errno.EAGAIN;

        PageCache? cache = null, made = null;
        if (file is ZeroDevice { MapsAnonymously: true })
        {
            long error = CheckZero(file, flags, pageOffset, length, ref vmFlags);
            if (error < 0)
                return error;
            file = null;
            if ((vmFlags & VmFlags.Shared) == 0)
                pageOffset = address >> 12;
        }
        else if (file is not null)
        {
            cache = file.Mapping;
            if (cache is null)
                cache = made = file.CreateMapping(Pages, (pageOffset << 12) + length);
            long error = CheckFile(file, cache, flags, pageOffset, length, ref vmFlags);
            if (error < 0)
            {
                made?.Free();
                return error;
            }
        }
        else
        {
            switch (flags & MAP_TYPE)
            {
                case MAP_SHARED:
                    if ((vmFlags & VmFlags.GrowsDown) != 0)
                        return -Errno.EINVAL;
                    if (pool is null)
                        pageOffset = 0;
                    vmFlags |= VmFlags.Shared | VmFlags.MayShare;
                    break;
                case MAP_PRIVATE:
                    if (pool is null)
                        pageOffset = address >> 12;
                    break;
                default:
                    return -Errno.EINVAL;
            }
        }
        if ((flags & MAP_NORESERVE) != 0 && (_system.Sysctls.OvercommitMemory != Overcommit.Never || pool is not null))
            vmFlags |= VmFlags.NoReserve;

        // Sealing against writing and a new writable mapping exclude each other.
        bool writesFile = cache is not null && (vmFlags & (VmFlags.Shared | VmFlags.MayWrite)) == (VmFlags.Shared | VmFlags.MayWrite);
        if (writesFile && !cache!.TryMapWritable())
            return -Errno.EPERM;
        bool ownFile = pool is not null && cache is null;
        if (ownFile)
        {
            cache = new HugeTlbPageCache(Pages, pool!, length);
            cache.CheckMapping(ref vmFlags);
        }
        long mapped = MapRegion(task, address, length, vmFlags, new Backing(file, cache, pageOffset, ownFile ? "/anon_hugepage (deleted)" : null));
        if (writesFile)
            cache!.CountWritableMapping(-1);
        if (made is not null && mapped >= 0 && !InsertPages(task, address, length))
        {
            Unmap(task, address, address + length);
            mapped = -Errno.ENOMEM;
        }
        if (ownFile || made is not null)
            cache!.Free();
        populate = mapped >= 0
            && ((vmFlags & VmFlags.Locked) != 0 || (flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE);
        return mapped;
    }

    /// <summary>Maps a driver's pages in a new mapping as they are (vm_insert_page). False: memory is exhausted.</summary>
    private bool InsertPages(Task? task, ulong start, ulong length)
    {
        Vma vma = Vmas.Find(start)!;
        for (ulong at = start; at < start + length; at += Pfn.Size)
        {
            if (FaultIn(task, vma, at, FaultFlags.Read) != FaultOutcome.Done)
                return false;
        }
        return true;
    }

    /// <summary>mmap_region: limits, then what was there goes, then the new VMA.</summary>
    private long MapRegion(Task? task, ulong address, ulong length, VmFlags flags, Backing backing)
    {
        ulong end = address + length;
        if (!MayExpand(task, flags, length >> 12) && !MayExpand(task, flags, (length >> 12) - MappedPages(address, end)))
            return -Errno.ENOMEM;
        if ((flags & VmFlags.HugeTlb) != 0)
            return MapHugeTlb(task, address, length, flags & ~VmFlags.LockedMask, backing);
        // accountable_mapping; what goes for the new mapping had its own part.
        bool accountable = (flags & (VmFlags.NoReserve | VmFlags.Shared | VmFlags.Write)) == VmFlags.Write;
        ulong pages = length >> 12;
        if (accountable && !_system.Overcommit.MayCommit(pages - MappedPages(address, end, VmFlags.Account), TotalPages))
            return -Errno.ENOMEM;
        if (accountable)
            flags |= VmFlags.Account;
        if (Vmas.FindIntersection(address, end) is not null)
        {
            long error = Unmap(task, address, end);
            if (error < 0)
                return error;
        }
        if (IsSharedAnonymous(flags, backing))
        {
            // shmem_zero_setup
            ulong promised = (flags & VmFlags.NoReserve) == 0 ? pages : 0;
            if (!_system.Overcommit.TryCommit(promised, TotalPages))
                return -Errno.ENOMEM;
            var shared = new ShmemPageCache(Pages, promised: promised);
            shared.Truncate(task, length);
            AddVma(task, address, end, flags, backing with { Cache = shared, Name = "/dev/zero (deleted)" });
            shared.Free();
        }
        else
        {
            AddVma(task, address, end, flags, backing);
        }
        return (long)address;
    }

    /// <summary>Maps pages of the kernel's own privately, where there is room (_install_special_mapping).</summary>
    internal long MapSpecial(Task? task, ulong length, VmFlags flags, PageCache cache, string name)
    {
        LockWrite(task);
        long place = FindPlace(0, length, MAP_PRIVATE);
        if (place >= 0)
            AddVma(task, (ulong)place, (ulong)place + length, flags, new Backing(null, cache, 0, name));
        UnlockWrite();
        return place;
    }

    private static bool IsSharedAnonymous(VmFlags flags, in Backing backing) => (flags & VmFlags.Shared) != 0 && backing.Cache is null;

    /// <summary>The checks of a file mapping in do_mmap, with the flags they leave.</summary>
    private static long CheckFile(OpenFile file, PageCache? cache, int flags, ulong pageOffset, ulong length, ref VmFlags vmFlags)
    {
        if (pageOffset > PageCache.MaxSize >> 12 || (length >> 12) > (PageCache.MaxSize >> 12) - pageOffset)
            return -Errno.EOVERFLOW;
        long error = CheckAccess(file, flags, ref vmFlags);
        if (error < 0)
            return error;
        if (cache is null)
            return -Errno.ENODEV;
        if ((vmFlags & VmFlags.GrowsDown) != 0)
            return -Errno.EINVAL;
        error = cache.CheckRange(pageOffset, length >> Pfn.Shift);
        return error < 0 ? error : cache.CheckMapping(ref vmFlags);
    }

    /// <summary>The checks for /dev/zero, of which each mapping is memory of its own: shared if the file may be written, else private (drivers/char/mem.c:mmap_zero).</summary>
    private static long CheckZero(OpenFile file, int flags, ulong pageOffset, ulong length, ref VmFlags vmFlags)
    {
        if (pageOffset > (ulong.MaxValue - length) >> Pfn.Shift)
            return -Errno.EOVERFLOW;
        long error = CheckAccess(file, flags, ref vmFlags);
        return error < 0 ? error : (vmFlags & VmFlags.GrowsDown) != 0 ? -Errno.EINVAL : 0;
    }

    /// <summary>Whether the file was opened for what a mapping wants of it.</summary>
    private static long CheckAccess(OpenFile file, int flags, ref VmFlags vmFlags)
    {
        int access = file.Flags & O_ACCMODE;
        bool readable = access is O_RDONLY or O_RDWR && (file.Flags & O_PATH) == 0, writable = access is O_WRONLY or O_RDWR;
        bool wantsWrite = (vmFlags & VmFlags.Write) != 0;
        switch (flags & MAP_TYPE)
        {
            case MAP_SHARED:
            case MAP_SHARED_VALIDATE:
                if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE && (flags & ~(LegacyMapMask | MAP_FIXED_NOREPLACE)) != 0)
                    return -Errno.EOPNOTSUPP;
                if (wantsWrite && !writable)
                    return -Errno.EACCES;
                if (wantsWrite && (file.Flags & O_APPEND) != 0 && file.Inode is null)
                    return -Errno.EACCES;
                vmFlags |= VmFlags.Shared | VmFlags.MayShare;
                if (!writable)
                    vmFlags &= ~(VmFlags.MayWrite | VmFlags.Shared);
                break;
            case MAP_PRIVATE:
                break;
            default:
                return -Errno.EINVAL;
        }
        return readable ? 0 : -Errno.EACCES;
    }

    private static VmFlags ProtFlags(int prot) => (VmFlags)(prot & (PROT_READ | PROT_WRITE | PROT_EXEC));

    /// <summary>round_hint_to_min: a hint below what may be mapped moves up to it.</summary>
    private static ulong RoundHint(ulong hint)
    {
        hint &= ~0xFFFUL;
        return hint != 0 && hint < Layout.MinAddress ? Layout.MinAddress : hint;
    }

    /// <summary>__get_unmapped_area, and what comes after it for every kind of placement.</summary>
    private long FindPlace(ulong address, ulong length, int flags)
    {
        if (length > Layout.TaskSize)
            return -Errno.ENOMEM;
        if ((flags & MAP_FIXED) == 0 && !PlaceForHugePages(ref address, length, flags) && !Place(ref address, length, flags))
            return -Errno.ENOMEM;
        if (address > Layout.TaskSize - length)
            return -Errno.ENOMEM;
        if (!Layout.IsPageAligned(address))
            return -Errno.EINVAL;
        return address < Layout.MinAddress ? -Errno.EPERM : (long)address;
    }

    /// <summary>Private anonymous memory of whole 2 MiB goes where huge pages fit, if nothing is said of the place (__thp_get_unmapped_area).</summary>
    private bool PlaceForHugePages(ref ulong address, ulong length, int flags)
    {
        if (address != 0 || (flags & (MAP_TYPE | MAP_ANONYMOUS)) != (MAP_PRIVATE | MAP_ANONYMOUS) || (length & HugeMask) != 0
            || !Place(ref address, length + PageTables.HugeSize, flags))
            return false;
        address = (address & ~HugeMask) + PageTables.HugeSize;
        return true;
    }

    /// <summary>arch_get_unmapped_area_topdown.</summary>
    private bool Place(ref ulong address, ulong length, int flags)
    {
        bool low = (flags & MAP_32BIT) != 0;
        if (address != 0 && !low && address <= Layout.TaskSize - length
            && (Vmas.FindEndingAfter(address) is not { } above || address + length <= above.StartWithGap)
            && (Vmas.FindStartingBefore(address) is not { } below || below.End <= address))
            return true;
        if (low)
            return Vmas.TryFindLowestGap(length, 0x4000_0000, 0x8000_0000, out address);
        return Vmas.TryFindHighestGap(length, Layout.MinAddress, MmapBase, out address)
            || Vmas.TryFindLowestGap(length, Layout.UnmappedBase, Layout.TaskSize, out address);
    }

    /// <summary>Pages of [start, end) that VMAs cover, or those that have all of the flags.</summary>
    private ulong MappedPages(ulong start, ulong end, VmFlags flags = VmFlags.None)
    {
        ulong pages = 0;
        for (Vma? vma = Vmas.FindIntersection(start, end); vma is not null && vma.Start < end; vma = Vmas.Next(vma))
        {
            if ((vma.Flags & flags) == flags)
                pages += (Math.Min(vma.End, end) - Math.Max(vma.Start, start)) >> 12;
        }
        return pages;
    }

    /// <summary>munmap(2).</summary>
    public long Munmap(Task? task, ulong address, ulong length)
    {
        LockWrite(task);
        try
        {
            return MunmapLocked(task, address, length);
        }
        finally
        {
            UnlockWrite();
        }
    }

    /// <summary>do_vmi_munmap.</summary>
    private long MunmapLocked(Task? task, ulong address, ulong length)
    {
        if (!Layout.IsPageAligned(address) || address > Layout.TaskSize || length > Layout.TaskSize - address)
            return -Errno.EINVAL;
        ulong end = address + Layout.PageAlign(length);
        if (end == address)
            return -Errno.EINVAL;
        return Unmap(task, address, end);
    }

    /// <summary>Takes whole VMAs and parts out of the tree, unmaps their pages, flushes, and then lets go of everything.</summary>
    private long Unmap(Task? task, ulong start, ulong end)
    {
        if (Vmas.FindIntersection(start, end) is not { } first)
            return 0;
        // A hole in the middle of one VMA makes one more in the end (-ENOMEM); elsewhere the map count is as it was.
        if (first.Start < start && end < first.End && Vmas.Count >= Layout.MaxMapCount)
            return -Errno.ENOMEM;
        long error = SplitAt(task, start, end);
        if (error < 0)
            return error;

        var removed = new List<Vma>();
        for (Vma? vma = Vmas.FindIntersection(start, end); vma is not null && vma.Start < end; vma = Vmas.Next(vma))
            removed.Add(vma);
        foreach (Vma vma in removed)
        {
            Vmas.Remove(vma);
            Account(vma, vma.Pages, add: false);
        }
        ulong floor = Vmas.FindStartingBefore(start)?.End ?? 0, ceiling = Vmas.FindEndingAfter(end)?.Start ?? Layout.TaskSize + 0x1000;
        using OperationScope operation = task.Operation("munmap", start, end);
        var gather = new MmuGather(this, task);
        var range = new MmuNotifierRange(this, start, end, MmuNotifyEvent.Unmap);
        InvalidateRangeStart(task, range);
        foreach (Vma vma in removed)
            Zap(gather, task, vma, vma.Start, vma.End);
        InvalidateRangeEnd(task, range);
        foreach (Vma vma in removed)
            UnlinkRmap(task, vma);
        Tables.FreeTables(gather, start, end, floor, ceiling);
        gather.Finish();
        DetachContainers(task, removed);
        foreach (Vma vma in removed)
            Close(vma);
        return 0;
    }

    /// <summary>brk(2): the new end of the heap, or the old one when it cannot be had.</summary>
    public long Brk(Task? task, ulong address)
    {
        ulong populateFrom = 0, populateTo = 0;
        LockWrite(task);
        try
        {
            if (address < StartBrk)
                return (long)CurrentBrk;
            ulong limit = Limit(task, ResourceLimits.DATA);
            if (limit != ResourceLimit.Infinity && address - StartBrk + (EndData - StartData) > limit)
                return (long)CurrentBrk;
            ulong oldEnd = Layout.PageAlign(CurrentBrk), newEnd = Layout.PageAlign(address);
            if (newEnd < oldEnd)
            {
                if (Unmap(task, newEnd, oldEnd) < 0)
                    return (long)CurrentBrk;
            }
            else if (newEnd > oldEnd)
            {
                // Not next to the following mapping: a page is kept free, and a stack's guard gap.
                if (newEnd > Layout.TaskSize || newEnd < address
                    || (Vmas.FindEndingAfter(oldEnd) is { } next && newEnd + 0x1000 > next.StartWithGap))
                    return (long)CurrentBrk;
                VmFlags flags = VmFlags.Read | VmFlags.Write | VmFlags.MayRead | VmFlags.MayWrite | VmFlags.MayExec | DefaultFlags;
                if (((flags & VmFlags.Locked) != 0 && !MayLock(task, (newEnd - oldEnd) >> 12))
                    || MapRegion(task, oldEnd, newEnd - oldEnd, flags, new Backing(null, null, oldEnd >> 12)) < 0)
                    return (long)CurrentBrk;
                if ((flags & VmFlags.Locked) != 0)
                    (populateFrom, populateTo) = (oldEnd, newEnd);
            }
            CurrentBrk = address;
        }
        finally
        {
            UnlockWrite();
        }
        if (populateTo != 0)
            Populate(task, populateFrom, populateTo);
        return (long)address;
    }
}
