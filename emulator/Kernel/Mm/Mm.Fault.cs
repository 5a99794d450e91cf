using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>Who faulted, and doing what (FAULT_FLAG_*).</summary>
[Flags]
public enum FaultFlags
{
    Read = 0,
    Write = 1,
    Execute = 2,
    /// <summary>The access is the kernel's, to another address space; it obeys the VMA's permissions all the same.</summary>
    Remote = 4,
    /// <summary>The access follows, so that memory of the host's will be needed.</summary>
    Touch = 8,
    /// <summary>No access, but a read-only pin to come: an anonymous page must be this address space's alone (FAULT_FLAG_UNSHARE).</summary>
    Unshare = 16,
}

/// <summary>How a fault ended.</summary>
public enum FaultOutcome
{
    /// <summary>The access may be tried again.</summary>
    Done,
    /// <summary>SIGSEGV, SEGV_MAPERR: nothing is mapped there.</summary>
    NotMapped,
    /// <summary>SIGSEGV, SEGV_ACCERR: the mapping forbids it.</summary>
    Forbidden,
    /// <summary>SIGBUS, BUS_ADRERR: beyond the end of the file, or the file cannot be read.</summary>
    BusError,
    /// <summary>The machine's memory is exhausted.</summary>
    OutOfMemory,
    /// <summary>The driver must prepare the page first, with no lock of the address space held (VM_FAULT_RETRY); seen by nobody but <see cref="Mm.HandleFault"/>.</summary>
    Retry,
}

/// <summary>The one fault path: vCPUs, the kernel's own accesses and everybody who takes pages come through here.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Pages around a read fault that are mapped along if the file has them in memory already (fault_around_bytes).</summary>
    private const int FaultAround = 16;

    /// <summary>Makes an access possible, or says why it is not (arch/x86/mm/fault.c:do_user_addr_fault).</summary>
    /// <param name="task">Who faulted; null when no task runs in the address space.</param>
    /// <param name="address">CR2.</param>
    /// <param name="flags">The access.</param>
    public FaultOutcome HandleFault(Task? task, ulong address, FaultFlags flags)
    {
        _system.Reclaim.Balance(task);
        FaultOutcome outcome;
        do
            outcome = Resolve(task, address, flags);
        while (outcome == FaultOutcome.Retry);
        switch (outcome)
        {
            case FaultOutcome.Done when task is not null:
                task.Faults++;
                break;
            case FaultOutcome.NotMapped or FaultOutcome.Forbidden:
                _system.Faults.Count(FaultKind.Segment);
                break;
            case FaultOutcome.BusError:
                _system.Faults.Count(FaultKind.Bus);
                break;
            case FaultOutcome.OutOfMemory:
                _system.Faults.Count(FaultKind.OutOfMemory);
                break;
        }
        return outcome;
    }

    private FaultOutcome Resolve(Task? task, ulong address, FaultFlags flags)
    {
        if (address >= Layout.TaskSize)
            return FaultOutcome.NotMapped;
        LockRead(task);
        Vma? vma = Vmas.FindEndingAfter(address);
        if (vma is not null && vma.Start > address && (vma.Flags & VmFlags.GrowsDown) != 0)
        {
            UnlockRead();
            LockWrite(task);
            vma = FindGrowing(task, address);
            MmapLock.Downgrade();
        }
        FaultOutcome outcome =
            vma is null || vma.Start > address ? FaultOutcome.NotMapped
            : !Allows(vma, flags) ? FaultOutcome.Forbidden
            : FaultIn(task, vma, address & ~0xFFFUL, flags | FaultFlags.Touch);
        PendingFault pending = outcome == FaultOutcome.Retry ? new PendingFault(vma!, address, (flags & FaultFlags.Write) != 0) : default;
        SharedTables? shares = vma?.Shares;
        UnlockRead();
        shares?.AwaitLinks(task);
        return outcome == FaultOutcome.Retry ? pending.Prepare(task) : outcome;
    }

    /// <summary>The VMA of an address, a stack grown down to it if need be; the mmap lock is held for writing.</summary>
    private Vma? FindGrowing(Task? task, ulong address)
    {
        Vma? vma = Vmas.FindEndingAfter(address);
        return vma is not null && (vma.Start <= address || ((vma.Flags & VmFlags.GrowsDown) != 0 && GrowStack(task, vma, address))) ? vma : null;
    }

    /// <summary>Grows a stack down to an address that nothing maps (expand_stack).</summary>
    private bool ExpandStack(Task? task, ulong address)
    {
        LockWrite(task);
        bool grown = Vmas.Find(address) is null && FindGrowing(task, address) is not null;
        UnlockWrite();
        return grown;
    }

    /// <summary>access_error: x86 cannot map a page that is writable or executable but not readable.</summary>
    private static bool Allows(Vma vma, FaultFlags flags)
    {
        VmFlags allowed = vma.Flags;
        if ((flags & FaultFlags.Write) != 0)
            return (allowed & VmFlags.Write) != 0;
        if ((flags & FaultFlags.Execute) != 0)
            return (allowed & VmFlags.Exec) != 0;
        // What may only be written or executed can be read as well.
        return (allowed & VmFlags.Access) != 0;
    }

    /// <summary>handle_mm_fault: the VMA is found and allows the access; the mmap lock is held for reading. Reclaims when memory is exhausted.</summary>
    internal FaultOutcome FaultIn(Task? task, Vma vma, ulong address, FaultFlags flags)
    {
        _system.Reclaim.MayReclaim(task);
        FaultOutcome outcome;
        do
            outcome = FaultOnce(task, vma, address, flags);
        while (outcome == FaultOutcome.OutOfMemory && MakeRoom(task));
        return outcome;
    }

    private FaultOutcome FaultOnce(Task? task, Vma vma, ulong address, FaultFlags flags)
    {
        bool write = (flags & FaultFlags.Write) != 0;
        if (vma.IsContainer)
            return FaultContainer(task, vma, address, flags);
        if ((vma.Flags & VmFlags.PfnMap) != 0)
        {
            FaultOutcome outcome = FaultPfn(task, vma, address, flags);
            // What is made again is counted when it is complete (mm_account_fault).
            if (outcome != FaultOutcome.Retry)
                _system.Events.Count(VmEvent.PageFault);
            return outcome;
        }
        _system.Events.Count(VmEvent.PageFault);
        if ((vma.Flags & VmFlags.HugeTlb) != 0)
            return FaultHugeTlb(task, vma, address, flags);
        ulong* entry = Tables.Find(address, out int level);
        if (level > 0)
        {
            if (entry is null ? FaultHuge(task, vma, address, flags) : FaultLeaf(task, vma, address, entry, flags))
                return FaultOutcome.Done;
            entry = Tables.Find(address);
        }
        ulong value = entry is null ? 0 : Volatile.Read(ref *entry);
        if (value == 0 && Unstable && !vma.IsShared)
            return FaultOutcome.BusError; // check_stable_address_space
        if (value == 0)
            return vma.Cache is null ? FaultAnonymous(task, vma, address, write) : FaultFile(task, vma, address, write);
        if (SwapEntry.TryDecode(value, out SwapEntry swap))
            return FaultSwapEntry(task, vma, address, entry, value, swap, write);
        // Where the VMA allows nothing (vma_is_accessible), a forced write is after the page all the same.
        if ((value & (ulong)Pte.Present) == 0 && (vma.Flags & VmFlags.Access) != 0)
            return RestoreAccess(task, vma, entry, value);
        bool unshare = (flags & FaultFlags.Unshare) != 0;
        if ((write || unshare) && (value & (ulong)Pte.Writable) == 0)
            return FaultReadOnly(task, vma, address, entry, value, unshare);
        _system.Faults.Count(FaultKind.Spurious);
        return FaultOutcome.Done;
    }

    /// <summary>
    /// do_numa_page: an entry without access in a VMA that allows it gets the VMA's rights back, but for writing. Only shared tables have such entries,
    /// when somebody protects what others have mapped (rfc-v3).
    /// </summary>
    private FaultOutcome RestoreAccess(Task? task, Vma vma, ulong* entry, ulong value)
    {
        using (PageTableLock.Enter(task))
        {
            if (IsUnchanged(entry, value))
                PageTables.Modify(entry, PageTables.ProtNone, BitsOf(vma.Flags));
        }
        _system.Faults.Count(FaultKind.Spurious);
        return FaultOutcome.Done;
    }

    /// <summary>do_swap_page: the entry stands for a page that is elsewhere.</summary>
    private FaultOutcome FaultSwapEntry(Task? task, Vma vma, ulong address, ulong* entry, ulong value, SwapEntry swap, bool write)
    {
        if (swap.IsMigration)
        {
            _system.PageLocks.WaitForEntry(task, swap.Frame, entry, value);
            return FaultOutcome.Done;
        }
        if (swap.IsDevicePrivate)
            return FaultDevicePrivate(task, vma, address, entry, value, swap.Frame);
        if (swap.IsDeviceExclusive)
            return FaultDeviceExclusive(task, vma, address, entry, value, swap);
        return swap.Kind == SwapKind.Swap ? FaultSwap(task, vma, address, entry, value, write) : FaultOutcome.BusError;
    }

    /// <summary>The bits of an entry that a VMA's permissions give, without write permission.</summary>
    private static Pte BitsOf(VmFlags flags)
    {
        Pte bits = Pte.User | Pte.Accessed | ((flags & VmFlags.Access) != 0 ? Pte.Present : PageTables.ProtNone);
        return (flags & VmFlags.Exec) != 0 ? bits : bits | Pte.NoExecute;
    }

    private static Pte WriteBits(Vma vma) => 
        (vma.Flags & VmFlags.Write) != 0 ? Pte.Writable | Pte.Dirty | SoftDirtyBit : Pte.Dirty | SoftDirtyBit;

    /// <summary>do_anonymous_page.</summary>
    private FaultOutcome FaultAnonymous(Task? task, Vma vma, ulong address, bool write)
    {
        Pfn frame = Pages.Zero;
        Pte bits = BitsOf(vma.Flags);
        if (write)
        {
            PrepareAnonVma(task, vma);
            if (!Pages.TryAllocate(PageFlags.Anon, zero: true, out frame))
                return FaultOutcome.OutOfMemory;
            bits |= WriteBits(vma);
        }
        bool installed = false, noTable;
        using (PageTableLock.Enter(task))
        {
            ulong* entry = Tables.FindOrCreate(address);
            noTable = entry is null;
            if (!noTable && *entry == 0)
            {
                if (write)
                    MapNewAnon(frame, vma, address);
                PageTables.Set(entry, frame.Address | (ulong)bits);
                installed = true;
            }
        }
        if (!installed && write)
            Pages.Put(frame);
        _system.Faults.Count(!installed ? FaultKind.Spurious : write ? FaultKind.Anonymous : FaultKind.ZeroPage);
        return noTable ? FaultOutcome.OutOfMemory : FaultOutcome.Done;
    }

    /// <summary>do_read_fault, do_cow_fault and do_shared_fault: the page comes from a file or from shared memory.</summary>
    private FaultOutcome FaultFile(Task? task, Vma vma, ulong address, bool write)
    {
        PageCache cache = vma.Cache!;
        ulong index = vma.IndexOf(address);
        bool copy = write && !vma.IsShared;
        if (copy)
            PrepareAnonVma(task, vma);
        bool major = task is not null && cache.NeedsWriteBack && !cache.Contains(index);
        while (true)
        {
            if (index >= (cache.Size + 0xFFF) >> 12)
                return FaultOutcome.BusError;
            if (task is not null && cache.WaitForPunch(task, index))
                return FaultOutcome.Done;
            long error = cache.GetPage(task, index, create: true, out Pfn page);
            if (error < 0)
                return error == -Errno.ENOMEM ? FaultOutcome.OutOfMemory : FaultOutcome.BusError;
            Pfn frame = page;
            if (copy && !TryCopy(page, out frame))
            {
                Pages.Put(page);
                return FaultOutcome.OutOfMemory;
            }
            Pte bits = BitsOf(vma.Flags);
            if (copy || (write && vma.IsShared))
                bits |= WriteBits(vma);
            else if (vma.IsShared && !WantsWriteNotify(vma) && (vma.Flags & VmFlags.Write) != 0)
                bits |= Pte.Writable;
            if (write && !copy)
                cache.MarkDirty(page);

            bool installed = false, noTable = false;
            _system.PageLocks.Lock(task, page);
            bool held = cache.Holds(page, index);
            if (held && index >= (cache.Size + 0xFFF) >> 12)
            {
                // Truncation has passed by already: the page that this fault brought in is for nobody.
                cache.RemoveLocked(task, page, index);
                held = false;
            }
            if (held)
            {
                if (cache is ShmemPageCache)
                    NotifyUpdateMapping(task, address, page);
                using (PageTableLock.Enter(task))
                {
                    ulong* entry = Tables.FindOrCreate(address);
                    noTable = entry is null;
                    if (!noTable && *entry == 0)
                    {
                        if (copy)
                            MapNewAnon(frame, vma, address);
                        else
                            Map(frame);
                        PageTables.Set(entry, frame.Address | (ulong)bits);
                        installed = true;
                        if (!write)
                            MapAround(vma, cache, address, entry, bits);
                    }
                }
            }
            _system.PageLocks.Unlock(page);
            if (copy)
                Pages.Put(page);
            if (!installed)
                Pages.Put(frame);
            if (!held)
                continue; // Truncated meanwhile: look again.
            _system.Faults.Count(!installed ? FaultKind.Spurious : copy ? FaultKind.Copy : FaultKind.File);
            if (major && !noTable)
                task!.MajorFaults++;
            return noTable ? FaultOutcome.OutOfMemory : FaultOutcome.Done;
        }
    }

    /// <summary>Maps the neighbours of a read fault that are in memory already (do_fault_around). Under the page-table lock.</summary>
    private void MapAround(Vma vma, PageCache cache, ulong address, ulong* entry, Pte bits)
    {
        int slot = PageTable.Index(address, 0);
        // In bounds: an aligned group of 16 entries does not leave the table of one of them.
        int first = slot & ~(FaultAround - 1);
        ulong pages = (cache.Size + 0xFFF) >> 12;
        for (int i = first; i < first + FaultAround; i++)
        {
            ulong at = address + ((ulong)(long)(i - slot) << Pfn.Shift);
            if (!vma.Contains(at) || entry[i - slot] != 0)
                continue;
            ulong index = vma.IndexOf(at);
            if (index >= pages || !cache.TryGetPresent(index, out Pfn frame))
                continue;
            // Whoever holds the lock is about to take the page away; an unused one has nothing to show (next_uptodate_folio).
            bool locked = _system.PageLocks.TryLock(frame);
            if (locked && cache.Holds(frame, index) && (Pages[frame].Flags & PageFlags.Unused) == 0)
            {
                Map(frame);
                PageTables.Set(entry + (i - slot), frame.Address | (ulong)(bits & ~Pte.Accessed));
            }
            else
            {
                Pages.Put(frame);
            }
            if (locked)
                _system.PageLocks.Unlock(frame);
        }
    }

    private bool TryCopy(Pfn source, out Pfn copy)
    {
        if (!Pages.TryAllocate(PageFlags.Anon, zero: source == Pages.Zero, out copy))
            return false;
        if (source != Pages.Zero)
            Buffer.MemoryCopy(Pages.Memory.Pointer(source), Pages.Memory.Pointer(copy), 4096, 4096);
        return true;
    }

    /// <summary>
    /// A write to a page that is mapped without write permission, or its unsharing, which makes an anonymous page exclusive without giving
    /// write permission (do_wp_page).
    /// </summary>
    private FaultOutcome FaultReadOnly(Task? task, Vma vma, ulong address, ulong* entry, ulong value, bool unshare)
    {
        Pfn old = PageTables.FrameOf(value);
        if (vma.IsShared)
        {
            using (PageTableLock.Enter(task))
            {
                if (IsUnchanged(entry, value))
                {
                    vma.Cache!.MarkDirty(old);
                    PageTables.Modify(entry, Pte.None, WriteBits(vma) | Pte.Accessed);
                }
            }
            _system.Faults.Count(FaultKind.MakeWritable);
            return FaultOutcome.Done;
        }

        PrepareAnonVma(task, vma);
        using (PageTableLock.Enter(task))
        {
            if (!IsUnchanged(entry, value))
            {
                _system.Faults.Count(FaultKind.Spurious);
                return FaultOutcome.Done;
            }
            ref Page page = ref Pages[old];
            if (page.IsAnon && CanReuseAnon(old, vma, address, leaf: false))
            {
                if (!unshare)
                    PageTables.Modify(entry, Pte.None, WriteBits(vma) | Pte.Accessed);
                _system.Faults.Count(FaultKind.Reuse);
                return FaultOutcome.Done;
            }
            if (old != Pages.Zero)
                Pages.Get(old);
        }

        if (!TryCopy(old, out Pfn copy))
        {
            if (old != Pages.Zero)
                Pages.Put(old);
            return FaultOutcome.OutOfMemory;
        }
        bool replaced = false;
        using OperationScope operation = task.Operation("wp_page_copy", address, address + Pfn.Size);
        var range = new MmuNotifierRange(this, address, address + Pfn.Size, MmuNotifyEvent.Clear);
        InvalidateRangeStart(task, range);
        using (PageTableLock.Enter(task))
        {
            if (IsUnchanged(entry, value))
            {
                // Clear, flush, then set: no vCPU may write the new page while another still reads the old one (wp_page_copy).
                PageTables.Clear(entry, out _);
                Shootdown.FlushPage(task?.Vcpu, this, address);
                NotifyInvalidateRange(task, address, address + Pfn.Size);
                if (old != Pages.Zero)
                    Unmap(old);
                MapNewAnon(copy, vma, address);
                NotifyChangePte(task, address, copy, writable: !unshare && (vma.Flags & VmFlags.Write) != 0);
                PageTables.Set(entry, copy.Address | (ulong)(BitsOf(vma.Flags) | (unshare ? Pte.None : WriteBits(vma))));
                replaced = true;
            }
        }
        InvalidateRangeEnd(task, range);
        if (!replaced)
            Pages.Put(copy);
        if (old != Pages.Zero)
        {
            Pages.Put(old);
            if (replaced)
                PutPage(old); // The entry's own.
        }
        _system.Faults.Count(replaced ? FaultKind.Copy : FaultKind.Spurious);
        return FaultOutcome.Done;
    }

    /// <summary>Whether an entry is what it was, apart from what processors set.</summary>
    private static bool IsUnchanged(ulong* entry, ulong value) =>
        ((Volatile.Read(ref *entry) ^ value) & ~(ulong)(Pte.Accessed | Pte.Dirty)) == 0;

    /// <summary>Extends a stack down to an address if limits and the guard gap allow (mm/mmap.c:expand_downwards).</summary>
    private bool GrowStack(Task? task, Vma vma, ulong address)
    {
        address &= ~0xFFFUL;
        if (address < Layout.MinAddress)
            return false;
        if (Vmas.Previous(vma) is { } previous)
        {
            if (previous.End > address)
                return false;
            bool guarded = (previous.Flags & VmFlags.GrowsDown) == 0 && (previous.Flags & VmFlags.Access) != 0;
            if (guarded && address - previous.End < Layout.StackGuardGap)
                return false;
        }
        ulong grow = (vma.Start - address) >> 12;
        if (!MayExpand(task, vma.Flags, grow) || vma.End - address > Limit(task, ResourceLimits.STACK))
            return false;
        if ((vma.Flags & VmFlags.Locked) != 0 && !MayLock(task, grow))
            return false;
        if (!_system.Overcommit.MayCommit(grow, TotalPages))
            return false;
        MeetLooseLinks(task, address, vma.Start, null);
        Resize(task, vma, address, vma.End, vma.PageOffset - grow);
        Account(vma.Flags, grow, add: true);
        _system.Faults.Count(FaultKind.StackGrowth);
        return true;
    }
}
