using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What reverse-map walks do with one entry (the *_one functions of mm/rmap.c and mm/migrate.c).</summary>
public sealed unsafe partial class Mm
{
    /// <summary>
    /// The level-0 entry of an address if it maps the frame, or says that it is the device's that the frame belongs to (page_vma_mapped_walk);
    /// null otherwise. Under the page-table lock.
    /// </summary>
    private ulong* EntryMapping(ulong address, Pfn frame)
    {
        ulong* entry = Tables.Find(address);
        if (entry is null)
            return null;
        ulong value = Volatile.Read(ref *entry);
        bool found = SwapEntry.TryDecode(value, out SwapEntry swap) ? swap.IsDevicePrivate && swap.Frame == frame : PageTables.IsMapped(value) && PageTables.FrameOf(value) == frame;
        return found ? entry : null;
    }

    /// <summary>Empties an entry and sees to its flush: now, or with the task's batch (should_defer_flush). Returns what it was.</summary>
    private ulong ClearForUnmap(Task? task, ulong* entry, ulong address, TtuFlags flags)
    {
        if (PageTables.Clear(entry, out ulong old) == FlushOwed.None)
            return old;
        if ((flags & TtuFlags.BatchFlush) != 0 && task is not null && Shootdown.ShouldDefer(task.Vcpu, this))
            task.TlbBatch.AddPending(task.Vcpu, this, address, (old & (ulong)Pte.Dirty) != 0);
        else
            Shootdown.FlushPage(task?.Vcpu, this, address);
        NotifyInvalidateRange(task, address, address + Pfn.Size);
        return old;
    }

    /// <summary>folio_referenced_one; false ends the walk.</summary>
    internal bool ReferencedOne(Task? task, Vma vma, ulong address, Pfn frame, ref int count, ref VmFlags vmFlags)
    {
        bool young;
        using (PageTableLock.Enter(task))
        {
            ulong* entry = Tables.Find(address, out int level);
            ulong value = entry is null ? 0 : Volatile.Read(ref *entry);
            if (!PageTables.IsMapped(value) || Pages.HeadOf(PageTables.FrameOf(value, address, level)) != Pages.HeadOf(frame))
                return true;
            vmFlags |= vma.Flags;
            if ((vma.Flags & VmFlags.Locked) != 0)
                return false;
            young = (value & (ulong)Pte.Accessed) != 0;
            // No flush: at worst a processor that remembers the bit makes the page look unused (ptep_clear_flush_young).
            if (young)
                PageTables.Modify(entry, Pte.Accessed, Pte.None);
            young |= ClearFlushYoungNotify(task, address, address + Pfn.Size);
        }
        if (young && (vma.Flags & VmFlags.SequentialRead) == 0)
            count++;
        return true;
    }

    /// <summary>page_vma_mkclean_one.</summary>
    internal void MkCleanOne(Task? task, ulong address, Pfn frame)
    {
        var range = new MmuNotifierRange(this, address, address + Pfn.Size, MmuNotifyEvent.ProtectionPage);
        InvalidateRangeStart(task, range);
        using (PageTableLock.Enter(task))
        {
            ulong* entry = EntryMapping(address, frame);
            if (entry is not null && PageTables.Modify(entry, Pte.Dirty | Pte.Writable, Pte.None) == FlushOwed.Page)
                Shootdown.FlushPage(task?.Vcpu, this, address);
        }
        InvalidateRangeEnd(task, range);
    }

    /// <summary>try_to_unmap_one; false: the page must stay mapped here.</summary>
    internal bool UnmapOne(Task? task, Vma vma, ulong address, Pfn frame, TtuFlags flags)
    {
        if ((vma.Flags & VmFlags.Locked) != 0 && (flags & TtuFlags.IgnoreMlock) == 0)
            return false;
        bool unmapped = true;
        using OperationScope operation = task.Operation("try_to_unmap", address, address + Pfn.Size);
        var range = new MmuNotifierRange(this, address, address + Pfn.Size, MmuNotifyEvent.Clear);
        InvalidateRangeStart(task, range);
        using (PageTableLock.Enter(task))
        {
            ulong* entry = EntryMapping(address, frame);
            if (entry is not null)
            {
                ulong old = ClearForUnmap(task, entry, address, flags);
                ref Page page = ref Pages[frame];
                if ((old & (ulong)Pte.Dirty) != 0)
                    PageAllocator.SetFlags(ref page, PageFlags.Dirty);
                unmapped = !page.IsAnon || TryReplaceBySwap(entry, frame);
                if (unmapped)
                    RemoveMapping(frame, counted: true);
                else
                    PageTables.Set(entry, old);
            }
        }
        InvalidateRangeEnd(task, range);
        return unmapped;
    }

    /// <summary>Enters what stands for an anonymous page from now on; false: it must stay.</summary>
    private bool TryReplaceBySwap(ulong* entry, Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if ((page.Flags & (PageFlags.LazyFree | PageFlags.SwapCache)) == PageFlags.LazyFree)
        {
            // Nobody wants the contents if nobody wrote since MADV_FREE and nobody else has the page: this entry's reference, and reclaim's.
            if ((page.Flags & PageFlags.Dirty) == 0 && Volatile.Read(ref page.RefCount) == 1 + Volatile.Read(ref page.MapCount))
                return true;
            PageAllocator.ClearFlags(ref page, PageFlags.LazyFree);
            return false;
        }
        ulong slot = _system.Swap.SlotOf(frame);
        if (slot == 0)
            return false;
        bool exclusive = page.IsAnonExclusive;
        if (!TryShareForUnmap(frame))
            return false;
        _system.Swap.Duplicate(slot);
        SwapEntries++;
        PageTables.Set(entry, new SwapEntry(SwapKind.Swap, slot, exclusive).Encode());
        return true;
    }

    /// <summary>
    /// The page is about to lose the entry that had it exclusively (folio_try_share_anon_rmap_pte). False: it may be pinned; after this only
    /// get_user_pages that come later can pin it, and those find no entry.
    /// </summary>
    private bool TryShareForUnmap(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if (!page.IsAnonExclusive)
            return true;
        if (Pages[Pages.HeadOf(frame)].MaybePinned)
            return false;
        PageAllocator.ClearFlags(ref page, PageFlags.AnonExclusive);
        return true;
    }

    /// <summary>An entry is gone, and its reference with it; somebody else holds the frame. <paramref name="counted"/>: the address space has a page less.</summary>
    private void RemoveMapping(Pfn frame, bool counted)
    {
        ref Page page = ref Pages[frame];
        if (counted)
            CountResident(page.Flags, -1);
        Interlocked.Decrement(ref page.MapCount);
        Pages.Put(frame);
    }

    /// <summary>try_to_migrate_one; false: the page is pinned here.</summary>
    internal bool MigrateOne(Task? task, ulong address, Pfn frame, TtuFlags flags)
    {
        bool unmapped = true;
        using OperationScope operation = task.Operation("try_to_migrate", address, address + Pfn.Size);
        var range = new MmuNotifierRange(this, address, address + Pfn.Size, MmuNotifyEvent.Clear);
        InvalidateRangeStart(task, range);
        using (PageTableLock.Enter(task))
        {
            ulong* entry = EntryMapping(address, frame);
            if (entry is not null)
            {
                ulong old = ClearForUnmap(task, entry, address, flags);
                unmapped = TrySetMigration(entry, old, frame);
            }
        }
        InvalidateRangeEnd(task, range);
        return unmapped;
    }

    /// <summary>remove_migration_pte: sends nothing, for nobody can have cached what was not there.</summary>
    internal void RestoreOne(Task? task, Vma vma, ulong address, Pfn old, Pfn replacement)
    {
        using (PageTableLock.Enter(task))
        {
            ulong* entry = Tables.Find(address);
            if (entry is null || !SwapEntry.TryDecode(Volatile.Read(ref *entry), out SwapEntry swap) || !swap.IsMigration || swap.Frame != old)
                return;
            ref Page page = ref Pages[replacement];
            Pte bits = BitsOf(vma.Flags);
            if (!swap.Young)
                bits &= ~Pte.Accessed;
            if (swap.Dirty && (page.Flags & PageFlags.Dirty) != 0)
                bits |= Pte.Dirty;
            if (swap.IsWritable)
                bits |= Pte.Writable;
            Pages.Get(replacement);
            Interlocked.Increment(ref page.MapCount);
            if (page.IsAnon && (swap.Exclusive || swap.IsWritable))
                PageAllocator.SetFlags(ref page, PageFlags.AnonExclusive);
            Volatile.Write(ref *entry, Pages.IsDevice(replacement) ? DevicePrivate(replacement, swap.IsWritable) : replacement.Address | (ulong)bits);
        }
    }
}
