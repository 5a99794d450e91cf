using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Pages that one device has for itself for atomic operations: they stay where they are, and entries that no processor can use say so
/// (mm/rmap.c, make_device_exclusive_range). Such an entry keeps its reference and counts as a mapping, as since Linux 6.15.
/// </summary>
public sealed unsafe partial class Mm
{
    /// <summary>
    /// Takes a range's anonymous pages away from processors until one of them needs its page back, of which <see cref="MmuNotifyEvent.Exclusive"/>
    /// tells. The caller holds the mmap lock for reading.
    /// </summary>
    /// <param name="task">The caller.</param>
    /// <param name="start">First byte, page-aligned.</param>
    /// <param name="pages">One element a page. Out: those that were taken, locked and with a reference, to be given back by
    /// <see cref="ReleaseExclusivePages"/> when the device has mapped them; default: could not be taken.</param>
    /// <param name="owner">Goes with the notification.</param>
    /// <returns>How many elements were filled in, or a negative error if none.</returns>
    public int MakeDeviceExclusiveRange(Task? task, ulong start, Span<Pfn> pages, object? owner)
    {
        int count = TakePagesLocked(task, start, FollFlags.Write, pages, pin: false);
        for (int i = 0; i < count; i++)
        {
            Pfn frame = pages[i];
            if ((Pages[frame].Flags & (PageFlags.Head | PageFlags.Tail)) == 0 && _system.PageLocks.TryLock(frame))
            {
                if (_system.Rmap.MakeDeviceExclusive(task, frame, this, start + ((ulong)i << Pfn.Shift), owner))
                    continue;
                _system.UnlockAndPut(frame);
            }
            else
            {
                Pages.Put(frame);
            }
            pages[i] = default;
        }
        return count;
    }

    /// <summary>Unlocks what <see cref="MakeDeviceExclusiveRange"/> took and drops its references: from now on processors may have the pages back.</summary>
    public void ReleaseExclusivePages(ReadOnlySpan<Pfn> pages)
    {
        foreach (Pfn frame in pages)
        {
            if (frame != default)
                _system.UnlockAndPut(frame);
        }
    }

    /// <summary>page_make_device_exclusive_one: whether the entry was writable.</summary>
    internal bool MakeExclusiveOne(Task? task, ulong address, Pfn frame, object? owner)
    {
        bool writable = false;
        using OperationScope operation = task.Operation("make_device_exclusive", address, address + Pfn.Size);
        var range = new MmuNotifierRange(this, address, address + Pfn.Size, MmuNotifyEvent.Exclusive, Owner: owner);
        InvalidateRangeStart(task, range);
        using (PageTableLock.Enter(task))
        {
            ulong* entry = EntryMapping(address, frame);
            if (entry is not null)
            {
                if (PageTables.Clear(entry, out ulong old) == FlushOwed.Page)
                    Shootdown.FlushPage(task?.Vcpu, this, address);
                writable = (old & (ulong)Pte.Writable) != 0;
                if ((old & (ulong)Pte.Dirty) != 0)
                    PageAllocator.SetFlags(ref Pages[frame], PageFlags.Dirty);
                PageTables.Set(entry, new SwapEntry(writable ? SwapKind.DeviceExclusiveWrite : SwapKind.DeviceExclusiveRead, frame.Value).Encode());
            }
        }
        InvalidateRangeEnd(task, range);
        return writable;
    }

    /// <summary>A processor needs the page: the device loses it (remove_device_exclusive_entry).</summary>
    private FaultOutcome FaultDeviceExclusive(Task? task, Vma vma, ulong address, ulong* entry, ulong value, SwapEntry swap)
    {
        // Nothing but the entry keeps the page, and that may go.
        if (!Pages.TryGet(swap.Frame))
            return FaultOutcome.Done;
        _system.PageLocks.Lock(task, swap.Frame);
        using OperationScope operation = task.Operation("remove_device_exclusive_entry", address, address + Pfn.Size);
        var range = new MmuNotifierRange(this, address, address + Pfn.Size, MmuNotifyEvent.Exclusive);
        InvalidateRangeStart(task, range);
        using (PageTableLock.Enter(task))
        {
            if (Volatile.Read(ref *entry) == value)
                RestoreExclusive(vma.Flags, entry, swap);
        }
        InvalidateRangeEnd(task, range);
        _system.UnlockAndPut(swap.Frame);
        return FaultOutcome.Done;
    }

    /// <summary>
    /// The same in fork, which has told devices of the change already (try_restore_exclusive_pte). False: somebody has the page locked, such as a
    /// device that is about to map it.
    /// </summary>
    private bool TryRestoreExclusive(VmFlags flags, ulong* entry, SwapEntry swap)
    {
        if (!_system.PageLocks.TryLock(swap.Frame))
            return false;
        RestoreExclusive(flags, entry, swap);
        _system.PageLocks.Unlock(swap.Frame);
        return true;
    }

    /// <summary>restore_exclusive_pte.</summary>
    private static void RestoreExclusive(VmFlags flags, ulong* entry, SwapEntry swap)
    {
        Pte bits = BitsOf(flags) & ~Pte.Accessed;
        if (swap.IsWritable && (flags & VmFlags.Write) != 0)
            bits |= Pte.Writable | Pte.Dirty;
        Volatile.Write(ref *entry, swap.Frame.Address | (ulong)bits);
    }
}
