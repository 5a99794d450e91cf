using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What migrations to and from devices do with one address space's tables, and what processors do at pages that are in a device.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>The mapping that an address is in (vma_lookup). The caller holds the mmap lock.</summary>
    public Vma? FindVma(ulong address) => Vmas.Find(address);

    /// <summary>Replaces entries of pages that may be migrated by migration entries (migrate_vma_collect).</summary>
    internal void CollectForMigration(Task? task, MigrateVma args)
    {
        using OperationScope operation = task.Operation("migrate_vma_collect", args.Start, args.End);
        var range = new MmuNotifierRange(this, args.Start, args.End, MmuNotifyEvent.Migrate, Owner: args.PagemapOwner);
        InvalidateRangeStart(task, range);
        ulong next;
        for (ulong at = args.Start; at < args.End; at = next)
        {
            ulong* entry = Tables.FindEntry(at, out int level);
            if (level == 1 && PageTables.IsLeaf(Volatile.Read(ref *entry)))
            {
                // Pages of 2 MiB are not migrated as such; one that cannot be split is left alone.
                bool split = _system.HugePages.SplitPage(task, PageTables.FrameOf(*entry)) == 0;
                next = split ? at : PageTables.NextBoundary(at, args.End, 1);
                continue;
            }
            next = PageTables.NextBoundary(at, args.End, Math.Max(level, 1));
            Span<MigratePfn> source = args.Source.AsSpan((int)((at - args.Start) >> Pfn.Shift), (int)((next - at) >> Pfn.Shift));
            if (level == 0)
                CollectTable(task, args, at, entry, source);
            else if (Volatile.Read(ref *entry) == 0 && args.Vma.IsAnonymous)
                CollectHole(args, source);
        }
        InvalidateRangeEnd(task, range);
    }

    private static void CollectHole(MigrateVma args, Span<MigratePfn> source)
    {
        source.Fill(new MigratePfn(default, Migrate: true));
        args.CollectedPages += source.Length;
    }

    /// <summary>migrate_vma_collect_pmd.</summary>
    private void CollectTable(Task? task, MigrateVma args, ulong start, ulong* entries, Span<MigratePfn> source)
    {
        bool flush = false;
        using (PageTableLock.Enter(task))
        {
            for (int i = 0; i < source.Length; i++)
            {
                source[i] = CollectEntry(task, args, start + ((ulong)i << Pfn.Shift), entries + i, ref flush);
                if (source[i].Migrate)
                    args.CollectedPages++;
            }
            if (flush)
                Shootdown.FlushMmRange(task?.Vcpu, this, start, start + ((ulong)source.Length << Pfn.Shift), Pfn.Shift, freedTables: true);
        }
    }

    private MigratePfn CollectEntry(Task? task, MigrateVma args, ulong address, ulong* entry, ref bool flush)
    {
        ulong value = Volatile.Read(ref *entry);
        if (value == 0)
            return new MigratePfn(default, Migrate: args.Vma.IsAnonymous);
        Pfn frame;
        bool write;
        if (SwapEntry.TryDecode(value, out SwapEntry swap))
        {
            if (!swap.IsDevicePrivate || (args.Select & MigrateVmaSelect.DevicePrivate) == 0 || Pages.Devices.Find(swap.Frame)?.Owner != args.PagemapOwner)
                return default;
            frame = swap.Frame;
            write = swap.IsWritable;
        }
        else
        {
            frame = PageTables.FrameOf(value);
            write = (value & (ulong)Pte.Writable) != 0;
            if ((args.Select & MigrateVmaSelect.System) == 0)
                return default;
            if (frame == Pages.Zero)
                return new MigratePfn(default, Migrate: true);
        }
        PageFlags flags = Pages[frame].Flags;
        if ((flags & (PageFlags.Anon | PageFlags.Cache)) == 0 || (flags & (PageFlags.Head | PageFlags.Tail | PageFlags.Reserved)) != 0)
            return default;
        // Only tried: two migrations might each wait for a page of the other's.
        if (frame != args.FaultPage && !_system.PageLocks.TryLock(frame))
            return default;
        Pages.Get(frame);
        bool exclusive = Pages[frame].IsAnonExclusive;
        if (PageTables.Clear(entry, out ulong old) == FlushOwed.Page)
        {
            if (exclusive)
                Shootdown.FlushPage(task?.Vcpu, this, address);
            else
                flush = true;
        }
        if (TrySetMigration(entry, old, frame))
            return new MigratePfn(frame, Migrate: true, write);
        if (frame != args.FaultPage)
            _system.PageLocks.Unlock(frame);
        Pages.Put(frame);
        return default;
    }

    /// <summary>
    /// Enters a migration entry where the page was mapped, or was in a device, and drops the entry's reference. False: the page is pinned, and
    /// the entry is what it was.
    /// </summary>
    private bool TrySetMigration(ulong* entry, ulong old, Pfn frame)
    {
        ref Page page = ref Pages[frame];
        bool mapped = !SwapEntry.TryDecode(old, out SwapEntry swap);
        bool writable = mapped ? (old & (ulong)Pte.Writable) != 0 : swap.IsWritable;
        bool young = mapped && (old & (ulong)Pte.Accessed) != 0, dirty = mapped && (old & (ulong)Pte.Dirty) != 0;
        bool exclusive = page.IsAnonExclusive;
        if (dirty)
            PageAllocator.SetFlags(ref page, PageFlags.Dirty);
        if (!TryShareForUnmap(frame))
        {
            PageTables.Set(entry, old);
            return false;
        }
        PageTables.Set(entry, new SwapEntry(writable ? SwapKind.MigrationWrite : SwapKind.MigrationRead, frame.Value, exclusive, young, dirty).Encode());
        RemoveMapping(frame, counted: false);
        return true;
    }

    /// <summary>Gives a page to an address that had none or the page of zeroes (migrate_vma_insert_page). False: it has one by now.</summary>
    internal bool InsertMigrated(Task? task, Vma vma, ulong address, Pfn frame)
    {
        if (!vma.IsAnonymous)
            return false;
        PrepareAnonVma(task, vma);
        using (PageTableLock.Enter(task))
        {
            ulong* entry = Tables.FindOrCreate(address);
            if (entry is null || (*entry != 0 && PageTables.FrameOf(*entry) != Pages.Zero))
                return false;
            if (PageTables.Clear(entry, out _) == FlushOwed.Page)
                Shootdown.FlushPage(task?.Vcpu, this, address);
            Pages.Get(frame);
            PageAllocator.SetFlags(ref Pages[frame], PageFlags.Anon);
            MapNewAnon(frame, vma, address);
            PageTables.Set(entry, Pages.IsDevice(frame) ? DevicePrivate(frame, (vma.Flags & VmFlags.Write) != 0) : frame.Address | (ulong)(BitsOf(vma.Flags) | WriteBits(vma)));
            return true;
        }
    }

    private static ulong DevicePrivate(Pfn frame, bool writable) =>
        new SwapEntry(writable ? SwapKind.DevicePrivateWrite : SwapKind.DevicePrivateRead, frame.Value).Encode();

    /// <summary>A processor needs a page that is in a device: the device brings it back (do_swap_page).</summary>
    private FaultOutcome FaultDevicePrivate(Task? task, Vma vma, ulong address, ulong* entry, ulong value, Pfn frame)
    {
        bool locked;
        using (PageTableLock.Enter(task))
        {
            if (Volatile.Read(ref *entry) != value)
                return FaultOutcome.Done;
            // Locked while the entry keeps the page: of two faults at once, one does the work.
            locked = _system.PageLocks.TryLock(frame);
            if (locked)
                Pages.Get(frame);
        }
        if (!locked)
        {
            _system.PageLocks.WaitForEntry(task, frame, entry, value);
            return FaultOutcome.Done;
        }
        FaultOutcome outcome = Pages.Devices.Find(frame)!.MigrateToRam(task, vma, address, frame);
        _system.PageLocks.Unlock(frame);
        Pages.Put(frame);
        // Room in the machine's memory is of no use to a device that has run out of its own: asked again, it would say the same for ever.
        return outcome == FaultOutcome.OutOfMemory && Pages.FreeFrames > _system.Reclaim.Marks.High ? FaultOutcome.BusError : outcome;
    }
}
