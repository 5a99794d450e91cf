using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>MADV_COLLAPSE: the pages of 2 MiB of anonymous memory become one huge page (mm/khugepaged.c).</summary>
public sealed unsafe partial class Mm
{
    /// <summary>
    /// madvise_collapse, whatever the policy says of faults. The mmap lock is held for writing. 0 if every whole 2 MiB of the range is mapped
    /// by a leaf now, else the error of the last that is not: -EINVAL (nothing there, or nothing writable), -EAGAIN (pages in use by
    /// others), -ENOMEM.
    /// </summary>
    private long Collapse(Task? task, Vma vma, ulong start, ulong end)
    {
        if (vma.Cache is not null || (vma.Flags & VmFlags.NoHugePage) != 0 || HugePagesDisabled || !HugePages.FitsSomewhere(vma) || !vma.HasAnon)
            return -Errno.EINVAL;
        ulong first = (start + HugeMask) & ~HugeMask, behind = end & ~HugeMask;
        long error = first > behind ? -Errno.EINVAL : 0;
        for (ulong at = first; at < behind; at += PageTables.HugeSize)
        {
            long result = CollapseOne(task, vma, at);
            if (result < 0)
                error = result;
            if (result == -Errno.ENOMEM)
                break;
        }
        return error;
    }

    private long CollapseOne(Task? task, Vma vma, ulong start)
    {
        ulong* entries = Tables.Find(start, out int level);
        if (level > 0)
            return entries is null ? -Errno.EINVAL : 0;
        long error = BringIn(task, vma, start, entries);
        if (error == 0)
            error = CheckCollapse(entries, mustWrite: true);
        if (error < 0)
            return error;
        if (!Pages.TryAllocate(PageAllocator.HugeOrder, PageFlags.Anon, zero: true, out Pfn head))
        {
            _system.Events.Count(VmEvent.ThpCollapseAllocateFailed);
            return -Errno.ENOMEM;
        }
        _system.Events.Count(VmEvent.ThpCollapseAllocate);
        // Reverse maps would look for the pages in the table that is about to be unhooked.
        using (new RmapScope(task, vma))
        {
            error = Replace(task, vma, start, head);
        }
        if (error < 0)
            Pages.Put(head);
        return error;
    }

    /// <summary>Faults in what is in the swap area or on its way elsewhere (__collapse_huge_page_swapin).</summary>
    private long BringIn(Task? task, Vma vma, ulong start, ulong* entries)
    {
        for (int i = 0; i < PageTables.LeafPages; i++)
        {
            while (SwapEntry.TryDecode(Volatile.Read(ref entries[i]), out _))
            {
                if (FaultIn(task, vma, start + ((ulong)i << Pfn.Shift), FaultFlags.Read) != FaultOutcome.Done)
                    return -Errno.EINVAL;
            }
        }
        return 0;
    }

    /// <summary>hpage_collapse_scan_pmd: some entry is writable, and nobody but mappings holds any of the pages.</summary>
    private long CheckCollapse(ulong* entries, bool mustWrite)
    {
        bool writable = false;
        for (int i = 0; i < PageTables.LeafPages; i++)
        {
            ulong value = Volatile.Read(ref entries[i]);
            if (value == 0)
                continue;
            if (!PageTables.IsMapped(value))
                return -Errno.EAGAIN;
            writable |= (value & (ulong)Pte.Writable) != 0;
            Pfn frame = PageTables.FrameOf(value);
            if (frame != Pages.Zero && IsHeldElsewhere(frame))
                return -Errno.EAGAIN;
        }
        return writable || !mustWrite ? 0 : -Errno.EINVAL;
    }

    /// <summary>Whether somebody besides mappings and the swap cache has a reference (is_refcount_suitable).</summary>
    private bool IsHeldElsewhere(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if ((page.Flags & PageFlags.Locked) != 0)
            return true;
        if ((page.Flags & (PageFlags.Head | PageFlags.Tail)) != 0)
            return HugePages.HasExtraReferences(Pages, Pages.HeadOf(frame), extra: 0);
        return Volatile.Read(ref page.RefCount) != Volatile.Read(ref page.MapCount) + (int)SwapCacheReferences(page);
    }

    /// <summary>collapse_huge_page: unhook the table, flush, copy, and hook in the leaf; the table waits for the leaf to be split.</summary>
    private long Replace(Task? task, Vma vma, ulong start, Pfn head)
    {
        var range = new MmuNotifierRange(this, start, start + PageTables.HugeSize, MmuNotifyEvent.Clear);
        InvalidateRangeStart(task, range);
        Pfn table;
        using (PageTableLock.Enter(task))
        {
            table = Tables.UnhookTable(start);
            // Processors may walk tables at any time, so lazy ones are told too (pmdp_collapse_flush).
            Shootdown.FlushMmRange(task?.Vcpu, this, start, start + PageTables.HugeSize, Pfn.Shift, freedTables: true);
        }
        InvalidateRangeEnd(task, range);
        // In bounds: a table, of which all 512 entries are looked at, and a block of as many frames.
        var entries = (ulong*)Pages.Memory.Pointer(table);
        // Nobody can find the pages any more, except those who had found them before.
        long error = CheckCollapse(entries, mustWrite: false);
        if (error < 0)
        {
            using (PageTableLock.Enter(task))
                Tables.HookTable(start, table);
            return error;
        }
        byte* target = Pages.Memory.Pointer(head);
        for (int i = 0; i < PageTables.LeafPages; i++)
        {
            Pfn frame = PageTables.FrameOf(entries[i]);
            if (entries[i] != 0 && frame != Pages.Zero)
                Buffer.MemoryCopy(Pages.Memory.Pointer(frame), target + ((long)i << Pfn.Shift), (long)Pfn.Size, (long)Pfn.Size);
        }
        using (PageTableLock.Enter(task))
        {
            for (int i = 0; i < PageTables.LeafPages; i++)
                DropCollapsed(entries + i);
            Tables.Deposit(table);
            SetAnonOwner(head, vma, start);
            MapLeaf(head);
            PageTables.Set(Tables.FindOrCreateHuge(start), head.Address | (ulong)(LeafBits(vma) | WriteBits(vma)));
        }
        return 0;
    }

    private void DropCollapsed(ulong* entry)
    {
        Pfn frame = PageTables.FrameOf(*entry);
        bool mapped = *entry != 0 && frame != Pages.Zero;
        *entry = 0;
        if (!mapped)
            return;
        Unmap(frame);
        PutPage(frame);
    }
}
