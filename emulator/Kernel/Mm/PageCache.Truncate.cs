using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>Taking pages away from mappings and from the cache (mm/truncate.c).</summary>
public abstract unsafe partial class PageCache
{
    /// <summary>Changes the size; pages beyond it leave the cache and every mapping, and the rest of the last page is cleared.</summary>
    /// <param name="task">The caller, whose vCPU asks the others to flush; null only when no vCPU runs.</param>
    /// <param name="size">The new size in bytes.</param>
    /// <returns>0 or a negative errno.</returns>
    public virtual long Truncate(Task? task, ulong size)
    {
        if (size > MaxSize)
            return -Errno.EFBIG;
        ulong old = Size;
        Size = size;
        if (size < old)
        {
            using (AnnounceChange(task, (size + 0xFFF) >> 12, ulong.MaxValue >> 12, FileNotifyEvent.Truncate))
                RemovePages(task, (size + 0xFFF) >> 12, ulong.MaxValue >> 12, evenCopies: true);
            ClearRange(task, size, (size + 0xFFF) & ~0xFFFUL);
        }
        return 0;
    }

    /// <summary>
    /// Takes the pages [first, last] out of every mapping and out of the cache. Truncation takes the copies of private mappings too, a
    /// hole does not (unmap_mapping_range, even_cows).
    /// </summary>
    private protected void RemovePages(Task? task, ulong first, ulong last, bool evenCopies)
    {
        UnmapMappingRange(task, first, last, evenCopies);
        RemoveCached(task, first, last);
        // A fault that took a private copy after the first look has it unmapped now (truncate_pagecache).
        if (evenCopies)
            UnmapMappingRange(task, first, last, evenCopies);
    }

    /// <summary>
    /// Removes the pages [first, last] one after the other, each under its lock, and those in the swap area. Again until none is left: reclaim
    /// and swap-in move pages between the two (shmem_undo_range).
    /// </summary>
    private protected void RemoveCached(Task? task, ulong first, ulong last)
    {
        // A page may go to the swap area behind the look there, or come back: look again. Not for ever, for writers may refill a hole.
        int passes = 0;
        do
        {
            DropSwapped(first, last);
            for (ulong at = first; TryGetNextPage(ref at, last, out Pfn frame); at++)
            {
                Pages.Locks.Lock(task, frame);
                RemoveLocked(task, frame, at);
                Pages.Locks.Unlock(frame);
                Pages.Put(frame);
            }
        }
        while (HasPages(first, last) && ++passes < 16);
    }

    private bool HasPages(ulong first, ulong last)
    {
        lock (_lock)
            return (_index.TryGetNext(first, out ulong found, out _) && found <= last) || (_swapped.TryGetNext(first, out found, out _) && found <= last);
    }

    /// <summary>Removes a page that the caller has locked, from mappings first if somebody has mapped it meanwhile (truncate_inode_folio).</summary>
    internal void RemoveLocked(Task? task, Pfn frame, ulong index)
    {
        if (!Holds(frame, index))
            return;
        if (IsMapped(frame))
            UnmapMappingRange(task, index, index, evenCopies: false);
        lock (_lock)
            Forget(index, frame);
        Uncharge();
        Pages.Put(frame); // The cache's own.
    }

    private bool IsMapped(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        return Volatile.Read(ref page.MapCount) > 0 || ((page.Flags & PageFlags.Head) != 0 && Volatile.Read(ref Pages.EntireMapCount(frame)) > 0);
    }

    /// <summary>Zaps the pages [first, last] from all mappings (mm/memory.c:unmap_mapping_range).</summary>
    private protected virtual void UnmapMappingRange(Task? task, ulong first, ulong last, bool evenCopies)
    {
        if (Mappings.IsEmpty)
            return;
        using (MappingsLock.EnterRead(task))
        {
            for (Vma? vma = Mappings.First; vma is not null; vma = vma.NextInMapping)
                vma.Mm.ZapFilePages(task, vma, first, last, evenCopies);
        }
    }

    /// <summary>Waits while the page is being punched out of the file; true: it was, and the access is to be tried again.</summary>
    internal virtual bool WaitForPunch(Task task, ulong index) => false;
}
