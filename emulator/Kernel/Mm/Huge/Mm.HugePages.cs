using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>2 MiB leaves of anonymous memory: fault, split, and what the walks over page tables do with one (mm/huge_memory.c).</summary>
public sealed unsafe partial class Mm
{
    private const ulong HugeMask = PageTables.HugeSize - 1;
    private const int HugeShift = 21;

    /// <summary>prctl(PR_SET_THP_DISABLE).</summary>
    internal bool HugePagesDisabled { get; set; }

    /// <summary>The permissions of a leaf: those of an entry, and that it is one.</summary>
    private static Pte LeafBits(Vma vma) => BitsOf(vma.Flags) | Pte.PageSize;

    /// <summary>Counts a leaf that maps a huge page of anonymous memory; it takes over the caller's reference. Under the page-table lock.</summary>
    private void MapLeaf(Pfn head)
    {
        if (Interlocked.Increment(ref Pages.EntireMapCount(head)) == 1)
            _system.HugePages.CountMapped(+1);
        CountResident(Pages[head].Flags, PageTables.LeafPages);
    }

    private void UnmapLeaf(Pfn head)
    {
        if (Interlocked.Decrement(ref Pages.EntireMapCount(head)) == 0)
            _system.HugePages.CountMapped(-1);
        CountResident(Pages[head].Flags, -PageTables.LeafPages);
    }

    /// <summary>Answers a fault where no table is with a whole huge page (do_huge_pmd_anonymous_page). False: single pages must do.</summary>
    private bool FaultHuge(Task? task, Vma vma, ulong address, FaultFlags flags)
    {
        ulong start = address & ~HugeMask;
        if (!_system.HugePages.Allows(vma) || !HugePages.Fits(vma, address))
            return false;
        PrepareAnonVma(task, vma);
        if (!Pages.TryAllocate(PageAllocator.HugeOrder, PageFlags.Anon, zero: true, out Pfn head))
        {
            _system.Events.Count(VmEvent.ThpFaultFallback);
            return false;
        }
        if ((flags & FaultFlags.Touch) != 0)
            _system.HugePages.ExpectUse(head);
        if (!Tables.TryAllocateTable(out Pfn table))
        {
            Pages.Put(head);
            return false;
        }
        bool installed = false;
        using (PageTableLock.Enter(task))
        {
            ulong* leaf = Tables.FindOrCreateHuge(start);
            if (leaf is not null && *leaf == 0)
            {
                Tables.Deposit(table);
                SetAnonOwner(head, vma, start);
                MapLeaf(head);
                PageTables.Set(leaf, head.Address | (ulong)(LeafBits(vma) | WriteBits(vma)));
                installed = true;
            }
        }
        if (!installed)
        {
            Pages.Put(table);
            Pages.Put(head);
            return false;
        }
        _system.Events.Count(VmEvent.ThpFaultAllocate);
        _system.Faults.Count(FaultKind.Huge);
        return true;
    }

    /// <summary>
    /// A fault where a leaf is. A write to one that is not writable takes the page over if nobody else has it; otherwise the leaf is split and
    /// only the page written is copied (do_huge_pmd_wp_page). False: there is no leaf any more.
    /// </summary>
    private bool FaultLeaf(Task? task, Vma vma, ulong address, ulong* leaf, FaultFlags flags)
    {
        FaultKind kind = FaultKind.Spurious;
        bool unshare = (flags & FaultFlags.Unshare) != 0, write = unshare || (flags & FaultFlags.Write) != 0;
        using (PageTableLock.Enter(task))
        {
            ulong value = *leaf;
            if (!PageTables.IsLeaf(value))
                return false;
            if (write && (value & (ulong)Pte.Writable) == 0)
            {
                if (!CanReuseAnon(PageTables.FrameOf(value), vma, address & ~HugeMask, leaf: true))
                    kind = FaultKind.Copy;
                else if (!unshare && PageTables.Modify(leaf, Pte.None, WriteBits(vma) | Pte.Accessed) == FlushOwed.None)
                    kind = FaultKind.Reuse;
            }
        }
        if (kind == FaultKind.Copy)
        {
            SplitHuge(task, address);
            return false;
        }
        _system.Faults.Count(kind);
        return true;
    }

    /// <summary>
    /// Makes 512 entries of the leaf that maps an address, if one does (__split_huge_pmd). The huge page stays one: only this address space
    /// maps it by its frames from now on.
    /// </summary>
    internal void SplitHuge(Task? task, ulong address)
    {
        ulong start = address & ~HugeMask;
        ulong* leaf = Tables.Find(start, out int level);
        if (leaf is null || level == 0 || (Pages[PageTables.FrameOf(*leaf)].Flags & PageFlags.HugeTlb) != 0)
            return;
        var range = new MmuNotifierRange(this, start, start + PageTables.HugeSize, MmuNotifyEvent.Clear);
        InvalidateRangeStart(task, range);
        using (PageTableLock.Enter(task))
        {
            leaf = Tables.Find(start, out level);
            if (leaf is not null && level == 1)
                SplitLeaf(task, leaf, start);
        }
        InvalidateRangeEnd(task, range);
    }

    private void SplitLeaf(Task? task, ulong* leaf, ulong start)
    {
        // Not present while it changes: a TLB must not hold the large and the small translation at once (pmdp_invalidate). Only hugetlb
        // flushes in strides of 2 MiB; to flush_tlb_range this is a range of 512 pages.
        PageTables.Invalidate(leaf, out ulong old);
        Shootdown.FlushMmRange(task?.Vcpu, this, start, start + PageTables.HugeSize, Pfn.Shift, freedTables: true);
        Pfn head = PageTables.FrameOf(old);
        PageFlags exclusive = Pages[head].Flags & PageFlags.AnonExclusive;
        for (ulong i = 0; i < PageTables.LeafPages; i++)
        {
            ref Page page = ref Pages[new Pfn(head.Value + i)];
            Interlocked.Increment(ref page.MapCount);
            PageAllocator.SetFlags(ref page, exclusive);
        }
        // The leaf had one reference, each entry has one.
        Interlocked.Add(ref Pages[head].RefCount, PageTables.LeafPages - 1);
        if (Interlocked.Decrement(ref Pages.EntireMapCount(head)) == 0)
            _system.HugePages.CountMapped(-1);
        Tables.ReplaceLeaf(leaf, old, Tables.Withdraw());
        _system.Events.Count(VmEvent.ThpSplitPmd);
    }

    /// <summary>The last page that the entry of an address maps: with a leaf, that of 2 MiB.</summary>
    private ulong LastPageOfEntry(ulong address) => Tables.Find(address, out int level) is null || level == 0 ? address : (address | HugeMask) & ~0xFFFUL;

    /// <summary>Whether a range covers a whole leaf. If it does not, the leaf is split, and the walk looks at the same address again.</summary>
    private bool CoversLeaf(Task? task, ulong address, ulong end)
    {
        if ((address & HugeMask) == 0 && end - address >= PageTables.HugeSize)
            return true;
        SplitHuge(task, address);
        return false;
    }

    /// <summary>
    /// Puts another huge page in the place of one that this leaf alone maps and that nobody else holds, with its contents. The lock of the table is
    /// held all the while, which takes the place of migration entries; the caller has the page locked.
    /// </summary>
    /// <param name="references">The caller's, to the old page.</param>
    /// <returns>Whether the leaf maps the new page now, which has taken over the caller's reference to that.</returns>
    internal bool TryMigrateLeaf(Task? task, ulong address, Pfn head, Pfn replacement, int references)
    {
        bool moved = false;
        using OperationScope operation = task.Operation("try_to_migrate", address, address + PageTables.HugeSize);
        var range = new MmuNotifierRange(this, address, address + PageTables.HugeSize, MmuNotifyEvent.Clear);
        InvalidateRangeStart(task, range);
        using (PageTableLock.Enter(task))
        {
            ulong* leaf = Tables.Find(address, out int level);
            if (level == 1 && leaf is not null && PageTables.FrameOf(*leaf) == head && !HugePages.HasExtraReferences(Pages, head, references))
            {
                PageTables.Invalidate(leaf, out ulong old);
                Shootdown.FlushMmRange(task?.Vcpu, this, address, address + PageTables.HugeSize, Pfn.Shift, freedTables: true);
                // One reference is the leaf's, so there is no other mapping.
                moved = Pages.TryFreeze(head, references + 1);
                if (moved)
                {
                    _system.Migration.CopyHuge(head, replacement);
                    Pages.EntireMapCount(replacement) = 1;
                    Pages.EntireMapCount(head) = 0;
                    Volatile.Write(ref Pages[head].RefCount, references);
                }
                Volatile.Write(ref *leaf, moved ? (old & ~(ulong)Pte.Frame) | replacement.Address : old);
            }
        }
        InvalidateRangeEnd(task, range);
        return moved;
    }

    /// <summary>Unmaps a leaf that the range covers (zap_huge_pmd). False: look at the address again.</summary>
    private bool ZapLeaf(MmuGather gather, Task? task, Vma vma, ulong* leaf, ulong address, ulong end)
    {
        if (!CoversLeaf(task, address, end))
            return false;
        bool full;
        using (PageTableLock.Enter(task))
        {
            if (!PageTables.IsLeaf(*leaf))
                return *leaf == 0;
            if (PageTables.Clear(leaf, out ulong old) == FlushOwed.Page)
                gather.AddRange(address, address + PageTables.HugeSize, HugeShift);
            Pfn head = PageTables.FrameOf(old);
            UnmapLeaf(head);
            Pages.Put(Tables.Withdraw());
            full = gather.AddFrame(head);
        }
        if (full)
            gather.Flush();
        return true;
    }

    /// <summary>fork: both sides map the huge page without write permission (copy_huge_pmd). False: memory is exhausted.</summary>
    private bool CopyLeaf(Task? task, ulong* leaf, ulong address, Mm child, out bool copied)
    {
        copied = false;
        if (!child.Tables.TryAllocateTable(out Pfn table))
            return false;
        using (child.PageTableLock.Enter(task))
        using (PageTableLock.Enter(task, LockClass.Nested))
        {
            ulong* target = child.Tables.FindOrCreateHuge(address);
            if (target is not null && PageTables.IsLeaf(*leaf))
            {
                Pfn head = PageTables.FrameOf(*leaf);
                if (!TryShareAnon(head))
                {
                    // Pinned: single pages are copied now, those that are pinned and no others.
                    Pages.Put(table);
                    SplitLeaf(task, leaf, address & ~HugeMask);
                    return true;
                }
                PageTables.Modify(leaf, Pte.Writable, Pte.None);
                ulong value = Volatile.Read(ref *leaf);
                Pages.Get(head);
                child.Tables.Deposit(table);
                child.MapLeaf(PageTables.FrameOf(value));
                PageTables.Set(target, value & ~(ulong)Pte.Accessed);
                return copied = true;
            }
            Pages.Put(table);
            return target is not null;
        }
    }

    /// <summary>mprotect of a leaf (change_huge_pmd). False: look at the address again.</summary>
    private bool ChangeLeaf(MmuGather gather, Task? task, ulong* leaf, ulong address, ulong end, Pte clear, Pte set)
    {
        if (!CoversLeaf(task, address, end))
            return false;
        using (PageTableLock.Enter(task))
        {
            if (PageTables.WasSplit(*leaf, level: 1))
                return false;
            if (PageTables.IsLeaf(*leaf) && PageTables.Modify(leaf, clear, set) == FlushOwed.Page)
                gather.AddRange(address, address + PageTables.HugeSize, HugeShift);
        }
        return true;
    }

    /// <summary>mremap: a leaf moves as it is if old and new place allow (move_huge_pmd). False: it was split; look at the address again.</summary>
    private bool MoveLeaf(Task? task, ulong* leaf, ulong address, ulong end, ulong to, out bool noTable)
    {
        noTable = false;
        if ((to & HugeMask) != 0 || !CoversLeaf(task, address, end))
        {
            SplitHuge(task, address);
            return false;
        }
        using (PageTableLock.Enter(task))
        {
            ulong* target = Tables.FindOrCreateHuge(to);
            noTable = target is null;
            if (!noTable && *target == 0 && PageTables.IsLeaf(*leaf))
            {
                bool flush = PageTables.Clear(leaf, out ulong value) == FlushOwed.Page;
                PageTables.Set(target, value);
                // Before the lock goes, for the page can be found by its new entry then.
                if (flush)
                    Shootdown.FlushMmRange(task?.Vcpu, this, address, address + PageTables.HugeSize, Pfn.Shift, freedTables: true);
                return true;
            }
        }
        SplitHuge(task, address);
        return false;
    }
}
