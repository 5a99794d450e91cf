using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>How pages of files leave memory and come back: clean ones are forgotten, those of shmem go to the swap area.</summary>
public abstract unsafe partial class PageCache
{
    /// <summary>Slots of the pages that are in the swap area, by page index. Guarded as the index of pages is.</summary>
    private readonly PageIndex _swapped = new();

    /// <summary>Pages in the swap area.</summary>
    public long SwappedPages => _swapped.Count;

    /// <summary>The next page at or after an index that is in the swap area.</summary>
    internal bool TryGetNextSwapped(ref ulong index)
    {
        lock (_lock)
            return SwappedPages != 0 && _swapped.TryGetNext(index, out index, out _);
    }

    /// <summary>
    /// Takes a page out of the cache if only the cache and the caller refer to it; its contents are safe afterwards. The caller holds the
    /// page lock, has unmapped and flushed the page, and frees the frame, whose references are gone.
    /// </summary>
    /// <returns>False: somebody uses it, or the swap area is full, or the file cannot be written.</returns>
    internal bool TryEvict(Pfn frame, ulong index)
    {
        if (!Holds(frame, index) || (Pages[frame].Flags & PageFlags.Unused) != 0)
            return false;
        if ((FrameFlags & PageFlags.SwapBacked) != 0)
            return TrySwapOut(frame, index);
        ref Page page = ref Pages[frame];
        // Nothing maps it, so whoever makes it dirty again does so through here, with a reference.
        if ((page.Flags & PageFlags.Dirty) != 0 && !Clean(index, frame))
            return false;
        lock (_lock)
        {
            if ((page.Flags & PageFlags.Dirty) != 0 || !Holds(frame, index) || !Pages.TryFreeze(frame, 2))
                return false;
            Forget(index, frame);
            return true;
        }
    }

    /// <summary>Writes a page to where it comes from, having cleared its dirty flag first.</summary>
    protected virtual bool Clean(ulong index, Pfn frame) => true;

    /// <summary>shmem_writepage. The copy is made while nobody can take the page, so it cannot miss a store.</summary>
    private bool TrySwapOut(Pfn frame, ulong index)
    {
        if (Pages.Swap is not { } swap || !swap.TryTake(out ulong slot))
            return false;
        lock (_lock)
        {
            if (Holds(frame, index) && Pages.TryFreeze(frame, 2))
            {
                swap.Write(slot, frame);
                Forget(index, frame);
                _swapped.Add(index, new Pfn(slot));
                return true;
            }
        }
        swap.Free(slot);
        return false;
    }

    /// <summary>Takes a page out of the index; the lock is held.</summary>
    private void Forget(ulong index, Pfn frame)
    {
        _index.Remove(index, out _);
        _departures++;
        Volatile.Write(ref Pages[frame].Owner, 0);
    }

    /// <summary>shmem_swapin_folio: 0 with the page and a reference for the caller; -ENOMEM; -EAGAIN: somebody else was faster.</summary>
    private long SwapIn(Task? task, ulong index, out Pfn frame)
    {
        if (!Pages.TryAllocate(task, FrameFlags | PageFlags.Dirty, zero: false, out frame))
            return -Errno.ENOMEM;
        lock (_lock)
        {
            if (_swapped.Remove(index, out Pfn slot))
            {
                Pages.Swap!.Read(slot.Value, frame);
                Pages.Swap.Free(slot.Value);
                Enter(index, frame);
                return 0;
            }
        }
        Pages.Put(frame);
        frame = default;
        return -Errno.EAGAIN;
    }

    /// <summary>Gives up the slots of the pages [first, last].</summary>
    private void DropSwapped(ulong first, ulong last)
    {
        for (ulong at = first; SwappedPages != 0; at++)
        {
            lock (_lock)
            {
                if (!_swapped.TryGetNext(at, out at, out Pfn slot) || at > last)
                    return;
                _swapped.Remove(at, out _);
                Pages.Swap!.Free(slot.Value);
            }
            Uncharge();
        }
    }
}
