using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// A cluster of pages on their way out (mm/vmscan.c:shrink_folio_list): each is unmapped, then one flush is paid for all, then contents
/// that are nowhere else are written, and the frames that nobody else uses are freed.
/// </summary>
/// <remarks>
/// Required: no frame is written out or freed before the flush of its entries, or a store through a stale translation would be lost or
/// hit the next owner. Linux pays before the first dirty page; here the whole cluster is unmapped first, so that there is one flush.
/// Pages are locked by trying only, so that clusters of two tasks cannot wait for each other.
/// </remarks>
internal sealed class ShrinkList(MemorySystem system, Task? task, int capacity)
{
    internal const PageFlags Reclaimable = PageFlags.Anon | PageFlags.Cache;

    internal const PageFlags Unreclaimable = PageFlags.Reserved | PageFlags.Table | PageFlags.Free | PageFlags.Tail | PageFlags.HugeTlb;

    // In bounds: callers empty it when it is full.
    private readonly Pfn[] _frames = new Pfn[capacity];

    private PageAllocator Pages => system.Pages;

    public int Count { get; private set; }

    public bool IsFull => Count == _frames.Length;

    /// <summary>Takes over the caller's reference to a page, and unmaps it unless it must stay.</summary>
    public void Add(Pfn frame, bool ignoreReferences)
    {
        if ((Pages[frame].Flags & PageFlags.Head) != 0)
        {
            // Its frames are looked at one by one when the hand comes to them again.
            system.Events.Count(VmEvent.ThpSwapOutFallback);
            system.HugePages.SplitPage(task, frame, references: 1);
            Pages.Put(frame);
            return;
        }
        if (!system.PageLocks.TryLock(frame))
        {
            Pages.Put(frame);
            return;
        }
        if (Unmap(frame, ignoreReferences))
            _frames[Count++] = frame;
        else
            system.UnlockAndPut(frame);
    }

    /// <summary>Flushes, writes, frees, and empties the list.</summary>
    /// <returns>Frames freed.</returns>
    public int Shrink()
    {
        Flush();
        int freed = 0;
        for (int i = 0; i < Count; i++)
        {
            if (Free(_frames[i]))
                freed++;
            else
                system.UnlockAndPut(_frames[i]);
        }
        Count = 0;
        task?.TlbBatch.Freed(task);
        return freed;
    }

    private bool Unmap(Pfn frame, bool ignoreReferences)
    {
        ref Page page = ref Pages[frame];
        PageFlags flags = page.Flags;
        if ((flags & Reclaimable) == 0 || (flags & Unreclaimable) != 0)
            return false;
        if ((flags & (PageFlags.Head | PageFlags.Remote)) != 0)
            return false;
        bool mapped = Volatile.Read(ref page.MapCount) > 0;
        if (mapped && page.MaybePinned) // Devices may write to it (folio_maybe_dma_pinned).
            return false;
        if (mapped)
        {
            int referenced = system.Rmap.Referenced(task, frame, out VmFlags vmas);
            if ((vmas & VmFlags.Locked) != 0)
            {
                system.Events.Count(VmEvent.UnevictableCulled);
                return false;
            }
            if (referenced > 0 && !ignoreReferences)
            {
                system.Events.Count(VmEvent.Activate);
                return false;
            }
        }
        else if ((flags & PageFlags.Referenced) != 0 && !ignoreReferences)
        {
            PageAllocator.ClearFlags(ref page, PageFlags.Referenced);
            return false;
        }
        bool anonymous = (flags & PageFlags.Anon) != 0;
        if (anonymous && !mapped && (flags & PageFlags.SwapCache) == 0)
            return false; // On its way into a mapping, or out of the last one.
        if (anonymous && (flags & (PageFlags.LazyFree | PageFlags.SwapCache)) == 0)
        {
            if (!system.Swap.TryAddPage(frame, out _))
                return false;
            PageAllocator.SetFlags(ref page, PageFlags.Dirty);
        }
        if (!mapped || system.Rmap.TryToUnmap(task, frame, TtuFlags.BatchFlush))
            return true;
        // Some entries may be gone; who frees the frame next knows nothing of their flush.
        Flush();
        return false;
    }

    private void Flush() => task?.TlbBatch.TryToUnmapFlush(task.Vcpu);

    /// <summary>Writes what is nowhere else and frees the frame, if nobody but the cache and this list refers to it.</summary>
    private bool Free(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if ((page.Flags & PageFlags.Cache) != 0)
            return FreeCached(frame);
        if ((page.Flags & PageFlags.SwapCache) == 0)
        {
            if ((page.Flags & PageFlags.LazyFree) == 0 || !Pages.TryFreeze(frame, 1))
                return false;
            system.Events.Count(VmEvent.LazyFreed);
            FreeFrozen(frame);
            return true;
        }
        WriteToSwap(frame);
        if (!Pages.TryFreeze(frame, 2))
            return false;
        system.Swap.Uncache(frame);
        FreeFrozen(frame);
        return true;
    }

    private void WriteToSwap(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if ((page.Flags & PageFlags.Dirty) == 0)
            return;
        // Before the copy: whoever makes it dirty during the copy is seen the next time.
        PageAllocator.ClearFlags(ref page, PageFlags.Dirty);
        system.Swap.Write(system.Swap.SlotOf(frame), frame);
    }

    private bool FreeCached(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if (Pages.CacheOf(page.Owner) is not { } cache)
            return false;
        if (!cache.TryEvict(frame, page.Index))
            return false;
        FreeFrozen(frame);
        return true;
    }

    private void FreeFrozen(Pfn frame)
    {
        system.PageLocks.Unlock(frame);
        Pages.Free(frame, 0);
    }
}
