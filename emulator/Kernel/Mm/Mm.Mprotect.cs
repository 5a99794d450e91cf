using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Memory;

/// <summary>mprotect and the mlock family (mm/mprotect.c, mm/mlock.c).</summary>
public sealed unsafe partial class Mm
{
    /// <summary>mprotect(2).</summary>
    public long Mprotect(Task? task, ulong address, ulong length, int prot)
    {
        int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
        prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP);
        if (grows == (PROT_GROWSDOWN | PROT_GROWSUP) || !Layout.IsPageAligned(address))
            return -Errno.EINVAL;
        if (length == 0)
            return 0;
        length = Layout.PageAlign(length);
        ulong end = address + length;
        if (end <= address)
            return -Errno.ENOMEM;
        if ((prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM)) != 0)
            return -Errno.EINVAL;
        LockWrite(task);
        try
        {
            return MprotectLocked(task, address, end, prot, grows);
        }
        finally
        {
            UnlockWrite();
        }
    }

    private long MprotectLocked(Task? task, ulong start, ulong end, int prot, int grows)
    {
        if (Vmas.FindEndingAfter(start) is not { } vma)
            return -Errno.ENOMEM;
        if (grows == PROT_GROWSDOWN)
        {
            if (vma.Start >= end)
                return -Errno.ENOMEM;
            start = vma.Start;
            if ((vma.Flags & VmFlags.GrowsDown) == 0)
                return -Errno.EINVAL;
        }
        else
        {
            if (vma.Start > start)
                return -Errno.ENOMEM;
            if (grows == PROT_GROWSUP)
                return -Errno.EINVAL;
        }
        while (true)
        {
            VmFlags flags = (vma.Flags & ~VmFlags.Access) | ProtFlags(prot);
            // VM_MAYxxx are four bits above VM_xxx.
            if (((ulong)flags & ~((ulong)flags >> 4) & (ulong)VmFlags.Access) != 0)
                return -Errno.EACCES;
            // Nothing is promised any more where nothing was written and nothing can be (since 6.5).
            if ((flags & VmFlags.Write) == 0 && vma is { IsAnonymous: true, HasAnon: false } && _system.Profile != KernelProfile.V6_1)
                flags &= ~VmFlags.Account;
            ulong to = Math.Min(end, vma.End);
            VmFlags old = vma.Flags;
            long error = ChangeFlags(task, ref vma, start, to, flags);
            if (error < 0)
                return error;
            // Locked private memory that becomes writable is copied now, so that a later store does not fault (mprotect_fixup).
            if ((old & (VmFlags.Write | VmFlags.Shared | VmFlags.LockedMask)) == VmFlags.Locked && (flags & VmFlags.Write) != 0)
            {
                for (ulong at = start; at < to && FaultIn(task, vma, at, FaultFlags.Write) == FaultOutcome.Done; at += Pfn.Size)
                {
                }
            }
            start = to;
            if (start >= end)
                return 0;
            // What was just changed may have merged with what follows, which then begins before `start`.
            if (Vmas.FindEndingAfter(start) is not { } next || next.Start > start)
                return -Errno.ENOMEM;
            vma = next;
        }
    }

    /// <summary>Gives the part [start, end) of a VMA new flags, and its entries the permissions that go with them (mprotect_fixup).</summary>
    private long ChangeFlags(Task? task, ref Vma vma, ulong start, ulong end, VmFlags flags)
    {
        // Pages of hugetlb are never swapped, so mlock leaves them alone (mlock_fixup).
        if ((vma.Flags & VmFlags.HugeTlb) != 0)
            flags = (flags & ~VmFlags.LockedMask) | (vma.Flags & VmFlags.LockedMask);
        if (vma.Flags == flags)
            return 0;
        ulong pages = (end - start) >> 12;
        if (IsData(flags) && !IsData(vma.Flags) && !MayExpand(task, flags, pages) && MayExpand(task, vma.Flags, pages))
            return -Errno.ENOMEM;
        // Private memory that becomes writable is promised from now on (mprotect_fixup).
        if ((flags & VmFlags.Write) != 0 && (vma.Flags & (VmFlags.Account | VmFlags.Write | VmFlags.HugeTlb | VmFlags.Shared | VmFlags.NoReserve)) == 0)
        {
            if (!_system.Overcommit.MayCommit(pages, TotalPages))
                return -Errno.ENOMEM;
            flags |= VmFlags.Account;
        }
        long error = Isolate(task, ref vma, start, end);
        if (error < 0)
            return error;
        Account(vma.Flags, pages, add: false);
        Account(flags, pages, add: true);
        bool access = ((vma.Flags ^ flags) & VmFlags.Access) != 0;
        vma.Flags = flags;
        if (access && vma is { Shares.IsLeaky: false })
            Relink(task, vma);
        else if (access)
            ChangeProtection(task, vma);
        vma = Rejoin(task, vma);
        return 0;
    }

    /// <summary>Splits so that the VMA is exactly [start, end); 0 or as <see cref="Split"/>.</summary>
    private long Isolate(Task? task, ref Vma vma, ulong start, ulong end)
    {
        if (vma.Start < start)
        {
            long error = Split(task, vma, start, out vma);
            if (error < 0)
                return error;
        }
        return vma.End <= end ? 0 : Split(task, vma, end, out _);
    }

    /// <summary>change_protection: every entry gets the VMA's permissions, except that private pages become writable only by a fault.</summary>
    private void ChangeProtection(Task? task, Vma vma)
    {
        Pte bits = BitsOf(vma.Flags) & ~Pte.Accessed;
        bool writable = (vma.Flags & VmFlags.Write) != 0;
        bool direct = writable && vma.IsShared && !WantsWriteNotify(vma);
        Pte clear = Pte.Present | PageTables.ProtNone | Pte.User | Pte.NoExecute | (writable ? Pte.None : Pte.Writable);
        if (direct)
            bits |= Pte.Writable;
        using OperationScope operation = task.Operation("mprotect", vma.Start, vma.End);
        var gather = new MmuGather(this, task);
        var announced = new LazyAnnouncement(this, task, vma);
        ulong at = vma.Start;
        while (Tables.NextRun(ref at, vma.End, out ulong* entries, out int count, out int level))
        {
            announced.Reach(at);
            if (level > 0)
            {
                if (ChangeLeaf(gather, task, entries, at, vma.End, clear & ~bits, bits))
                    at = PageTables.NextBoundary(at, vma.End, level);
                continue;
            }
            using (PageTableLock.Enter(task))
            {
                FlushTlbBatchedPending(task);
                for (int i = 0; i < count; i++)
                {
                    if (!PageTables.IsMapped(entries[i]))
                    {
                        if (!writable)
                            MakeReadOnly(entries + i);
                        continue;
                    }
                    if (PageTables.Modify(entries + i, clear & ~bits, bits) == FlushOwed.Page)
                        gather.AddRange(at + ((ulong)i << 12), at + ((ulong)(i + 1) << 12));
                }
            }
            at += (ulong)count << 12;
        }
        announced.End();
        gather.Finish();
    }

    /// <summary>What stands for a page elsewhere comes back without write permission (change_pte_range).</summary>
    private static void MakeReadOnly(ulong* entry)
    {
        if (SwapEntry.TryDecode(*entry, out SwapEntry swap) && swap.IsWritable)
            Volatile.Write(ref *entry, swap.ToReadOnly(swap.Exclusive).Encode());
    }

    /// <summary>
    /// What mprotect announces: nothing until it meets tables, and then from there to the end of the table above (change_pud_range;
    /// before 6.6 one level lower, change_pmd_range).
    /// </summary>
    private ref struct LazyAnnouncement(Mm mm, Task? task, Vma vma)
    {
        private readonly int _level = mm._system.Profile == KernelProfile.V6_1 ? 1 : 2;
        private MmuNotifierRange _range;

        public void Reach(ulong address)
        {
            if (_range.End > address)
                return;
            End();
            ulong part = 1UL << PageTable.Shift(_level), whole = part * PageTable.Entries;
            ulong start = Math.Max(vma.Start, address & ~(part - 1)), end = Math.Min(vma.End, (address & ~(whole - 1)) + whole);
            _range = new MmuNotifierRange(mm, start, end, MmuNotifyEvent.ProtectionVma);
            mm.InvalidateRangeStart(task, _range);
        }

        public void End()
        {
            if (_range.End != 0)
                mm.InvalidateRangeEnd(task, _range);
            _range = default;
        }
    }

    /// <summary>Whether RLIMIT_MEMLOCK allows more locked pages (mlock_future_ok).</summary>
    private bool MayLock(Task? task, ulong pages) => LockedPages + pages <= Limit(task, ResourceLimits.MEMLOCK) >> 12;

    /// <summary>mlock and mlock2; nothing is ever swapped, so it comes down to bringing the pages in.</summary>
    public long Mlock(Task? task, ulong address, ulong length, bool onFault)
    {
        if (Limit(task, ResourceLimits.MEMLOCK) == 0)
            return -Errno.EPERM;
        length = Layout.PageAlign(length + (address & 0xFFF));
        address &= ~0xFFFUL;
        LockWrite(task);
        long result;
        try
        {
            ulong pages = length >> 12;
            ulong limit = Limit(task, ResourceLimits.MEMLOCK) >> 12;
            if (LockedPages + pages > limit)
                pages -= LockedPagesIn(address, address + length);
            if (LockedPages + pages > limit)
                return -Errno.ENOMEM;
            result = ApplyLock(task, address, length, VmFlags.Locked | (onFault ? VmFlags.LockOnFault : VmFlags.None));
        }
        finally
        {
            UnlockWrite();
        }
        return result == 0 ? Populate(task, address, address + length, ignoreErrors: false) : result;
    }

    private ulong LockedPagesIn(ulong start, ulong end)
    {
        ulong pages = 0;
        for (Vma? vma = Vmas.FindIntersection(start, end); vma is not null && vma.Start < end; vma = Vmas.Next(vma))
        {
            if ((vma.Flags & VmFlags.Locked) != 0)
                pages += (Math.Min(vma.End, end) - Math.Max(vma.Start, start)) >> 12;
        }
        return pages;
    }

    /// <summary>munlock(2).</summary>
    public long Munlock(Task? task, ulong address, ulong length)
    {
        length = Layout.PageAlign(length + (address & 0xFFF));
        LockWrite(task);
        try
        {
            return ApplyLock(task, address & ~0xFFFUL, length, VmFlags.None);
        }
        finally
        {
            UnlockWrite();
        }
    }

    /// <summary>apply_vma_lock_flags.</summary>
    private long ApplyLock(Task? task, ulong start, ulong length, VmFlags lockFlags)
    {
        ulong end = start + length;
        if (end < start)
            return -Errno.EINVAL;
        if (end == start)
            return 0;
        if (Vmas.Find(start) is not { } vma)
            return -Errno.ENOMEM;
        while (true)
        {
            ulong to = Math.Min(end, vma.End);
            // Frames of drivers are where they are without being locked (mlock_fixup, VM_SPECIAL).
            long error = (vma.Flags & VmFlags.PfnMap) != 0 ? 0 : ChangeFlags(task, ref vma, start, to, (vma.Flags & ~VmFlags.LockedMask) | lockFlags);
            if (error < 0)
                return error;
            start = to;
            if (start >= end)
                return 0;
            if (Vmas.FindEndingAfter(start) is not { } next || next.Start > start)
                return -Errno.ENOMEM;
            vma = next;
        }
    }

    /// <summary>mlockall(2).</summary>
    public long MlockAll(Task? task, int flags)
    {
        if (flags == 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) != 0 || flags == MCL_ONFAULT)
            return -Errno.EINVAL;
        ulong limit = Limit(task, ResourceLimits.MEMLOCK);
        if (limit == 0)
            return -Errno.EPERM;
        LockWrite(task);
        try
        {
            if ((flags & MCL_CURRENT) != 0 && TotalPages > limit >> 12)
                return -Errno.ENOMEM;
            VmFlags lockFlags = VmFlags.Locked | ((flags & MCL_ONFAULT) != 0 ? VmFlags.LockOnFault : VmFlags.None);
            DefaultFlags = (flags & MCL_FUTURE) != 0 ? lockFlags : VmFlags.None;
            if ((flags & MCL_CURRENT) != 0)
                LockEverything(task, lockFlags);
        }
        finally
        {
            UnlockWrite();
        }
        if ((flags & (MCL_CURRENT | MCL_ONFAULT)) == MCL_CURRENT)
        {
            foreach (Vma vma in SnapshotVmas())
                Populate(task, vma.Start, vma.End);
        }
        return 0;
    }

    /// <summary>munlockall(2).</summary>
    public long MunlockAll(Task? task)
    {
        LockWrite(task);
        DefaultFlags = VmFlags.None;
        LockEverything(task, VmFlags.None);
        UnlockWrite();
        return 0;
    }

    private void LockEverything(Task? task, VmFlags lockFlags)
    {
        for (Vma? vma = Vmas.First; vma is not null; vma = Vmas.Next(vma))
            ChangeFlags(task, ref vma, vma.Start, vma.End, (vma.Flags & ~VmFlags.LockedMask) | lockFlags);
    }
}
