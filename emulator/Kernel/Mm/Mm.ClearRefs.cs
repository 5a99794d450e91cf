using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What /proc/PID/clear_refs is told to forget (Documentation/filesystems/proc.rst).</summary>
public enum ClearRefs
{
    All = 1,
    Anonymous = 2,
    Mapped = 3,
    SoftDirty = 4,
    PeakResident = 5,
}

/// <summary>Forgetting what pages were used for: accessed bits, and soft-dirty ones, by which a tool finds what was written since.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>The entry's page was written since soft-dirty bits were cleared (_PAGE_SOFT_DIRTY, which is _PAGE_SOFTW3).</summary>
    private const Pte SoftDirtyBit = Pte.Software3;

    /// <summary>
    /// Whether a store to a shared page must fault though the VMA allows it (vma_wants_writenotify): a host file's page is dirtied by it,
    /// or it is to be noticed as the first one since soft-dirty bits were cleared.
    /// </summary>
    private static bool WantsWriteNotify(Vma vma) => vma.Cache is { NeedsWriteBack: true } || (vma.Flags & VmFlags.SoftDirty) == 0;

    /// <summary>clear_refs_write.</summary>
    internal void ClearReferences(Task task, ClearRefs what)
    {
        using OperationScope operation = task.Operation("clear_refs");
        using var scope = MmapLock.EnterWrite(task);
        if (what == ClearRefs.PeakResident)
        {
            PeakResidentPages = ResidentPages;
            return;
        }
        bool softDirty = what == ClearRefs.SoftDirty;
        var range = new MmuNotifierRange(this, 0, ulong.MaxValue, MmuNotifyEvent.SoftDirty);
        if (softDirty)
        {
            for (Vma? vma = Vmas.First; vma is not null; vma = Vmas.Next(vma))
                vma.Flags &= ~VmFlags.SoftDirty;
            InvalidateRangeStart(task, range);
        }
        for (Vma? vma = Vmas.First; vma is not null; vma = Vmas.Next(vma))
        {
            if ((vma.Flags & VmFlags.PfnMap) == 0 && (what != ClearRefs.Anonymous || vma.File is null) && (what != ClearRefs.Mapped || vma.File is not null))
                ClearBits(task, vma, softDirty ? Pte.Writable | SoftDirtyBit : Pte.Accessed);
        }
        if (softDirty)
        {
            Shootdown.FlushMm(task.Vcpu, this);
            InvalidateRangeEnd(task, range);
        }
    }

    /// <summary>clear_refs_pte_range. Lost accessed bits are not worth a flush: a page that is used often enough is marked again.</summary>
    private void ClearBits(Task task, Vma vma, Pte bits)
    {
        ulong at = vma.Start;
        while (Tables.NextRun(ref at, vma.End, out ulong* entries, out int count, out int level))
        {
            using (PageTableLock.Enter(task))
            {
                if (PageTables.WasSplit(*entries, level))
                    continue;
                for (int i = 0; i < count; i++)
                {
                    ulong entry = Volatile.Read(ref entries[i]);
                    if (!PageTables.IsMapped(entry))
                        continue;
                    Pfn frame = PageTables.FrameOf(entry);
                    if ((Pages[frame].Flags & PageFlags.HugeTlb) != 0)
                        continue;
                    PageTables.Modify(entries + i, bits, Pte.None);
                    if (bits == Pte.Accessed && frame != Pages.Zero)
                        PageAllocator.ClearFlags(ref Pages[frame], PageFlags.Referenced);
                }
            }
            at = level > 0 ? PageTables.NextBoundary(at, vma.End, level) : at + ((ulong)count << Pfn.Shift);
        }
    }
}
