using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Notifiers;

/// <summary>How a mirror asks what the page tables map (mm/hmm.c).</summary>
public static unsafe class Hmm
{
    [Flags]
    private enum Need
    {
        Nothing = 0,
        Fault = 1,
        Write = 2,
    }

    /// <summary>
    /// Fills in a range's entries, making pages present or writable where they ask for it (hmm_range_fault). The caller holds the mmap
    /// lock, for reading at least (<see cref="Mm.EnterRead"/>), and is a user of the address space. Allocates nothing but what faults do.
    /// </summary>
    /// <remarks>In bounds: a range has an entry for each of its pages, or is refused; containers' ranges are slices of it.</remarks>
    /// <returns>
    /// 0: the entries tell what the tables mapped when each was looked at, to be used only after <see cref="MmuIntervalNotifier.ReadRetry"/>.
    /// -EBUSY: a change collided, begin again. -EFAULT: a page that was asked for cannot be had. -EPERM: one was asked for writing in a mapping
    /// that is not writable. -EINVAL: the range is empty, or has no entry for some page.
    /// </returns>
    public static int RangeFault(Task? task, HmmRange range)
    {
        if (range.Start >= range.End || !Layout.IsPageAligned(range.Start | range.End) || (range.End - range.Start) >> Pfn.Shift > (ulong)range.Pfns.Length)
            return -Errno.EINVAL;
        if (!range.Mm.MmapLock.IsHeld)
            range.Mm.System.Violations.Report(task, NotifierRules.MmapLockHeld, $"hmm_range_fault of {range.Start:x}-{range.End:x}");
        var walk = new Walk(task, range);
        int result;
        do
        {
            if (range.Notifier is { } notifier && notifier.CheckRetry(range.NotifierSequence))
                return -Errno.EBUSY;
            result = walk.Run();
            if (result == -Errno.EBUSY)
            {
                Interlocked.Increment(ref range.Restarts);
                task?.PreemptionPoint();
            }
        }
        while (result == -Errno.EBUSY);
        return result;
    }

    private ref struct Walk(Task? task, HmmRange range)
    {
        private readonly Mm _mm = range.Mm;
        private readonly Span<ulong> _pfns = range.Pfns.Span;
        private readonly ulong _mask = (ulong)range.PfnFlagsMask, _default = (ulong)range.DefaultFlags;

        /// <summary>Where the walk begins, and begins again after a fault.</summary>
        private ulong _last = range.Start;

        private readonly Span<ulong> Entries(ulong start, ulong end) =>
            _pfns.Slice((int)((start - range.Start) >> Pfn.Shift), (int)((end - start) >> Pfn.Shift));

        /// <summary>walk_page_range: 0, an error, or -EBUSY after a fault.</summary>
        public int Run()
        {
            ulong next;
            for (ulong at = _last; at < range.End; at = next)
            {
                Vma? vma = _mm.Vmas.FindEndingAfter(at);
                next = vma is null ? range.End : Math.Min(range.End, vma.Start > at ? vma.Start : vma.End);
                int result = vma is null || vma.Start > at || !IsReadable(vma) ? Unmapped(at, next) : WalkVma(vma, at, next);
                if (result != 0)
                    return result;
            }
            return 0;
        }

        /// <summary>hmm_vma_walk_test: what has no pages that may be looked at is as good as nothing.</summary>
        private static bool IsReadable(Vma vma) => (vma.Flags & (VmFlags.Io | VmFlags.PfnMap)) == 0 && (vma.Flags & VmFlags.Read) != 0;

        private readonly int Unmapped(ulong start, ulong end)
        {
            if (NeedsAny(start, end, HmmPfn.None) != Need.Nothing)
                return -Errno.EFAULT;
            Entries(start, end).Fill((ulong)HmmPfn.Error);
            return 0;
        }

        /// <summary>A container's pages are the host's: they are asked for there, with the rights that the container gives.</summary>
        private int WalkContainer(Vma container, ulong start, ulong end)
        {
            _last = start;
            bool writable = (container.Flags & VmFlags.Write) != 0;
            if (!writable && (NeedsAny(start, end, HmmPfn.Valid) & Need.Write) != 0)
                return -Errno.EPERM;
            using var host = new Mm.HostScope(task, container, start);
            Memory<ulong> pfns = range.Pfns.Slice((int)((start - range.Start) >> Pfn.Shift), (int)((end - start) >> Pfn.Shift));
            var inside = new HmmRange(host.Mm, host.Address, host.Address + (end - start), pfns)
            {
                DefaultFlags = range.DefaultFlags,
                PfnFlagsMask = range.PfnFlagsMask,
                DevicePrivateOwner = range.DevicePrivateOwner,
            };
            var walk = new Walk(task, inside);
            int result = walk.Run();
            _last = start + (walk._last - inside.Start);
            if (writable)
                return result;
            foreach (ref ulong pfn in Entries(start, end))
                pfn &= ~(ulong)HmmPfn.Write;
            return result;
        }

        private int WalkVma(Vma vma, ulong start, ulong end)
        {
            if (vma.IsContainer)
                return WalkContainer(vma, start, end);
            ulong next;
            for (ulong at = start; at < end; at = next)
            {
                ulong* entry = _mm.Tables.FindEntry(at, out int level);
                next = PageTables.NextBoundary(at, end, Math.Max(level, 1));
                ulong value = Volatile.Read(ref *entry);
                int result =
                    level == 0 ? WalkTable(vma, at, next, entry)
                    : level == 1 && (vma.Flags & VmFlags.HugeTlb) != 0 ? HugeTlb(vma, at, next, entry)
                    : value == 0 ? Hole(vma, at, next)
                    : PageTables.IsLeaf(value) ? Leaf(vma, at, next, value)
                    : NotPresent(vma, at, next, value);
                if (result != 0)
                    return result;
            }
            return 0;
        }

        /// <summary>hmm_vma_walk_hole: no table.</summary>
        private int Hole(Vma vma, ulong start, ulong end)
        {
            Need need = NeedsAny(start, end, HmmPfn.None);
            if (need != Need.Nothing)
                return Fault(vma, start, end, need);
            Entries(start, end).Clear();
            return 0;
        }

        /// <summary>An entry for 2 MiB that maps nothing: a migration is waited for, all else is an error (hmm_vma_walk_pmd).</summary>
        private int NotPresent(Vma vma, ulong start, ulong end, ulong value)
        {
            bool migration = SwapEntry.TryDecode(value, out SwapEntry swap) && swap.IsMigration;
            if (NeedsAny(start, end, HmmPfn.None) != Need.Nothing)
                return migration ? WaitForMigration(vma, start) : -Errno.EFAULT;
            Entries(start, end).Fill(migration ? 0 : (ulong)HmmPfn.Error);
            return 0;
        }

        /// <summary>hmm_vma_handle_pmd: a 2 MiB page of anonymous memory.</summary>
        private int Leaf(Vma vma, ulong start, ulong end, ulong value)
        {
            HmmPfn flags = FlagsOf(value);
            if (flags != HmmPfn.None)
                flags |= Order(PageTable.Shift(1) - Pfn.Shift);
            Need need = NeedsAny(start, end, flags);
            if (need != Need.Nothing)
                return Fault(vma, start, end, need);
            FillFrames(start, end, value, flags);
            return 0;
        }

        /// <summary>
        /// hmm_vma_walk_hugetlb_entry. Only the first page's request counts; an empty entry leaves order bits without Valid. Since 6.5 the walk holds the VMA's
        /// lock, which a punch holds for writing when it tells notifiers (mm/pagewalk.c:walk_hugetlb_range).
        /// </summary>
        private int HugeTlb(Vma vma, ulong start, ulong end, ulong* entry)
        {
            RwSemaphore? vmaLock = _mm.System.Profile == KernelProfile.V6_1 ? null : vma.HugeTlbLock;
            if (vmaLock is not null && task is not null)
                ((HugeTlbPageCache)vma.Cache!).RefuseFaultInCallback(task, vma);
            vmaLock?.LockRead(task);
            ulong value = Volatile.Read(ref *entry);
            HmmPfn flags = FlagsOf(value) | Order(PageTable.Shift(1) - Pfn.Shift);
            Need need = Needs(Entries(start, end)[0], flags);
            if (need == Need.Nothing)
                FillFrames(start, end, PageTables.IsMapped(value) ? value : 0, flags);
            vmaLock?.UnlockRead();
            // The fault takes the lock itself.
            return need == Need.Nothing ? 0 : Fault(vma, start, end, need);
        }

        private readonly void FillFrames(ulong start, ulong end, ulong value, HmmPfn flags)
        {
            ulong size = 1UL << PageTable.Shift(1);
            ulong frame = (PageTables.FrameOf(value).Value & ~((size >> Pfn.Shift) - 1)) + ((start & (size - 1)) >> Pfn.Shift);
            Span<ulong> entries = Entries(start, end);
            for (int i = 0; i < entries.Length; i++)
                entries[i] = (frame + (ulong)i) | (ulong)flags;
        }

        /// <summary>The entries of one table, each as hmm_vma_handle_pte does it.</summary>
        private int WalkTable(Vma vma, ulong start, ulong end, ulong* table)
        {
            Span<ulong> entries = Entries(start, end);
            for (int i = 0; i < entries.Length; i++)
            {
                ulong value = Volatile.Read(ref table[i]);
                ref ulong pfn = ref entries[i];
                HmmPfn flags = FlagsOf(value);
                if (!PageTables.IsMapped(value))
                {
                    bool isSwap = SwapEntry.TryDecode(value, out SwapEntry swap) && swap.Kind != SwapKind.Marker;
                    if (isSwap && swap.IsDevicePrivate && range.DevicePrivateOwner is { } owner && owner == _mm.Pages.Devices.Find(swap.Frame)?.Owner)
                    {
                        pfn = swap.Offset | (ulong)(HmmPfn.Valid | (swap.IsWritable ? HmmPfn.Write : HmmPfn.None));
                        continue;
                    }
                    Need missing = Needs(pfn, HmmPfn.None);
                    if (missing == Need.Nothing)
                        pfn = 0;
                    else if (isSwap && swap.IsMigration)
                        return WaitForMigration(vma, start + ((ulong)i << Pfn.Shift));
                    else
                        return Fault(vma, start + ((ulong)i << Pfn.Shift), end, missing);
                    continue;
                }
                Need need = Needs(pfn, flags);
                if (need != Need.Nothing)
                    return Fault(vma, start + ((ulong)i << Pfn.Shift), end, need);
                Pfn frame = PageTables.FrameOf(value);
                if (frame.Value >= _mm.Pages.Memory.FrameCount)
                {
                    // A page without metadata, such as a device's registers.
                    if (Needs(pfn, HmmPfn.None) != Need.Nothing)
                        return -Errno.EFAULT;
                    pfn = (ulong)HmmPfn.Error;
                    continue;
                }
                pfn = flags == HmmPfn.None ? 0 : frame.Value | (ulong)flags;
            }
            return 0;
        }

        private static HmmPfn FlagsOf(ulong value) =>
            (value & (ulong)Pte.Present) == 0 ? HmmPfn.None
            : (value & (ulong)Pte.Writable) != 0 ? HmmPfn.Valid | HmmPfn.Write
            : HmmPfn.Valid;

        private static HmmPfn Order(int order) => (HmmPfn)((ulong)order << HmmRange.OrderShift);

        /// <summary>hmm_pte_need_fault: what must be done for a page that the tables give these flags.</summary>
        private readonly Need Needs(ulong pfn, HmmPfn flags)
        {
            if (range.AlwaysFaults)
                return Need.Fault;
            var request = (HmmPfn)((pfn & _mask) | _default);
            if ((request & HmmPfn.ReqFault) == 0)
                return Need.Nothing;
            if ((request & HmmPfn.ReqWrite) != 0 && (flags & HmmPfn.Write) == 0)
                return Need.Fault | Need.Write;
            return (flags & HmmPfn.Valid) == 0 ? Need.Fault : Need.Nothing;
        }

        private readonly Need NeedsAny(ulong start, ulong end, HmmPfn flags)
        {
            if (((_mask | _default) & (ulong)HmmPfn.ReqFault) == 0)
                return Need.Nothing;
            Need need = Need.Nothing;
            foreach (ulong pfn in Entries(start, end))
            {
                need |= Needs(pfn, flags);
                if (need == (Need.Fault | Need.Write))
                    break;
            }
            return need;
        }

        /// <summary>hmm_vma_fault: what is needed by one page is done for all up to the end of its table or hole, and the walk begins again there.</summary>
        private int Fault(Vma vma, ulong start, ulong end, Need need)
        {
            _last = start;
            FaultFlags flags = FaultFlags.Remote;
            if ((need & Need.Write) != 0)
            {
                if ((vma.Flags & VmFlags.Write) == 0)
                    return -Errno.EPERM;
                flags |= FaultFlags.Write;
            }
            using OperationScope operation = task.Operation("hmm_vma_fault", start, end);
            for (ulong at = start; at < end; at += Pfn.Size)
            {
                if (_mm.FaultIn(task, vma, at, flags) != FaultOutcome.Done)
                    return -Errno.EFAULT;
            }
            return -Errno.EBUSY;
        }

        /// <summary>A fault on an entry of a page that is being moved waits until it has arrived.</summary>
        private int WaitForMigration(Vma vma, ulong address)
        {
            _last = address;
            return _mm.FaultIn(task, vma, address, FaultFlags.Remote) == FaultOutcome.Done ? -Errno.EBUSY : -Errno.EFAULT;
        }
    }
}
