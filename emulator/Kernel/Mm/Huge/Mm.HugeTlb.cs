using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Memory;

/// <summary>Mappings of hugetlbfs files (mm/hugetlb.c). Each leaf maps one page of the pool; leaves are never split.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Pages of 4 KiB in hugetlb mappings, which count as resident nowhere else (hugetlb_usage).</summary>
    public long HugeTlbPages { get; private set; }

    private static HugeTlbPageCache HugeTlbOf(Vma vma) => (HugeTlbPageCache)vma.Cache!;

    private static ulong HugeIndexOf(Vma vma, ulong address) => vma.IndexOf(address) >> (HugeTlbOf(vma).Pool.Shift - Pfn.Shift);

    /// <summary>The size of the pages that a mapping consists of (vma_kernel_pagesize).</summary>
    internal static ulong PageSizeOf(Vma vma) => (vma.Flags & VmFlags.HugeTlb) != 0 ? HugeTlbOf(vma).Pool.PageSize : Pfn.Size;

    /// <summary>hugetlb_get_unmapped_area: places are aligned, for what was asked for as well as for what is found.</summary>
    private long FindHugePlace(ulong address, ulong length, int flags, ulong size)
    {
        if (length > Layout.TaskSize)
            return -Errno.ENOMEM;
        if ((flags & MAP_FIXED) != 0)
            return (address & (size - 1)) != 0 ? -Errno.EINVAL : FindPlace(address, length, flags);
        if (address != 0)
        {
            ulong hint = (address + size - 1) & ~(size - 1);
            if (Place(ref hint, length, flags) && (hint & (size - 1)) == 0)
                return (long)hint;
        }
        long place = FindPlace(0, length + size - Pfn.Size, flags);
        return place < 0 ? place : (long)(((ulong)place + size - 1) & ~(size - 1));
    }

    /// <summary>
    /// Maps a hugetlb file: the pages that it may need are reserved first (hugetlb_reserve_pages), for a private mapping by its owner alone,
    /// so that a child of fork takes its chances.
    /// </summary>
    private long MapHugeTlb(Task? task, ulong address, ulong length, VmFlags flags, in Backing backing)
    {
        var cache = (HugeTlbPageCache)backing.Cache!;
        HugeTlbPool pool = cache.Pool;
        ulong perHuge = pool.PageSize >> Pfn.Shift, end = (backing.PageOffset << Pfn.Shift) + length;
        if ((backing.PageOffset & (perHuge - 1)) != 0 || end < length || end > PageCache.MaxSize)
            return -Errno.EINVAL;
        HugeTlbRegions? reservation = null;
        if ((flags & VmFlags.NoReserve) == 0)
        {
            ulong first = backing.PageOffset / perHuge, behind = first + length / pool.PageSize;
            if ((flags & VmFlags.MayShare) != 0)
            {
                if (!cache.Regions.TryAdd(first, behind, pool.TryReserve))
                    return -Errno.ENOMEM;
            }
            else
            {
                if (!pool.TryReserve((long)(behind - first)))
                    return -Errno.ENOMEM;
                reservation = new HugeTlbRegions();
            }
        }
        long error = Vmas.FindIntersection(address, address + length) is null ? 0 : Unmap(task, address, address + length);
        if (error < 0)
        {
            if (reservation is not null)
                pool.Unreserve((long)(length / pool.PageSize));
            return error;
        }
        if ((flags & VmFlags.Write) != 0)
            cache.GrowForMapping(end);
        AddVma(task, address, address + length, flags, backing).HugeTlbReservation = reservation;
        return (long)address;
    }

    /// <summary>hugetlb_vm_op_open: a VMA of its own has a lock of its own if it is shared.</summary>
    private static void OpenHugeTlb(Vma vma)
    {
        if ((vma.Flags & VmFlags.MayShare) != 0)
            vma.HugeTlbLock = new RwSemaphore(LockClass.HugeTlbVma);
    }

    /// <summary>hugetlb_vm_op_close: what the owner of a private mapping has reserved and not used is promised no more.</summary>
    private static void CloseHugeTlb(Vma vma)
    {
        if (vma.HugeTlbReservation is not { } used)
            return;
        HugeTlbPool pool = HugeTlbOf(vma).Pool;
        ulong first = HugeIndexOf(vma, vma.Start), behind = first + vma.Length / pool.PageSize;
        pool.Unreserve((long)(behind - first) - used.Count(first, behind));
        vma.HugeTlbReservation = null;
    }

    /// <summary>mremap: what was reserved goes along (copy_vma).</summary>
    private static void MoveReservation(Vma from, Vma to)
    {
        (to.HugeTlbReservation, from.HugeTlbReservation) = (from.HugeTlbReservation, null);
        to.LostHugeTlbPage |= from.LostHugeTlbPage;
    }

    /// <summary>hugetlb_fault.</summary>
    private FaultOutcome FaultHugeTlb(Task? task, Vma vma, ulong address, FaultFlags flags)
    {
        HugeTlbPageCache cache = HugeTlbOf(vma);
        address &= ~(cache.Pool.PageSize - 1);
        Mutex faultLock = cache.Pool.FaultLock(cache, HugeIndexOf(vma, address));
        if (task is not null)
        {
            cache.RefuseFaultInCallback(task, vma);
            faultLock.Lock(task);
        }
        vma.HugeTlbLock?.LockRead(task);
        try
        {
            FaultOutcome outcome = FaultHugeTlbLocked(task, vma, address, flags);
            // The RFC reads the entry without its lock.
            ulong* leaf = outcome == FaultOutcome.Done ? Tables.Find(address, out _) : null;
            if (leaf is not null && PageTables.IsLeaf(*leaf))
                NotifyUpdateMapping(task, address, PageTables.FrameOf(*leaf));
            return outcome;
        }
        finally
        {
            vma.HugeTlbLock?.UnlockRead();
            if (task is not null)
                faultLock.Unlock();
        }
    }

    private FaultOutcome FaultHugeTlbLocked(Task? task, Vma vma, ulong address, FaultFlags flags)
    {
        bool unshare = (flags & FaultFlags.Unshare) != 0, write = (flags & FaultFlags.Write) != 0;
        ulong* leaf = Tables.Find(address, out int level);
        if (leaf is null)
        {
            FaultOutcome outcome = FaultHugeTlbEmpty(task, vma, address);
            leaf = Tables.Find(address, out level);
            // A write to a private mapping needs its copy right away.
            if (outcome != FaultOutcome.Done || leaf is null || !write || (vma.Flags & VmFlags.MayShare) != 0)
                return outcome;
        }
        if (level == 0)
            return FaultOutcome.BusError;
        ulong value = Volatile.Read(ref *leaf);
        if ((write || unshare) && (value & (ulong)Pte.Writable) == 0)
            return FaultHugeTlbReadOnly(task, vma, address, leaf, value, unshare);
        _system.Faults.Count(FaultKind.Spurious);
        return FaultOutcome.Done;
    }

    /// <summary>Takes a page for a private mapping or for a hole of the file (alloc_hugetlb_folio).</summary>
    /// <param name="vma">The mapping.</param>
    /// <param name="index">Which page, in huge pages.</param>
    /// <param name="avoidReserve">The reservation is not for this: a copy of a page that the owner shares.</param>
    /// <param name="head">The page.</param>
    private static bool TryTakeHugeTlb(Vma vma, ulong index, bool avoidReserve, out Pfn head)
    {
        HugeTlbPageCache cache = HugeTlbOf(vma);
        if ((vma.Flags & VmFlags.MayShare) != 0)
            return cache.TryTake(index, out head);
        bool reserved = !avoidReserve && vma.HugeTlbReservation is { } used && !used.Contains(index);
        if (!cache.Pool.TryTake(reserved, PageFlags.Anon, out head))
            return false;
        if (reserved)
            vma.HugeTlbReservation!.Add(index);
        return true;
    }

    /// <summary>hugetlb_no_page.</summary>
    private FaultOutcome FaultHugeTlbEmpty(Task? task, Vma vma, ulong address)
    {
        HugeTlbPageCache cache = HugeTlbOf(vma);
        // The owner's copy took the page that this child shared, because the pool was empty: nothing can be shown here truthfully.
        if (vma.LostHugeTlbPage || vma.IndexOf(address) << Pfn.Shift >= cache.Size)
            return FaultOutcome.BusError;
        bool shared = (vma.Flags & VmFlags.MayShare) != 0;
        ulong index = HugeIndexOf(vma, address);
        if (!cache.TryGetHuge(index, out Pfn head))
        {
            if (!TryTakeHugeTlb(vma, index, avoidReserve: false, out head))
                return FaultOutcome.BusError;
            if (shared)
                cache.Add(index, head);
            else
                PrepareAnonVma(task, vma);
        }
        bool anonymous = (Pages[head].Flags & PageFlags.Anon) != 0, installed = false, noTable;
        Pte bits = LeafBits(vma);
        if ((vma.Flags & (VmFlags.Write | VmFlags.Shared)) == (VmFlags.Write | VmFlags.Shared))
            bits |= Pte.Writable | Pte.Dirty;
        using (PageTableLock.Enter(task))
        {
            ulong* leaf = Tables.FindOrCreateHuge(address);
            noTable = leaf is null;
            if (!noTable && *leaf == 0)
            {
                if (anonymous)
                    SetAnonOwner(head, vma, address);
                MapHugeTlbPage(head);
                PageTables.Set(leaf, head.Address | (ulong)bits);
                installed = true;
            }
        }
        if (!installed)
            Pages.Put(head);
        _system.Faults.Count(installed ? FaultKind.Huge : FaultKind.Spurious);
        return noTable ? FaultOutcome.OutOfMemory : FaultOutcome.Done;
    }

    private void MapHugeTlbPage(Pfn head)
    {
        Interlocked.Increment(ref Pages.EntireMapCount(head));
        HugeTlbPages += PageTables.LeafPages;
    }

    private void UnmapHugeTlbPage(Pfn head)
    {
        Interlocked.Decrement(ref Pages.EntireMapCount(head));
        HugeTlbPages -= PageTables.LeafPages;
    }

    /// <summary>hugetlb_wp: a write to a page that a private mapping shares with the file or with another process.</summary>
    private FaultOutcome FaultHugeTlbReadOnly(Task? task, Vma vma, ulong address, ulong* leaf, ulong value, bool unshare)
    {
        Pfn old = PageTables.FrameOf(value);
        ulong index = HugeIndexOf(vma, address);
        while (true)
        {
            using (PageTableLock.Enter(task))
            {
                if (!IsUnchanged(leaf, value))
                    return FaultOutcome.Done;
                bool anonymous = (Pages[old].Flags & PageFlags.Anon) != 0;
                if ((vma.Flags & VmFlags.MayShare) != 0 || (anonymous && Volatile.Read(ref Pages.EntireMapCount(old)) == 1))
                {
                    if (anonymous)
                        SetAnonOwner(old, vma, address);
                    if (!unshare)
                        PageTables.Modify(leaf, Pte.None, WriteBits(vma) | Pte.Accessed);
                    _system.Faults.Count(FaultKind.Reuse);
                    return FaultOutcome.Done;
                }
                Pages.Get(old);
            }
            PrepareAnonVma(task, vma);
            // The owner's reservation is used for pages of its own; this page was one, and fork has made it a shared one.
            bool owner = vma.HugeTlbReservation is not null && (Pages[old].Flags & PageFlags.Anon) != 0;
            if (TryTakeHugeTlb(vma, index, avoidReserve: owner, out Pfn copy))
            {
                ReplaceHugeTlb(task, vma, address, leaf, value, copy);
                return FaultOutcome.Done;
            }
            Pages.Put(old);
            if (!owner)
                return FaultOutcome.BusError;
            // The pool owes the owner its page: the children lose theirs, and learn of it by SIGBUS (unmap_ref_private).
            UnmapFromChildren(task, vma, address, old);
        }
    }

    private void ReplaceHugeTlb(Task? task, Vma vma, ulong address, ulong* leaf, ulong value, Pfn copy)
    {
        Pfn old = PageTables.FrameOf(value);
        Buffer.MemoryCopy(Pages.HugePointer(old), Pages.HugePointer(copy), (long)PageTables.HugeSize, (long)PageTables.HugeSize);
        var range = new MmuNotifierRange(this, address, address + PageTables.HugeSize, MmuNotifyEvent.Clear);
        InvalidateRangeStart(task, range);
        bool replaced = false;
        using (PageTableLock.Enter(task))
        {
            if (IsUnchanged(leaf, value))
            {
                PageTables.Clear(leaf, out _);
                Shootdown.FlushMmRange(task?.Vcpu, this, address, address + PageTables.HugeSize, HugeShift, freedTables: false);
                UnmapHugeTlbPage(old);
                SetAnonOwner(copy, vma, address);
                MapHugeTlbPage(copy);
                PageTables.Set(leaf, copy.Address | (ulong)(LeafBits(vma) | WriteBits(vma)));
                replaced = true;
            }
        }
        InvalidateRangeEnd(task, range);
        Pages.Put(replaced ? old : copy); // The entry's own, or one too many.
        Pages.Put(old);
        _system.Faults.Count(replaced ? FaultKind.Copy : FaultKind.Spurious);
    }

    private static void UnmapFromChildren(Task? task, Vma owner, ulong address, Pfn page)
    {
        PageCache cache = owner.Cache!;
        ulong index = owner.IndexOf(address);
        using (cache.MappingsLock.EnterWrite(task))
        {
            for (Vma? vma = cache.Mappings.First; vma is not null; vma = vma.NextInMapping)
            {
                bool covers = index >= vma.PageOffset && index - vma.PageOffset < vma.Pages;
                if (vma == owner || !covers || (vma.Flags & VmFlags.MayShare) != 0 || vma.HugeTlbReservation is not null)
                    continue;
                ulong at = vma.Start + ((index - vma.PageOffset) << Pfn.Shift);
                var gather = new MmuGather(vma.Mm, task);
                var range = new MmuNotifierRange(vma.Mm, at, at + PageTables.HugeSize, MmuNotifyEvent.Clear);
                vma.Mm.InvalidateRangeStart(task, range);
                vma.LostHugeTlbPage |= vma.Mm.ZapHugeTlb(gather, task, vma, at, at + PageTables.HugeSize, page);
                vma.Mm.InvalidateRangeEnd(task, range);
                gather.Finish();
            }
        }
    }

    /// <summary>Unmaps huge pages (__unmap_hugepage_range), only <paramref name="reference"/> if it is given; whether it was found.</summary>
    private bool ZapHugeTlb(MmuGather gather, Task? task, Vma vma, ulong start, ulong end, Pfn reference = default)
    {
        bool found = false;
        for (ulong at = start; Tables.NextRun(ref at, end, out ulong* leaf, out _, out int level); at = PageTables.NextBoundary(at, end, 1))
        {
            bool full = false;
            using (PageTableLock.Enter(task))
            {
                if (level == 0 || !PageTables.IsLeaf(*leaf) || (reference != default && PageTables.FrameOf(*leaf) != reference))
                    continue;
                if (PageTables.Clear(leaf, out ulong old) == FlushOwed.Page)
                    gather.AddRange(at, at + PageTables.HugeSize, HugeShift);
                Pfn head = PageTables.FrameOf(old);
                UnmapHugeTlbPage(head);
                RestoreReservation(vma, at, head);
                full = gather.AddFrame(head);
                found = true;
            }
            if (full)
                gather.Flush();
        }
        return found;
    }

    /// <summary>A private page that its owner gives up is reserved for it again, else somebody could take it meanwhile (since 6.9).</summary>
    private void RestoreReservation(Vma vma, ulong address, Pfn head)
    {
        if (vma.HugeTlbReservation is not { } used || (Pages[head].Flags & PageFlags.Anon) == 0 || Volatile.Read(ref Pages.EntireMapCount(head)) > 0
            || HugeTlbOf(vma).Pool.Surplus > 0 || !used.Remove(HugeIndexOf(vma, address)))
            return;
        PageAllocator.SetFlags(ref Pages[head], PageFlags.RestoreReserve);
    }

    /// <summary>fork: a private mapping's own pages are shared until one side writes (copy_hugetlb_page_range). False: memory is exhausted.</summary>
    private bool CopyHugeTlb(Task? task, ulong* leaf, ulong address, Vma target)
    {
        Mm child = target.Mm;
        Pfn spare = default;
        Pfn head = PageTables.FrameOf(Volatile.Read(ref *leaf));
        bool anonymous = (Pages[head].Flags & PageFlags.Anon) != 0;
        if (anonymous && IsMaybePinned(head) && !TryTakeHugeTlb(target, HugeIndexOf(target, address), avoidReserve: true, out spare))
            return false;
        bool copied = false;
        child.PageTableLock.Lock(task);
        PageTableLock.Lock(task, LockClass.Nested);
        ulong* entry = child.Tables.FindOrCreateHuge(address);
        if (entry is not null && *entry == 0)
        {
            ulong value = Volatile.Read(ref *leaf);
            if (spare != default)
            {
                Buffer.MemoryCopy(Pages.HugePointer(head), Pages.HugePointer(spare), (long)PageTables.HugeSize, (long)PageTables.HugeSize);
                child.SetAnonOwner(spare, target, address);
                value = spare.Address | (ulong)(LeafBits(target) | WriteBits(target));
            }
            else
            {
                if (anonymous)
                    PageAllocator.ClearFlags(ref Pages[head], PageFlags.AnonExclusive);
                if (target.IsCow)
                    PageTables.Modify(leaf, Pte.Writable, Pte.None);
                value = Volatile.Read(ref *leaf) & ~(ulong)Pte.Accessed;
                Pages.Get(head);
            }
            child.MapHugeTlbPage(PageTables.FrameOf(value));
            PageTables.Set(entry, value);
            copied = true;
        }
        PageTableLock.Unlock();
        child.PageTableLock.Unlock();
        return copied;
    }
}
