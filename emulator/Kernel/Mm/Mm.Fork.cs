using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>fork: a second address space with the same contents, pages shared until one side writes (kernel/fork.c:dup_mmap).</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Copies the address space; null when memory is exhausted.</summary>
    public Mm? Fork(Task? task)
    {
        if (Create(_system, task) is not { } child)
            return null;
        LockWrite(task);
        bool complete = true;
        try
        {
            CopyBounds(child);
            for (Vma? vma = Vmas.First; vma is not null && complete; vma = Vmas.Next(vma))
            {
                if ((vma.Flags & VmFlags.DontCopy) == 0)
                    complete = ForkVma(task, vma, child);
            }
            // The parent's writable entries of private pages are gone; its vCPUs must not write through remembered ones.
            Shootdown.FlushMm(task?.Vcpu, this);
        }
        finally
        {
            UnlockWrite();
        }
        if (complete)
            return child;
        child.Put(task);
        return null;
    }

    private void CopyBounds(Mm child)
    {
        child.MmapBase = MmapBase;
        child.StartBrk = StartBrk;
        child.CurrentBrk = CurrentBrk;
        child.StartCode = StartCode;
        child.EndCode = EndCode;
        child.StartData = StartData;
        child.EndData = EndData;
        child.StartStack = StartStack;
        child.ArgStart = ArgStart;
        child.ArgEnd = ArgEnd;
        child.EnvStart = EnvStart;
        child.EnvEnd = EnvEnd;
        child.AuxiliaryVector = AuxiliaryVector;
        child.ExecutableFile = ExecutableFile?.Get();
        child.VdsoBase = VdsoBase;
        child.HugePagesDisabled = HugePagesDisabled;
    }

    private bool ForkVma(Task? task, Vma vma, Mm child)
    {
        if (!_system.KernelMemory.HasRoom)
            return false;
        if ((vma.Flags & VmFlags.Account) != 0 && !_system.Overcommit.MayCommit(vma.Pages, TotalPages))
            return false;
        // Locks are not inherited.
        var copy = new Vma(child, vma.Start, vma.End, vma.Flags & ~VmFlags.LockedMask)
        {
            PageOffset = vma.PageOffset,
            File = vma.File?.Get(),
            Cache = vma.Cache,
            Name = vma.Name,
            Observer = vma.Observer,
            Policy = vma.Policy,
            Shares = vma.Shares,
        };
        if ((vma.Flags & VmFlags.WipeOnFork) == 0)
            ForkAnonVmas(task, copy, vma);
        child.Vmas.Insert(copy);
        child.Account(copy, copy.Pages, add: true);
        Open(copy);
        LinkToFile(task, copy);
        copy.Shares?.Attach(task, copy);
        // What faults can bring back as it was needs no copy (vma_needs_copy).
        if (copy.AnonVma is null)
            return true;
        // The child has nobody to tell.
        using OperationScope operation = task.Operation("fork", vma.Start, vma.End);
        var range = new MmuNotifierRange(this, vma.Start, vma.End, MmuNotifyEvent.ProtectionPage);
        InvalidateRangeStart(task, range);
        bool complete = CopyPages(task, vma, copy);
        InvalidateRangeEnd(task, range);
        return complete;
    }

    private bool CopyPages(Task? task, Vma vma, Vma target)
    {
        Mm child = target.Mm;
        ulong at = vma.Start;
        while (Tables.NextRun(ref at, vma.End, out ulong* entries, out int count, out int level))
        {
            if (!child.MakeTables(task, at, level))
                return false;
            if (level > 0)
            {
                bool copied = (vma.Flags & VmFlags.HugeTlb) != 0;
                if (copied && !CopyHugeTlb(task, entries, at, target))
                    return false;
                while (!copied && !CopyLeaf(task, entries, at, child, out copied))
                {
                    if (!MakeRoom(task))
                        return false;
                }
                if (copied)
                    at = PageTables.NextBoundary(at, vma.End, level);
                continue;
            }
            // Runs do not cross a table, so one table of the child serves the whole run.
            ulong* first = child.Tables.FindOrCreate(at);
            for (int done = 0; done < count;)
            {
                if (!CopyRun(task, entries, first, ref done, count, at, target))
                    return false;
            }
            at += (ulong)count << 12;
        }
        return true;
    }

    /// <summary>Makes the tables above an entry, with no spin lock held, so that memory for them may be reclaimed; false: there is none.</summary>
    private bool MakeTables(Task? task, ulong address, int level)
    {
        while ((level > 0 ? Tables.FindOrCreateHuge(address) : Tables.FindOrCreate(address)) is null)
        {
            if (!MakeRoom(task))
                return false;
        }
        return true;
    }

    /// <summary>
    /// Copies entries under both page-table locks: reverse maps lead to the child already. Ends early when a pinned page needs a copy of its
    /// own, which is made with the next call (copy_pte_range). False: memory is exhausted.
    /// </summary>
    private bool CopyRun(Task? task, ulong* entries, ulong* targets, ref int done, int count, ulong start, Vma target)
    {
        Pfn spare = default;
        if (NeedsEarlyCopy(entries[done]) && !Pages.TryAllocate(task, PageFlags.Anon, zero: false, out spare))
            return false;
        target.Mm.PageTableLock.Lock(task);
        PageTableLock.Lock(task, LockClass.Nested);
        for (; done < count; done++)
        {
            if (!CopyEntry(entries + done, targets + done, start + ((ulong)done << Pfn.Shift), target, ref spare))
                break;
        }
        PageTableLock.Unlock();
        target.Mm.PageTableLock.Unlock();
        if (spare != default)
            Pages.Put(spare);
        return true;
    }

    private bool NeedsEarlyCopy(ulong entry)
    {
        if (!PageTables.IsMapped(entry))
            return false;
        Pfn frame = PageTables.FrameOf(entry);
        return Pages[frame].IsAnonExclusive && IsMaybePinned(frame);
    }

    /// <summary>
    /// copy_present_pte: both sides lose write permission. A pinned page is copied at once, since whoever pinned it goes on writing to the
    /// parent's (page_needs_cow_for_dma). False: that needs a spare page.
    /// </summary>
    private bool CopyEntry(ulong* entry, ulong* target, ulong address, Vma vma, ref Pfn spare)
    {
        ulong value = Volatile.Read(ref *entry);
        if (value == 0)
            return true;
        bool elsewhere = SwapEntry.TryDecode(value, out SwapEntry swap);
        if (elsewhere && swap.IsDeviceExclusive)
        {
            // A device cannot have for itself what two address spaces have.
            if (!TryRestoreExclusive(vma.Flags, entry, swap))
                return false;
            value = Volatile.Read(ref *entry);
        }
        else if (elsewhere)
        {
            PageTables.Set(target, CopySwapEntry(entry, swap, vma.Mm));
            return true;
        }
        Pfn frame = PageTables.FrameOf(value);
        if (frame != Pages.Zero)
        {
            if (!Pages[frame].IsAnon)
            {
                Pages.Get(frame);
                vma.Mm.Map(frame);
            }
            else if (TryShareAnon(frame))
            {
                Pages.Get(frame);
                vma.Mm.Map(frame);
            }
            else if (spare == default)
            {
                return false;
            }
            else
            {
                Buffer.MemoryCopy(Pages.Memory.Pointer(frame), Pages.Memory.Pointer(spare), 4096, 4096);
                vma.Mm.MapNewAnon(spare, vma, address);
                PageTables.Set(target, spare.Address | (ulong)(BitsOf(vma.Flags) | WriteBits(vma)));
                spare = default;
                return true;
            }
        }
        PageTables.Modify(entry, Pte.Writable, Pte.None);
        value = Volatile.Read(ref *entry);
        PageTables.Set(target, value & ~(ulong)Pte.Accessed);
        return true;
    }

    /// <summary>copy_nonpresent_pte: what stands for a page is shared by both sides, so it loses write permission as an entry would.</summary>
    /// <returns>The child's entry.</returns>
    private ulong CopySwapEntry(ulong* entry, SwapEntry swap, Mm child)
    {
        if (swap.Kind == SwapKind.Swap)
        {
            _system.Swap.Duplicate(swap.Offset);
            child.SwapEntries++;
        }
        else if (swap.HasFrame)
        {
            child.CountResident(Pages[swap.Frame].Flags, +1);
            if (!swap.IsMigration)
            {
                // A page in a device cannot be pinned: it ceases to be one address space's alone without more ado.
                PageAllocator.ClearFlags(ref Pages[swap.Frame], PageFlags.AnonExclusive);
                Pages.Get(swap.Frame);
                Interlocked.Increment(ref Pages[swap.Frame].MapCount);
            }
        }
        SwapEntry shared = swap.ToReadOnly(exclusive: false);
        if (shared != swap)
            Volatile.Write(ref *entry, shared.Encode());
        return shared.Encode();
    }
}
