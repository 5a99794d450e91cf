using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

public sealed partial class HugePages
{
    private struct Splitting
    {
        public Task? Task;
    }

    /// <summary>References to a huge page beyond those of its mappings and <paramref name="extra"/> known ones (can_split_folio).</summary>
    internal static bool HasExtraReferences(PageAllocator pages, Pfn head, int extra)
    {
        long mappings = pages.EntireMapCount(head);
        for (ulong i = 0; i < PageTables.LeafPages; i++)
            mappings += Volatile.Read(ref pages[new Pfn(head.Value + i)].MapCount);
        return Volatile.Read(ref pages[head].RefCount) != mappings + extra;
    }

    /// <summary>
    /// Splits a huge page of anonymous memory into single ones where it is mapped, for reclaim, migration and whoever wants small pages
    /// (split_huge_page). Its leaves are split, its entries become migration entries while nobody may come to it, and map single pages then.
    /// </summary>
    /// <param name="task">The caller; may sleep.</param>
    /// <param name="frame">Any frame of the page. The caller has no reference, or one that <paramref name="references"/> counts.</param>
    /// <param name="references">References of the caller's.</param>
    /// <returns>0; -EBUSY: not such a page; -EAGAIN: somebody holds it.</returns>
    internal int SplitPage(Task? task, Pfn frame, int references = 0)
    {
        Pfn head = _pages.HeadOf(frame);
        if (!_pages.TryGet(head))
            return -Errno.EBUSY;
        int result = -Errno.EAGAIN;
        if (_pages.Locks.TryLock(head))
        {
            result = IsSplittable(head) ? SplitLocked(task, head, references + 1) : -Errno.EBUSY;
            _pages.Locks.Unlock(head);
        }
        _pages.Put(head);
        if (result != -Errno.EBUSY)
            _system.Events.Count(result == 0 ? VmEvent.ThpSplitPage : VmEvent.ThpSplitPageFailed);
        return result;
    }

    private bool IsSplittable(Pfn head) => (_pages[head].Flags & (PageFlags.Head | PageFlags.Anon | PageFlags.HugeTlb)) == (PageFlags.Head | PageFlags.Anon);

    private int SplitLocked(Task? task, Pfn head, int references)
    {
        Rmap.Place place = _system.Rmap.PlaceOf(head);
        if (place.Anon is null)
            return -Errno.EBUSY;
        if (HasExtraReferences(_pages, head, references) || !TryLockTails(head))
            return -Errno.EAGAIN;
        var splitting = new Splitting { Task = task };
        Rmap.Walk(task, place, ref splitting, static (Vma vma, ulong address, ref Splitting s) =>
        {
            vma.Mm.SplitHuge(s.Task, address);
            return true;
        });
        bool unmapped = true;
        for (int i = 0; i < PageTables.LeafPages && unmapped; i++)
            unmapped = _system.Rmap.TryToMigrate(task, PlaceOf(place, i), FrameOf(head, i), TtuFlags.BatchFlush);
        task?.TlbBatch.TryToUnmapFlush(task.Vcpu);
        bool split = unmapped && _pages.TryFreeze(head, references);
        if (split)
            MakeSingle(head, references);
        for (int i = 0; i < PageTables.LeafPages; i++)
            Rmap.RemoveMigrationEntries(task, PlaceOf(place, i), FrameOf(head, i), FrameOf(head, i));
        for (int i = 1; i < PageTables.LeafPages; i++)
        {
            _pages.Locks.Unlock(FrameOf(head, i));
            // Frames that nothing maps any more are free now.
            if (split)
                _pages.Put(FrameOf(head, i));
        }
        return split ? 0 : -Errno.EAGAIN;
    }

    private static Pfn FrameOf(Pfn head, int i) => new(head.Value + (ulong)i);

    private static Rmap.Place PlaceOf(in Rmap.Place head, int i) => head with { Index = head.Index + (ulong)i };

    /// <summary>Faults on migration entries wait for the lock of the frame that they name.</summary>
    private bool TryLockTails(Pfn head)
    {
        for (int i = 1; i < PageTables.LeafPages; i++)
        {
            if (_pages.Locks.TryLock(FrameOf(head, i)))
                continue;
            while (--i > 0)
                _pages.Locks.Unlock(FrameOf(head, i));
            return false;
        }
        return true;
    }

    /// <summary>__split_huge_page: nobody has a reference but us, so each frame can become a page of its own, with one reference of ours.</summary>
    private void MakeSingle(Pfn head, int references)
    {
        ref Page first = ref _pages[head];
        for (int i = 1; i < PageTables.LeafPages; i++)
        {
            ref Page page = ref _pages[FrameOf(head, i)];
            page.Index = first.Index + (ulong)i;
            Volatile.Write(ref page.Owner, first.Owner);
            PageAllocator.SetFlags(ref page, first.Flags & (PageFlags.Dirty | PageFlags.Referenced | PageFlags.LazyFree));
            // The reference comes first: without the flag, the frame is found by itself.
            Volatile.Write(ref page.RefCount, 1);
            PageAllocator.ClearFlags(ref page, PageFlags.Tail);
        }
        PageAllocator.ClearFlags(ref first, PageFlags.Head | PageFlags.PartiallyMapped);
        Volatile.Write(ref first.RefCount, references);
    }

    /// <summary>Splits huge pages that are partly unused, so that their unused frames are free (deferred_split_scan).</summary>
    /// <returns>Pages split.</returns>
    internal int SplitDeferred(Task? task, int count)
    {
        int split = 0;
        while (count-- > 0 && TryTakeDeferred(out Pfn head))
        {
            if (SplitPage(task, head) == 0)
                split++;
        }
        return split;
    }
}
