using Emulator.Hardware.Memory;
using Emulator.Kernel.Files;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What programs say of pages they do not need soon: MADV_FREE, MADV_COLD and MADV_PAGEOUT (mm/madvise.c). The mmap lock is held for reading.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Pages given to reclaim together.</summary>
    private const int PageoutCluster = 32;

    /// <summary>Whether pages of the mapping are reclaim's to take (can_madv_lru_vma).</summary>
    private static bool IsEvictable(Vma vma) => (vma.Flags & (VmFlags.Locked | VmFlags.HugeTlb | VmFlags.PfnMap)) == 0;

    /// <summary>
    /// Contents may be dropped from now on, until the program writes again (madvise_free_pte_range): dirty bits go, so that a page that is
    /// clean when memory runs short is known not to have been written since.
    /// </summary>
    private void AdviseFree(Task? task, ulong start, ulong end)
    {
        var gather = new MmuGather(this, task);
        while (Tables.NextRun(ref start, end, out ulong* entries, out int count, out int level))
        {
            if (level > 0)
            {
                FreeLeafLazily(gather, task, entries, ref start, end);
                continue;
            }
            using (PageTableLock.Enter(task))
            {
                FlushTlbBatchedPending(task);
                for (int i = 0; i < count; i++)
                    FreeLazily(gather, entries + i, start + ((ulong)i << Pfn.Shift));
            }
            start += (ulong)count << Pfn.Shift;
        }
        gather.Finish();
    }

    private void FreeLazily(MmuGather gather, ulong* entry, ulong address)
    {
        ulong value = Volatile.Read(ref *entry);
        if (SwapEntry.TryDecode(value, out SwapEntry swapped))
        {
            if (swapped.Kind != SwapKind.Swap)
                return;
            PageTables.Clear(entry, out _);
            FreeSwapEntry(swapped.Offset);
            return;
        }
        if (!PageTables.IsMapped(value) || PageTables.FrameOf(value) == Pages.Zero)
            return;
        Pfn frame = PageTables.FrameOf(value);
        ref Page page = ref Pages[frame];
        if ((page.Flags & PageFlags.Anon) == 0 || (page.Flags & (PageFlags.Head | PageFlags.Tail)) != 0)
            return;
        if ((page.Flags & (PageFlags.SwapCache | PageFlags.Dirty)) != 0 && !ForgetContents(frame))
            return;
        if (PageTables.Modify(entry, Pte.Accessed | Pte.Dirty, Pte.None) == FlushOwed.Page)
            gather.AddRange(address, address + Pfn.Size);
        if ((page.Flags & PageFlags.LazyFree) != 0)
            return;
        PageAllocator.SetFlags(ref page, PageFlags.LazyFree);
        _system.Events.Count(VmEvent.LazyFree);
    }

    /// <summary>
    /// The same for a leaf, as a whole if the range covers it (madvise_free_huge_pmd). Of a part the page is split first; shared ones stay. The start moves on
    /// behind the leaf, unless there is none any more.
    /// </summary>
    private void FreeLeafLazily(MmuGather gather, Task? task, ulong* leaf, ref ulong start, ulong end)
    {
        Pfn head;
        ulong at = start, next = PageTables.NextBoundary(start, end, 1);
        using (PageTableLock.Enter(task))
        {
            if (!PageTables.IsLeaf(*leaf))
                return;
            head = PageTables.FrameOf(*leaf);
            bool whole = next - start == PageTables.HugeSize;
            if (whole || Volatile.Read(ref Pages[head].RefCount) > 1)
                start = next;
            if (whole && Volatile.Read(ref Pages[head].RefCount) == 1 && _system.PageLocks.TryLock(head))
            {
                ref Page page = ref Pages[head];
                PageAllocator.ClearFlags(ref page, PageFlags.Dirty);
                _system.PageLocks.Unlock(head);
                if (PageTables.Modify(leaf, Pte.Accessed | Pte.Dirty, Pte.None) == FlushOwed.Page)
                    gather.AddRange(at, next, HugeShift);
                if ((page.Flags & PageFlags.LazyFree) == 0)
                    _system.Events.Count(VmEvent.LazyFree, PageTables.LeafPages);
                PageAllocator.SetFlags(ref page, PageFlags.LazyFree);
            }
        }
        if (start == at && _system.HugePages.SplitPage(task, head) != 0)
            start = next;
    }

    /// <summary>Makes a page clean and without a slot, unless others use it too.</summary>
    private bool ForgetContents(Pfn frame)
    {
        if (!_system.PageLocks.TryLock(frame))
            return false;
        bool alone = Volatile.Read(ref Pages[frame].MapCount) == 1 && _system.TryFreeSwap(frame);
        if (alone)
            PageAllocator.ClearFlags(ref Pages[frame], PageFlags.Dirty);
        _system.PageLocks.Unlock(frame);
        return alone;
    }

    /// <summary>MADV_COLD: reclaim is to come to these pages first (madvise_cold).</summary>
    private void AdviseCold(Task? task, ulong start, ulong end)
    {
        var gather = new MmuGather(this, task);
        while (NextEntries(task, ref start, end, out ulong* entries, out int count))
        {
            using (PageTableLock.Enter(task))
            {
                for (int i = 0; i < count; i++)
                {
                    if (!IsAlone(entries[i], out Pfn frame))
                        continue;
                    ulong address = start + ((ulong)i << Pfn.Shift);
                    if (PageTables.Modify(entries + i, Pte.Accessed, Pte.None) == FlushOwed.Page)
                        gather.AddRange(address, address + Pfn.Size);
                    PageAllocator.ClearFlags(ref Pages[frame], PageFlags.Referenced);
                    _system.Events.Count(VmEvent.Deactivate);
                }
            }
            start += (ulong)count << Pfn.Shift;
        }
        gather.Finish();
    }

    /// <summary>MADV_PAGEOUT: pages that nobody else maps are reclaimed now (madvise_pageout).</summary>
    private void AdvisePageout(Task? task, Vma vma, ulong start, ulong end)
    {
        bool mayWrite = MayPageOutFile(vma);
        if (vma.Cache is not null && !mayWrite && (vma.Flags & VmFlags.MayShare) != 0)
            return;
        Span<Pfn> taken = stackalloc Pfn[PageoutCluster];
        while (NextEntries(task, ref start, end, out ulong* entries, out int count))
        {
            int used = 0, done = 0;
            using (PageTableLock.Enter(task))
            {
                for (; done < count && used < taken.Length; done++)
                {
                    if (!IsAlone(entries[done], out Pfn frame) || (!mayWrite && (Pages[frame].Flags & PageFlags.Anon) == 0))
                        continue;
                    if (Pages.TryGet(frame))
                        taken[used++] = frame;
                }
            }
            _system.Reclaim.Reclaim(task, taken[..used]);
            start += (ulong)done << Pfn.Shift;
        }
    }

    /// <summary>Whether an entry maps a page of reclaim's that only this entry maps.</summary>
    private bool IsAlone(ulong entry, out Pfn frame)
    {
        frame = default;
        if (!PageTables.IsMapped(entry))
            return false;
        frame = PageTables.FrameOf(entry);
        ref Page page = ref Pages[frame];
        return (page.Flags & ShrinkList.Reclaimable) != 0 && (page.Flags & ShrinkList.Unreclaimable) == 0 && Volatile.Read(ref page.MapCount) == 1;
    }

    /// <summary>can_do_file_pageout: how fast a file can be read is not for everybody to find out.</summary>
    private static bool MayPageOutFile(Vma vma) =>
        vma.File is { } file && (vma.Cache is ShmemPageCache || (file.Flags & FileAbi.O_ACCMODE) != FileAbi.O_RDONLY);

    /// <summary>Some address that is mapped, for the disturbance engine; false: none was found at once.</summary>
    internal bool TryPickMapped(RandomSource random, out ulong address)
    {
        address = 0;
        if (!MmapLock.TryLockRead())
            return false;
        Vma? vma = Vmas.First;
        for (int skip = Vmas.Count == 0 ? 0 : random.Next(Vmas.Count); skip > 0 && vma is not null; skip--)
            vma = Vmas.Next(vma);
        bool found = false;
        if (vma is not null)
        {
            address = vma.Start + (random.NextUInt64() % vma.Pages << Pfn.Shift);
            found = Tables.NextRun(ref address, vma.End, out _, out int count, out _);
            if (found && count > 1)
                address += (ulong)random.Next(count) << Pfn.Shift;
        }
        UnlockRead();
        return found;
    }

    /// <summary>As <see cref="PageTables.NextRun(ref ulong, ulong, out ulong*, out int)"/>, with every leaf on the way split.</summary>
    private bool NextEntries(Task? task, ref ulong start, ulong end, out ulong* entries, out int count)
    {
        while (Tables.NextRun(ref start, end, out entries, out count, out int level))
        {
            if (level == 0)
                return true;
            SplitHuge(task, start);
        }
        return false;
    }
}
