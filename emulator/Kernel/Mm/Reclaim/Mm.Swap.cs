using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>Entries that name a slot of the swap area: their faults and their end (mm/memory.c:do_swap_page, mm/swapfile.c).</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Gives up a swap entry that was taken out of the tables; the slot goes with the last one (free_swap_and_cache). Under the page-table lock.</summary>
    private void FreeSwapEntry(ulong slot)
    {
        SwapEntries--;
        _system.FreeSwap(slot);
    }

    /// <summary>Drops the reference of an entry that mapped a page, and the page's slot if that was the last entry (free_page_and_swap_cache).</summary>
    internal void PutPage(Pfn frame)
    {
        if ((Pages[frame].Flags & PageFlags.SwapCache) != 0)
            _system.ReleaseSwapCache(frame);
        Pages.Put(frame);
    }

    /// <summary>Brings a page back from the swap area; the mmap lock is held for reading.</summary>
    /// <param name="task">Who faulted.</param>
    /// <param name="vma">The mapping.</param>
    /// <param name="address">The page's address.</param>
    /// <param name="entry">The entry, which was <paramref name="value"/>.</param>
    /// <param name="value">A swap entry of kind <see cref="SwapKind.Swap"/>.</param>
    /// <param name="write">The access.</param>
    private FaultOutcome FaultSwap(Task? task, Vma vma, ulong address, ulong* entry, ulong value, bool write)
    {
        if (!SwapEntry.TryDecode(value, out SwapEntry swapped))
            return FaultOutcome.Done;
        ulong slot = swapped.Offset;
        FaultOutcome found = GetSwappedPage(task, slot, out Pfn frame, out bool major);
        if (frame == default)
            return found;
        bool installed = false;
        using (PageTableLock.Enter(task))
        {
            if (Volatile.Read(ref *entry) == value)
            {
                // Nobody else can have the contents: they are this address space's alone, or were when they went.
                bool exclusive = swapped.Exclusive || (_system.Swap.CountOf(slot) == 1 && Volatile.Read(ref Pages[frame].MapCount) == 0);
                Pte bits = BitsOf(vma.Flags) | (write && exclusive ? WriteBits(vma) : Pte.None);
                Pages.Get(frame);
                PageTables.Set(entry, frame.Address | (ulong)bits);
                SetSwappedOwner(frame, vma, address, exclusive);
                Map(frame);
                SwapEntries--;
                _system.Swap.Free(slot);
                installed = true;
            }
        }
        if (installed && ShouldFreeSwap(vma, write))
            _system.TryFreeSwap(frame);
        _system.UnlockAndPut(frame);
        _system.Faults.Count(installed ? FaultKind.SwapIn : FaultKind.Spurious);
        if (installed && major)
            CountMajorFault(task);
        return FaultOutcome.Done;
    }

    /// <summary>A page that others may map too is looked for from the root of the family down (__folio_set_anon).</summary>
    private void SetSwappedOwner(Pfn frame, Vma vma, ulong address, bool exclusive)
    {
        ref Page page = ref Pages[frame];
        bool isNew = page.Owner == 0;
        if (isNew || exclusive)
            SetAnonOwner(frame, vma, address);
        if (exclusive)
            return;
        PageAllocator.ClearFlags(ref page, PageFlags.AnonExclusive);
        if (isNew)
            Volatile.Write(ref page.Owner, vma.AnonVma!.Root.Number);
    }

    /// <summary>A slot that will be written anew, or that others need, is not kept (should_try_to_free_swap).</summary>
    private bool ShouldFreeSwap(Vma vma, bool write) =>
        write || (vma.Flags & VmFlags.Locked) != 0 || _system.Swap.FreeSlots * 2 < (long)_system.Swap.TotalSlots;

    /// <summary>The page of a slot, from the cache or read anew, locked and with a reference; none if somebody else was faster, or memory is exhausted.</summary>
    private FaultOutcome GetSwappedPage(Task? task, ulong slot, out Pfn frame, out bool major)
    {
        SwapArea swap = _system.Swap;
        major = false;
        bool cached = swap.TryGetCached(slot, out frame);
        if (!cached && !Pages.TryAllocate(PageFlags.Anon, zero: false, out frame))
            return FaultOutcome.OutOfMemory;
        // Reclaim's hand may have a new one, too, for a moment; to go on without the lock would show others the page before it is read.
        _system.PageLocks.Lock(task, frame);
        if (cached ? swap.SlotOf(frame) != slot : !swap.TryCache(slot, frame))
        {
            // Freed, moved to another frame, or read by somebody else meanwhile.
            _system.UnlockAndPut(frame);
            frame = default;
            return FaultOutcome.Done;
        }
        if (!cached)
            swap.Read(slot, frame);
        major = !cached;
        return FaultOutcome.Done;
    }

    private void CountMajorFault(Task? task)
    {
        _system.Events.Count(VmEvent.PageMajorFault);
        if (task is not null)
            task.MajorFaults++;
    }
}
