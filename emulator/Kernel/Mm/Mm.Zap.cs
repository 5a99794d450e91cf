using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>Taking pages out of mappings.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Unmaps the pages of [start, end) of a VMA; the gather frees them after its flush (mm/memory.c:zap_pte_range).</summary>
    private void Zap(MmuGather gather, Task? task, Vma vma, ulong start, ulong end)
    {
        if (vma.IsContainer)
        {
            Unlink(gather, task, vma);
            return;
        }
        if ((vma.Flags & VmFlags.HugeTlb) != 0)
        {
            ZapHugeTlb(gather, task, vma, start, end);
            return;
        }
        while (Tables.NextRun(ref start, end, out ulong* entries, out int count, out int level))
        {
            if (level > 0)
            {
                if (ZapLeaf(gather, task, vma, entries, start, end))
                    start = PageTables.NextBoundary(start, end, level);
                continue;
            }
            for (int done = 0; done < count;)
            {
                bool full = false;
                using (PageTableLock.Enter(task))
                {
                    FlushTlbBatchedPending(task);
                    for (; done < count && !full; done++)
                    {
                        if (entries[done] != 0)
                            full = ZapEntry(gather, vma, entries + done, start + ((ulong)done << Pfn.Shift));
                    }
                    full |= gather.FlushForced();
                }
                if (full)
                    gather.Flush();
            }
            start += (ulong)count << Pfn.Shift;
        }
    }

    private bool ZapEntry(MmuGather gather, Vma vma, ulong* entry, ulong address)
    {
        if (PageTables.Clear(entry, out ulong old) == FlushOwed.Page)
            gather.AddRange(address, address + Pfn.Size);
        if (SwapEntry.TryDecode(old, out SwapEntry swap))
            return ZapSwapEntry(gather, swap);
        Pfn frame = PageTables.FrameOf(old);
        if (!PageTables.IsMapped(old) || frame == Pages.Zero || PageTables.IsSpecial(old))
            return false;
        if ((old & (ulong)Pte.Dirty) != 0 && vma.IsShared)
        {
            PageAllocator.SetFlags(ref Pages[frame], PageFlags.Dirty);
            gather.ForceFlush();
            if (gather.DelaysRmap)
            {
                CountResident(Pages[frame].Flags, -1);
                return gather.AddFrame(frame, delayRmap: true);
            }
        }
        Unmap(frame);
        return gather.AddFrame(frame);
    }

    /// <summary>zap_nonpresent_ptes.</summary>
    private bool ZapSwapEntry(MmuGather gather, SwapEntry swap)
    {
        if (swap.Kind == SwapKind.Swap)
        {
            FreeSwapEntry(swap.Offset);
        }
        else if (swap.IsMigration)
        {
            // Whoever moves the page holds it; this mapping of it was uncounted when the entry was made.
            CountResident(Pages[swap.Frame].Flags, -1);
        }
        else if (swap.HasFrame)
        {
            Unmap(swap.Frame);
            return gather.AddFrame(swap.Frame);
        }
        return false;
    }

    /// <summary>Whether an entry stands for a page of the file itself rather than for a private copy (should_zap_folio).</summary>
    private bool IsCachePage(ulong entry)
    {
        Pfn frame =
            PageTables.IsMapped(entry) ? PageTables.FrameOf(entry)
            : SwapEntry.TryDecode(entry, out SwapEntry swap) && swap.HasFrame ? swap.Frame
            : default;
        return frame != default && (Pages[frame].Flags & PageFlags.Cache) != 0;
    }

    /// <summary>Zaps [start, end) with a gather of its own (zap_page_range_single). The mmap lock is held, for reading at least.</summary>
    private void ZapRange(Task? task, Vma vma, ulong start, ulong end)
    {
        using OperationScope operation = task.Operation("zap_page_range_single", start, end);
        var gather = new MmuGather(this, task);
        var range = new MmuNotifierRange(this, start, end, MmuNotifyEvent.Clear);
        InvalidateRangeStart(task, range);
        Zap(gather, task, vma, start, end);
        InvalidateRangeEnd(task, range);
        gather.Finish();
    }

    /// <summary>
    /// Unmaps the pages [first, last] of the file that a VMA maps, and private copies if asked. Called under the file's
    /// <see cref="PageCache.MappingsLock"/>, which keeps the VMA and its tables.
    /// </summary>
    internal void ZapFilePages(Task? task, Vma vma, ulong first, ulong last, bool evenCopies)
    {
        ulong vmaLast = vma.PageOffset + vma.Pages - 1;
        first = Math.Max(first, vma.PageOffset);
        last = Math.Min(last, vmaLast);
        if (first > last)
            return;
        ulong start = vma.Start + ((first - vma.PageOffset) << Pfn.Shift), end = vma.Start + ((last - vma.PageOffset + 1) << Pfn.Shift);
        using OperationScope operation = task.Operation("unmap_mapping_range", start, end);
        var gather = new MmuGather(this, task);
        var range = new MmuNotifierRange(this, start, end, MmuNotifyEvent.Clear) { OfDriver = (vma.Flags & VmFlags.PfnMap) != 0 };
        InvalidateRangeStart(task, range);
        if (vma.IsShared || evenCopies)
            Zap(gather, task, vma, start, end);
        else
            ZapCachePages(gather, task, vma, start, end);
        InvalidateRangeEnd(task, range);
        gather.Finish();
    }

    /// <summary>As <see cref="Zap"/>, but only pages of the file itself: a private mapping's copies stay (unmap_mapping_range, even_cows = 0).</summary>
    private void ZapCachePages(MmuGather gather, Task? task, Vma vma, ulong start, ulong end)
    {
        while (Tables.NextRun(ref start, end, out ulong* entries, out int count))
        {
            for (int i = 0; i < count; i++)
            {
                bool full = false;
                using (PageTableLock.Enter(task))
                {
                    FlushTlbBatchedPending(task);
                    ulong entry = entries[i];
                    if (IsCachePage(entry))
                        full = ZapEntry(gather, vma, entries + i, start + ((ulong)i << Pfn.Shift));
                    full |= gather.FlushForced();
                }
                if (full)
                    gather.Flush();
            }
            start += (ulong)count << Pfn.Shift;
        }
    }
}
