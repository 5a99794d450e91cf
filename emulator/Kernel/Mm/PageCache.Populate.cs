using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>Many pages at once, for those who populate mappings.</summary>
public abstract unsafe partial class PageCache
{
    /// <summary>
    /// The pages from an index on, each with a reference and its lock for the caller. Absent ones are new, and zero: for files that are not
    /// read from anywhere. Ends before a page that is locked, in the swap area, or cannot be had.
    /// </summary>
    /// <param name="first">The first page's index; not checked against the size.</param>
    /// <param name="frames">At most as many as a page table has entries; filled from the start.</param>
    /// <returns>How many there are.</returns>
    private protected int TryLockPages(ulong first, Span<Pfn> frames)
    {
        // In bounds: no more than the caller's span has, which is a page table's entries at most.
        Span<Pfn> fresh = stackalloc Pfn[CountAbsent(first, frames.Length)];
        // Locked from birth, as Linux adds pages to a cache: nobody else can take one away before the caller has mapped it.
        fresh = fresh[..Pages.Allocate(FrameFlags | PageFlags.Locked, zero: true, fresh)];
        int taken = 0, used = 0;
        lock (_lock)
        {
            for (; taken < frames.Length; taken++)
            {
                ulong index = first + (ulong)taken;
                if (_index.TryGet(index, out Pfn frame))
                {
                    if (!Pages.Locks.TryLock(frame))
                        break;
                    Pages.Get(frame);
                    MarkUsed(frame);
                }
                else
                {
                    if (used == fresh.Length || (SwappedPages != 0 && _swapped.TryGet(index, out _)) || !TryCharge())
                        break;
                    frame = fresh[used++];
                    Enter(index, frame);
                }
                frames[taken] = frame;
            }
        }
        foreach (Pfn surplus in fresh[used..])
            Pages.Put(surplus);
        return taken;
    }

    private int CountAbsent(ulong first, int count)
    {
        int absent = 0;
        lock (_lock)
        {
            for (int i = 0; i < count; i++)
                absent += _index.TryGet(first + (ulong)i, out _) ? 0 : 1;
        }
        return absent;
    }
}
