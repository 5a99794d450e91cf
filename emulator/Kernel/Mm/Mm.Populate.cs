using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Bringing pages in ahead of their use: MAP_POPULATE, mlock, MADV_POPULATE_READ and _WRITE. Where a stretch of a table is empty and its
/// pages can be had without waiting, one turn of the locks fills it; the rest is answered page by page, as faults are.
/// </summary>
public sealed unsafe partial class Mm
{
    /// <summary>
    /// Brings the pages of a range in (__mm_populate). A page that cannot be had ends it, or with <paramref name="ignoreErrors"/> the
    /// work on its VMA. 0, or -ENOMEM, -EAGAIN or -EINTR as mlock reports them.
    /// </summary>
    internal long Populate(Task? task, ulong start, ulong end, bool ignoreErrors = true)
    {
        for (ulong address = start; address < end; address += Pfn.Size)
        {
            if (task is { MustExit: true })
                return -Errno.EINTR;
            _system.Reclaim.Balance(task);
            LockRead(task);
            Vma? vma = Vmas.FindIntersection(address, end);
            if (vma is null)
            {
                UnlockRead();
                return 0;
            }
            address = Math.Max(address, vma.Start);
            // Any permission will do, so that locking a mapping that is only to be executed works.
            bool write = (vma.Flags & (VmFlags.Write | VmFlags.Shared)) == VmFlags.Write;
            var outcome = FaultOutcome.Done;
            ulong vmaEnd = vma.End;
            if ((vma.Flags & (VmFlags.LockOnFault | VmFlags.Io | VmFlags.PfnMap)) != 0)
                address = vmaEnd - Pfn.Size;
            else
                outcome = (vma.Flags & VmFlags.Access) == 0 ? FaultOutcome.Forbidden : FaultInNext(task, vma, ref address, end, write ? FaultFlags.Write : FaultFlags.Read);
            UnlockRead();
            if (outcome == FaultOutcome.Done)
                continue;
            if (!ignoreErrors)
                return outcome == FaultOutcome.OutOfMemory ? -Errno.EAGAIN : -Errno.ENOMEM;
            address = vmaEnd - Pfn.Size;
        }
        return 0;
    }

    /// <summary>madvise_populate.</summary>
    private long MadvisePopulate(Task? task, ulong start, ulong end, bool write)
    {
        FaultFlags flags = write ? FaultFlags.Write : FaultFlags.Read;
        for (ulong address = start; address < end; address += Pfn.Size)
        {
            if (task is { MustExit: true })
                return -Errno.EINTR;
            _system.Reclaim.Balance(task);
            LockRead(task);
            Vma? vma = Vmas.Find(address);
            long error =
                vma is null ? -Errno.ENOMEM
                : !Allows(vma, flags) || (vma.Flags & (VmFlags.Io | VmFlags.PfnMap)) != 0 || (!write && (vma.Flags & VmFlags.Read) == 0) ? -Errno.EINVAL
                : FaultInNext(task, vma, ref address, end, flags) switch
                {
                    FaultOutcome.Done => 0,
                    FaultOutcome.OutOfMemory => -Errno.ENOMEM,
                    _ => -Errno.EFAULT,
                };
            UnlockRead();
            if (error < 0)
                return error;
        }
        return 0;
    }

    /// <summary>Brings in the page at an address, and what follows it if that is simple; the address moves to the last page that is there.</summary>
    private FaultOutcome FaultInNext(Task? task, Vma vma, ref ulong address, ulong end, FaultFlags flags)
    {
        end = Math.Min(end, vma.End);
        if (vma.IsContainer)
            return FaultInNextShared(task, vma, ref address, end, flags);
        bool write = (flags & FaultFlags.Write) != 0;
        int filled = CountPresent(address, end, write);
        if (filled == 0)
            filled = FillTable(task, vma, address, end, write);
        if (filled > 0)
        {
            address += (ulong)(filled - 1) << Pfn.Shift;
            return FaultOutcome.Done;
        }
        FaultOutcome outcome = FaultIn(task, vma, address, flags);
        if (outcome == FaultOutcome.Done)
            address = LastPageOfEntry(address);
        return outcome;
    }

    /// <summary>Entries from an address on in one table that allow the access already.</summary>
    private int CountPresent(ulong address, ulong end, bool write)
    {
        ulong* entries = Tables.Find(address);
        ulong needed = (ulong)(write ? Pte.Present | Pte.Writable : Pte.Present);
        int most = entries is null ? 0 : PagesInTable(address, end), count = 0;
        while (count < most && (Volatile.Read(ref entries[count]) & needed) == needed)
            count++;
        return count;
    }

    private static int PagesInTable(ulong address, ulong end) => (int)((PageTables.NextBoundary(address, end, 1) - address) >> Pfn.Shift);

    /// <summary>
    /// Maps new pages, or those of shared memory, at the empty entries from an address on that lie in one table. Nothing is waited for: where
    /// a fault would have more to do, this ends. The VMA allows the access.
    /// </summary>
    /// <returns>The pages that are there now, from the address on.</returns>
    private int FillTable(Task? task, Vma vma, ulong address, ulong end, bool write)
    {
        // Memory that runs short is the faults' business, and so are huge pages.
        if (Pages.FreeFrames < _system.Reclaim.Marks.High + PageTable.Entries || (Unstable && !vma.IsShared)
            || (_system.HugePages.Allows(vma) && Tables.Find(address) is null))
            return 0;
        int count = CountEmpty(address, end);
        if (count == 0)
            return 0;
        // In bounds: entries of one table, 512 at most.
        Span<Pfn> frames = stackalloc Pfn[count];
        if (vma.Cache is ShmemPageCache cache && (vma.IsShared || !write))
            return FillShared(task, vma, cache, address, frames, write);
        return vma is { Cache: null, File: null } ? FillAnonymous(task, vma, address, frames, write) : 0;
    }

    /// <summary>Empty entries from an address on in one table.</summary>
    private int CountEmpty(ulong address, ulong end)
    {
        ulong* entries = Tables.Find(address, out int level);
        int most = PagesInTable(address, end), count = 0;
        if (entries is null)
            return most;
        while (level == 0 && count < most && Volatile.Read(ref entries[count]) == 0)
            count++;
        return count;
    }

    private int FillAnonymous(Task? task, Vma vma, ulong address, Span<Pfn> frames, bool write)
    {
        if (write)
        {
            PrepareAnonVma(task, vma);
            frames = frames[..Pages.Allocate(PageFlags.Anon, zero: true, frames)];
        }
        else
        {
            frames.Fill(Pages.Zero);
        }
        ulong bits = (ulong)(BitsOf(vma.Flags) | (write ? WriteBits(vma) : Pte.None));
        int filled = 0;
        using (PageTableLock.Enter(task))
        {
            for (ulong* entry = Tables.FindOrCreate(address); entry is not null && filled < frames.Length && *entry == 0; entry++, filled++)
            {
                if (write)
                    MapNewAnon(frames[filled], vma, address + ((ulong)filled << Pfn.Shift));
                PageTables.Set(entry, frames[filled].Address | bits);
            }
        }
        if (write)
            PutAll(frames[filled..]);
        CountFaults(write ? FaultKind.Anonymous : FaultKind.ZeroPage, filled);
        return filled;
    }

    private int FillShared(Task? task, Vma vma, ShmemPageCache cache, ulong address, Span<Pfn> frames, bool write)
    {
        ulong first = vma.IndexOf(address), pages = (cache.Size + 0xFFF) >> Pfn.Shift;
        if (first >= pages)
            return 0;
        frames = frames[..cache.LockPages(first, frames[..(int)Math.Min((ulong)frames.Length, pages - first)])];
        // Looked at again under the locks: truncation sets the size and then looks for pages.
        pages = (cache.Size + 0xFFF) >> Pfn.Shift;
        ulong bits = (ulong)(BitsOf(vma.Flags) | (write ? WriteBits(vma) : vma.IsShared && !WantsWriteNotify(vma) && (vma.Flags & VmFlags.Write) != 0 ? Pte.Writable : Pte.None));
        int filled = 0;
        using (PageTableLock.Enter(task))
        {
            for (ulong* entry = Tables.FindOrCreate(address); entry is not null && filled < frames.Length && first + (ulong)filled < pages && *entry == 0; entry++, filled++)
            {
                if (write)
                    cache.MarkDirty(frames[filled]);
                Map(frames[filled]);
                PageTables.Set(entry, frames[filled].Address | bits);
            }
        }
        for (int i = 0; i < frames.Length; i++)
        {
            if (first + (ulong)i >= pages)
                cache.RemoveLocked(task, frames[i], first + (ulong)i);
            _system.PageLocks.Unlock(frames[i]);
        }
        PutAll(frames[filled..]);
        CountFaults(FaultKind.File, filled);
        return filled;
    }

    private void PutAll(ReadOnlySpan<Pfn> frames)
    {
        foreach (Pfn frame in frames)
            Pages.Put(frame);
    }

    private void CountFaults(FaultKind kind, int count)
    {
        _system.Events.Count(VmEvent.PageFault, count);
        _system.Faults.Count(kind, count);
    }
}
