using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// A file of hugetlbfs: memfd_create with MFD_HUGETLB, and the nameless file behind each anonymous MAP_HUGETLB mapping (fs/hugetlbfs/inode.c).
/// A huge page is in the cache at the index of its first frame.
/// </summary>
public sealed class HugeTlbPageCache : PageCache, ISealable
{
    private readonly Sealing _sealing;
    private Task? _unmapper;

    internal HugeTlbPageCache(PageAllocator pages, HugeTlbPool pool, Seals seals = Seals.Seal)
        : base(pages)
    {
        Pool = pool;
        _sealing = new Sealing(seals);
    }

    /// <summary>The nameless file of an anonymous mapping.</summary>
    internal HugeTlbPageCache(PageAllocator pages, HugeTlbPool pool, ulong size)
        : this(pages, pool) => Size = size;

    public HugeTlbPool Pool { get; }

    /// <summary>Pages that shared mappings have reserved, and pages that exist.</summary>
    internal HugeTlbRegions Regions { get; } = new();

    public Seals Seals => _sealing.Seals;

    protected override PageFlags FrameFlags => PageFlags.Cache;

    private int IndexShift => Pool.Shift - Pfn.Shift;

    public long AddSeals(int bits, bool executable = false) => _sealing.Add(this, bits, executable);

    internal override long CheckMapping(ref VmFlags flags)
    {
        long error = _sealing.CheckMapping(ref flags);
        flags |= VmFlags.HugeTlb | VmFlags.DontExpand;
        return error;
    }

    /// <summary>The frame of a 4 KiB page of the file; huge pages are never made here, but by faults and fallocate.</summary>
    internal override long GetPage(Task? task, ulong index, bool create, out Pfn frame, bool zero = false)
    {
        ulong inHuge = index & ((1UL << IndexShift) - 1);
        long error = base.GetPage(task, index - inHuge, create: false, out Pfn head);
        frame = new Pfn(head.Value + inHuge);
        return error;
    }

    /// <summary>hugetlbfs has no write(2).</summary>
    public override long Write(ulong offset, ReadOnlySpan<byte> buffer, Task? task) => -Errno.EINVAL;

    /// <summary>The huge page at an index (of huge pages), with a reference; false: a hole.</summary>
    internal bool TryGetHuge(ulong hugeIndex, out Pfn head) => TryGetPresent(hugeIndex << IndexShift, out head);

    /// <summary>
    /// Takes a page from the pool for an index of huge pages (alloc_hugetlb_folio for a shared file): a reserved one if some mapping or
    /// earlier page has entered the index, otherwise one that is promised to nobody.
    /// </summary>
    internal bool TryTake(ulong hugeIndex, out Pfn head)
    {
        bool reserved = Regions.Contains(hugeIndex);
        if (!Pool.TryTake(reserved, PageFlags.Cache, out head))
            return false;
        Regions.Add(hugeIndex);
        return true;
    }

    /// <summary>Enters a page; the caller holds the index's fault lock, so nobody else does. The cache takes a reference of its own.</summary>
    internal void Add(ulong hugeIndex, Pfn head) => Insert(hugeIndex << IndexShift, head);

    /// <summary>hugetlbfs_setattr: sizes are whole huge pages.</summary>
    public override long Truncate(Task? task, ulong size)
    {
        if ((size & (Pool.PageSize - 1)) != 0)
            return -Errno.EINVAL;
        if ((size < Size && (Seals & Seals.Shrink) != 0) || (size > Size && (Seals & Seals.Grow) != 0))
            return -Errno.EPERM;
        ulong old = Size;
        Size = size;
        if (size < old)
        {
            using ChangeScope change = AnnounceChange(task, size >> Pfn.Shift, ulong.MaxValue >> Pfn.Shift, FileNotifyEvent.Truncate);
            UnmapMappingRange(task, size >> Pfn.Shift, ulong.MaxValue >> Pfn.Shift, evenCopies: true);
            RemoveHuge(task, size >> Pool.Shift, ulong.MaxValue >> Pool.Shift);
        }
        return 0;
    }

    /// <summary>mmap of a writable mapping makes the file as long as the mapping needs (hugetlbfs_file_mmap).</summary>
    internal void GrowForMapping(ulong size) => GrowTo(size);

    /// <summary>hugetlbfs_punch_hole: whole huge pages go, the parts at the ends are cleared.</summary>
    public long PunchHole(Task? task, ulong offset, ulong length)
    {
        if ((Seals & Seals.AnyWrite) != 0)
            return -Errno.EPERM;
        ulong end = offset + length, first = Pool.Align(offset) >> Pool.Shift, behind = end >> Pool.Shift;
        if (behind > first)
        {
            ClearBytes(task, offset, first << Pool.Shift);
            using ChangeScope change = AnnounceChange(task, first << IndexShift, (behind << IndexShift) - 1, FileNotifyEvent.Punch);
            UnmapMappingRange(task, first << IndexShift, (behind << IndexShift) - 1, evenCopies: true);
            ClearBytes(task, behind << Pool.Shift, end);
            RemoveHuge(task, first, behind - 1);
        }
        else
        {
            ClearBytes(task, offset, end);
        }
        return 0;
    }

    private void ClearBytes(Task? task, ulong start, ulong end)
    {
        for (ulong at = start; at < end;)
        {
            ulong next = Math.Min(end, (at & ~0xFFFUL) + Pfn.Size);
            ClearRange(task, at, next);
            at = next;
        }
    }

    /// <summary>hugetlbfs_fallocate.</summary>
    public long Allocate(Task? task, ulong offset, ulong length, bool keepSize)
    {
        ulong end = offset + length;
        if (!keepSize && end > Size && (Seals & Seals.Grow) != 0)
            return -Errno.EPERM;
        for (ulong index = offset >> Pool.Shift; index < Pool.Align(end) >> Pool.Shift; index++)
        {
            if (task is { SignalPending: true })
                return -Errno.EINTR;
            if (!TryGetOrAdd(task, index, out Pfn head))
                return -Errno.ENOSPC;
            Pages.Put(head);
        }
        if (!keepSize)
            GrowTo(end);
        return 0;
    }

    /// <summary>The huge page at an index (of huge pages), with a reference; a hole is filled with zeroes. False: the pool has none.</summary>
    internal bool TryGetOrAdd(Task? task, ulong index, out Pfn head)
    {
        Mutex faultLock = Pool.FaultLock(this, index);
        if (task is not null)
            faultLock.Lock(task);
        bool present = TryGetHuge(index, out head);
        if (!present && TryTake(index, out head))
        {
            Add(index, head);
            present = true;
        }
        if (task is not null)
            faultLock.Unlock();
        return present;
    }

    /// <summary>Removes the huge pages [first, last] and what was reserved for them (remove_inode_hugepages).</summary>
    private void RemoveHuge(Task? task, ulong first, ulong last)
    {
        long freed = 0;
        ulong index = first << IndexShift;
        for (ulong lastPage = (last << IndexShift) | ((1UL << IndexShift) - 1); TryGetNextPage(ref index, lastPage, out Pfn head); index++)
        {
            Mutex faultLock = Pool.FaultLock(this, index >> IndexShift);
            if (task is not null)
                faultLock.Lock(task);
            Pages.Locks.Lock(task, head);
            if (Holds(head, index))
                freed++;
            RemoveLocked(task, head, index);
            Pages.Locks.Unlock(head);
            Pages.Put(head);
            if (task is not null)
                faultLock.Unlock();
        }
        // Regions of pages that were there are gone with the pages; what else was reserved is promised no more (hugetlb_unreserve_pages).
        Pool.Unreserve(Regions.Remove(first, last == ulong.MaxValue >> Pool.Shift ? ulong.MaxValue : last + 1) - freed);
    }

    /// <summary>
    /// Unmaps from all mappings under each one's own lock, which faults hold for reading. A mapping whose lock is not free is passed over: its
    /// pages are found mapped when they leave the cache, and unmapped then (hugetlb_vmdelete_list, hugetlb_unmap_file_folio).
    /// </summary>
    private protected override void UnmapMappingRange(Task? task, ulong first, ulong last, bool evenCopies)
    {
        if (Mappings.IsEmpty)
            return;
        bool wait = last - first < 1UL << IndexShift;
        using (MappingsLock.EnterWrite(task))
        {
            _unmapper = task;
            for (Vma? vma = Mappings.First; vma is not null; vma = vma.NextInMapping)
            {
                RwSemaphore? vmaLock = vma.HugeTlbLock;
                if (vmaLock is not null && !vmaLock.TryLockWrite())
                {
                    if (!wait)
                        continue;
                    vmaLock.LockWrite(task);
                }
                vma.Mm.ZapFilePages(task, vma, first, last, evenCopies: true);
                vmaLock?.UnlockWrite();
            }
            _unmapper = null;
        }
    }

    /// <summary>A notifier's callback that faults on a shared mapping waits for the lock under which it is called.</summary>
    internal void RefuseFaultInCallback(Task task, Vma vma)
    {
        if (Volatile.Read(ref _unmapper) == task && vma.HugeTlbLock is { IsHeldForWrite: true })
            task.Mm.StopSelfDeadlock(task, NotifierRules.NoFaultOnPunchInCallback, $"{vma} is faulted on");
    }

    protected override void Release()
    {
        RemoveHuge(Pages.CurrentTask(), 0, ulong.MaxValue >> Pool.Shift);
        Pages.Unregister(Id);
    }
}
