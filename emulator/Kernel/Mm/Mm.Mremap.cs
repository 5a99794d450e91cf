using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Memory;

/// <summary>mremap (mm/mremap.c): a mapping shrinks, grows, or moves with its pages.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>mremap(2): the new address or a negative errno.</summary>
    public long Mremap(Task? task, ulong address, ulong oldLength, ulong newLength, int flags, ulong newAddress)
    {
        if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0)
            return -Errno.EINVAL;
        if ((flags & MREMAP_FIXED) != 0 && (flags & MREMAP_MAYMOVE) == 0)
            return -Errno.EINVAL;
        if ((flags & MREMAP_DONTUNMAP) != 0 && ((flags & MREMAP_MAYMOVE) == 0 || oldLength != newLength))
            return -Errno.EINVAL;
        if (!Layout.IsPageAligned(address))
            return -Errno.EINVAL;
        oldLength = Layout.PageAlign(oldLength);
        newLength = Layout.PageAlign(newLength);
        if (newLength == 0)
            return -Errno.EINVAL;
        LockWrite(task);
        long result;
        ulong grownFrom = 0;
        try
        {
            result = MremapLocked(task, address, oldLength, newLength, flags, newAddress, out bool populate);
            if (result >= 0 && populate)
                grownFrom = (ulong)result + oldLength;
        }
        finally
        {
            UnlockWrite();
        }
        if (grownFrom != 0)
            Populate(task, grownFrom, (ulong)result + newLength);
        return result;
    }

    private long MremapLocked(Task? task, ulong address, ulong oldLength, ulong newLength, int flags, ulong newAddress, out bool populate)
    {
        populate = false;
        if (Vmas.Find(address) is not { } vma)
            return -Errno.EFAULT;
        // Links are made where the region's file is mapped, and nowhere else.
        if (vma.IsContainer && (oldLength != newLength || (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0))
            return -Errno.EINVAL;
        if ((vma.Flags & VmFlags.HugeTlb) != 0)
        {
            // Growing would need a reservation that nobody makes.
            ulong mask = PageSizeOf(vma) - 1;
            oldLength = (oldLength + mask) & ~mask;
            newLength = (newLength + mask) & ~mask;
            if (((address | newAddress) & mask) != 0 || newLength > oldLength)
                return -Errno.EINVAL;
        }
        if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0)
            return MremapTo(task, address, newAddress, oldLength, newLength, flags, out populate);
        if (oldLength >= newLength)
        {
            long error = oldLength == newLength ? 0 : MunmapLocked(task, address + newLength, oldLength - newLength);
            return error < 0 ? error : (long)address;
        }
        long refused = CheckResize(task, vma, address, oldLength, newLength, flags);
        if (refused < 0)
            return refused;
        populate = (vma.Flags & VmFlags.Locked) != 0;
        if (oldLength == vma.End - address && CanGrowInPlace(vma, newLength - oldLength))
        {
            ulong pages = (newLength - oldLength) >> 12, oldEnd = vma.End;
            // As a new mapping of the same kind behind it, which then merges.
            AddVma(task, oldEnd, oldEnd + (pages << 12), vma.Flags, BackingOf(vma, vma.PageOffset + vma.Pages));
            return (long)address;
        }
        if ((flags & MREMAP_MAYMOVE) == 0)
            return -Errno.ENOMEM;
        long place = FindPlace(0, newLength, PlacementOf(vma));
        return place < 0 ? place : Move(task, vma, address, oldLength, newLength, (ulong)place, flags);
    }

    private static Backing BackingOf(Vma vma, ulong pageOffset) => new(vma.File, vma.Cache, pageOffset, vma.Name, vma.Observer, vma.Policy);

    private bool CanGrowInPlace(Vma vma, ulong delta)
    {
        ulong end = vma.End + delta;
        return end >= vma.End && end <= Layout.TaskSize && (Vmas.FindEndingAfter(vma.End) is not { } next || end <= next.StartWithGap)
            && vma.Observer is null;
    }

    /// <summary>mremap_to: a given place (or, for MREMAP_DONTUNMAP alone, a hint).</summary>
    private long MremapTo(Task? task, ulong address, ulong newAddress, ulong oldLength, ulong newLength, int flags, out bool populate)
    {
        populate = false;
        if (!Layout.IsPageAligned(newAddress) || newLength > Layout.TaskSize || newAddress > Layout.TaskSize - newLength)
            return -Errno.EINVAL;
        if (address + oldLength > newAddress && newAddress + newLength > address)
            return -Errno.EINVAL;
        if (Vmas.Count + 2 >= Layout.MaxMapCount - 3)
            return -Errno.ENOMEM;
        if ((flags & MREMAP_FIXED) != 0)
        {
            if (newAddress < Layout.MinAddress)
                return -Errno.EPERM;
            long error = Unmap(task, newAddress, newAddress + newLength);
            if (error < 0)
                return error;
        }
        if (oldLength > newLength)
        {
            long error = MunmapLocked(task, address + newLength, oldLength - newLength);
            if (error < 0)
                return error;
            oldLength = newLength;
        }
        if (Vmas.Find(address) is not { } vma)
            return -Errno.EFAULT;
        long refused = CheckResize(task, vma, address, oldLength, newLength, flags);
        if (refused < 0)
            return refused;
        if ((flags & MREMAP_DONTUNMAP) != 0 && !MayExpand(task, vma.Flags, oldLength >> 12))
            return -Errno.ENOMEM;
        long place = FindPlace((flags & MREMAP_FIXED) != 0 ? newAddress : RoundHint(newAddress), newLength,
            PlacementOf(vma) | ((flags & MREMAP_FIXED) != 0 ? MAP_FIXED : 0));
        if (place < 0)
            return place;
        populate = (vma.Flags & VmFlags.Locked) != 0 && newLength > oldLength;
        return Move(task, vma, address, oldLength, newLength, (ulong)place, flags);
    }

    /// <summary>The flags of mmap on which the place of such a mapping depends.</summary>
    private static int PlacementOf(Vma vma) =>
        (vma.Flags & VmFlags.MayShare) != 0 ? MAP_SHARED : vma.IsAnonymous ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE;

    /// <summary>vma_to_resize, in its order.</summary>
    private long CheckResize(Task? task, Vma vma, ulong address, ulong oldLength, ulong newLength, int flags)
    {
        // An old length of zero duplicates a shared mapping; of a private one there is nothing to share.
        if (oldLength == 0 && (vma.Flags & (VmFlags.Shared | VmFlags.MayShare)) == 0)
            return -Errno.EINVAL;
        if ((flags & MREMAP_DONTUNMAP) != 0 && (vma.Flags & VmFlags.DontExpand) != 0)
            return -Errno.EINVAL;
        if (oldLength > vma.End - address)
            return -Errno.EFAULT;
        if (newLength == oldLength)
            return 0;
        if (vma.IndexOf(address) + (newLength >> 12) < vma.IndexOf(address))
            return -Errno.EINVAL;
        if ((vma.Flags & VmFlags.DontExpand) != 0)
            return -Errno.EFAULT;
        ulong pages = newLength > oldLength ? (newLength - oldLength) >> 12 : 0;
        if ((vma.Flags & VmFlags.Locked) != 0 && !MayLock(task, pages))
            return -Errno.EAGAIN;
        if (!MayExpand(task, vma.Flags, pages))
            return -Errno.ENOMEM;
        return (vma.Flags & VmFlags.Account) != 0 && !_system.Overcommit.MayCommit(pages, TotalPages) ? -Errno.ENOMEM : 0;
    }

    /// <summary>move_vma: a second mapping of the same kind, the entries moved over, and the first one unmapped.</summary>
    private long Move(Task? task, Vma vma, ulong address, ulong oldLength, ulong newLength, ulong newAddress, int flags)
    {
        if (Vmas.Count >= Layout.MaxMapCount - 3)
            return -Errno.ENOMEM;
        // Private anonymous memory without pages takes its new address as its offset, as if it had been mapped there.
        ulong pageOffset = vma.IsAnonymous && !vma.HasAnon ? newAddress >> 12 : vma.IndexOf(address);
        Backing backing = BackingOf(vma, pageOffset);
        VmFlags vmFlags = vma.Flags;
        bool hugeTlb = (vmFlags & VmFlags.HugeTlb) != 0;
        if (hugeTlb && Isolate(task, ref vma, address, address + oldLength) < 0)
            return -Errno.ENOMEM;
        // The old mapping is still counted then, or for good.
        if ((flags & MREMAP_DONTUNMAP) != 0 && (vmFlags & VmFlags.Account) != 0 && !_system.Overcommit.MayCommit(newLength >> 12, TotalPages))
            return -Errno.ENOMEM;
        Vma target = AddVma(task, newAddress, newAddress + newLength, vmFlags, backing, source: vma);
        if (hugeTlb)
            MoveReservation(vma, target);
        bool moved;
        do
            moved = MoveEntries(task, target, address, newAddress, oldLength);
        while (!moved && MakeRoom(task));
        if (!moved)
        {
            MoveEntries(task, target, newAddress, address, oldLength);
            if (hugeTlb)
                MoveReservation(target, vma);
            Unmap(task, newAddress, newAddress + newLength);
            return -Errno.ENOMEM;
        }
        if ((flags & MREMAP_DONTUNMAP) == 0)
        {
            if (oldLength != 0)
                Unmap(task, address, address + oldLength);
        }
        else if (Vmas.Find(address) is { } old)
        {
            // Not only what was moved away is unlocked: Linux clears the flag on the whole VMA.
            ChangeFlags(task, ref old, old.Start, old.End, old.Flags & ~VmFlags.LockedMask);
            if (old != target && old.Start == address && old.End == address + oldLength)
                UnlinkAnonVmas(task, old);
        }
        return (long)newAddress;
    }

    /// <summary>
    /// move_page_tables: entries change their place; frames keep their counts. Dirty and accessed bits go along. Reverse maps are locked
    /// meanwhile, or a walk could look at the new place before and at the old one after an entry moved (take_rmap_locks).
    /// </summary>
    private bool MoveEntries(Task? task, Vma vma, ulong from, ulong to, ulong length)
    {
        if (length == 0)
            return true;
        ulong at = from, end = from + length;
        bool complete = true;
        using OperationScope operation = task.Operation("move_page_tables", from, end);
        var range = new MmuNotifierRange(this, from, end, MmuNotifyEvent.Unmap);
        InvalidateRangeStart(task, range);
        using (new RmapScope(task, vma))
        {
            while (complete && Tables.NextRun(ref at, end, out ulong* entries, out int count, out int level))
            {
                if (level > 0)
                {
                    if (MoveLeaf(task, entries, at, end, to + (at - from), out bool noTable))
                        at = PageTables.NextBoundary(at, end, level);
                    complete = !noTable;
                    continue;
                }
                using (PageTableLock.Enter(task))
                {
                    FlushTlbBatchedPending(task);
                    bool flush = false;
                    for (int i = 0; i < count && complete; i++)
                    {
                        if (entries[i] == 0)
                            continue;
                        ulong address = at + ((ulong)i << 12);
                        ulong* target = Tables.FindOrCreate(to + (address - from));
                        if (target is null)
                        {
                            complete = false;
                            break;
                        }
                        flush |= PageTables.Clear(entries + i, out ulong value) == FlushOwed.Page;
                        PageTables.Set(target, value);
                        if (!_system.RemotePages.IsEmpty)
                            _system.RemotePages.Moved(this, value, address, to + (address - from));
                    }
                    // Before the lock goes, or somebody could find a page through its new entry that is still written through the old one.
                    if (flush)
                        Shootdown.FlushMmRange(task?.Vcpu, this, at, at + ((ulong)count << 12), Pfn.Shift, freedTables: true);
                }
                at += (ulong)count << 12;
            }
        }
        InvalidateRangeEnd(task, range);
        return complete;
    }
}
