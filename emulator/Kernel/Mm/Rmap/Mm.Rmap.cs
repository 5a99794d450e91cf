using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>Counts of the entries that map a page, and whose an anonymous page is (mm/rmap.c). Under the page-table lock.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Set by the first pin: only then may a page of this address space be pinned at all (mm->flags, MMF_HAS_PINNED).</summary>
    private bool _hasPinned;

    /// <summary>Counts a new mapping of a frame; the entry takes over the caller's reference.</summary>
    private void Map(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        Interlocked.Increment(ref page.MapCount);
        CountResident(page.Flags, +1);
    }

    /// <summary>Maps a page that nobody else knows yet: it is this address space's alone (folio_add_new_anon_rmap).</summary>
    private void MapNewAnon(Pfn frame, Vma vma, ulong address)
    {
        SetAnonOwner(frame, vma, address);
        Map(frame);
    }

    /// <summary>Makes the VMA the place where mappings of an exclusive page are looked for (folio_move_anon_rmap).</summary>
    private void SetAnonOwner(Pfn frame, Vma vma, ulong address)
    {
        ref Page page = ref Pages[frame];
        page.Index = vma.IndexOf(address);
        Volatile.Write(ref page.Owner, vma.AnonVma!.Number);
        PageAllocator.SetFlags(ref page, PageFlags.AnonExclusive);
    }

    /// <summary>An entry that mapped the frame is gone; its reference is the caller's now (folio_remove_rmap_pte).</summary>
    private void Unmap(Pfn frame)
    {
        CountResident(Pages[frame].Flags, -1);
        RemoveRmap(frame);
    }

    /// <summary>The part of <see cref="Unmap(Pfn)"/> that others see, which may have to wait for a flush.</summary>
    internal void RemoveRmap(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        Interlocked.Decrement(ref page.MapCount);
        if ((page.Flags & (PageFlags.Head | PageFlags.Tail)) != 0)
            _system.HugePages.NotePartialUnmap(frame);
    }

    /// <summary>
    /// fork is about to map the page a second time: it is nobody's alone any more (folio_try_dup_anon_rmap_pte). False: somebody may have
    /// pinned it, so it must stay exclusive.
    /// </summary>
    private bool TryShareAnon(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if (page.IsAnonExclusive)
        {
            if (IsMaybePinned(frame))
                return false;
            PageAllocator.ClearFlags(ref page, PageFlags.AnonExclusive);
        }
        return true;
    }

    /// <summary>folio_needs_cow_for_dma.</summary>
    private bool IsMaybePinned(Pfn frame) => _hasPinned && Pages[Pages.HeadOf(frame)].MaybePinned;

    /// <summary>
    /// Whether a write may go to the anonymous page itself (wp_can_reuse_anon_folio): it is exclusive, or whoever shared it is gone, and
    /// then it becomes exclusive. Frames of a huge page are not taken over one by one.
    /// </summary>
    private bool CanReuseAnon(Pfn frame, Vma vma, ulong address, bool leaf)
    {
        ref Page page = ref Pages[frame];
        if (page.IsAnonExclusive)
            return true;
        PageLocks locks = _system.PageLocks;
        if ((!leaf && (page.Flags & (PageFlags.Head | PageFlags.Tail)) != 0) || Volatile.Read(ref page.RefCount) > 1 + (int)SwapCacheReferences(page) || !locks.TryLock(frame))
            return false;
        _system.TryFreeSwap(frame);
        bool alone = Volatile.Read(ref page.RefCount) == 1;
        if (alone)
            SetAnonOwner(frame, vma, address);
        locks.Unlock(frame);
        return alone;
    }

    private static uint SwapCacheReferences(in Page page) => (page.Flags & PageFlags.SwapCache) != 0 ? 1u : 0;
}
