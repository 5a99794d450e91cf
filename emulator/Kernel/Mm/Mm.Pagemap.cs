using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What /proc/PID/pagemap says of a page (fs/proc/task_mmu.c, PM_*; bits 0 to 54 are the frame or swap slot).</summary>
[Flags]
public enum PagemapEntry : ulong
{
    None = 0,
    /// <summary>Written, or mapped anew, since clear_refs cleared soft-dirty bits.</summary>
    SoftDirty = 1UL << 55,
    /// <summary>Mapped, by this entry and no other of any process.</summary>
    Exclusive = 1UL << 56,
    /// <summary>A page of a file or of shared anonymous memory.</summary>
    File = 1UL << 61,
    /// <summary>Not in memory, but the entry says where it is: in the swap area, on its way to another frame, in a device.</summary>
    Swapped = 1UL << 62,
    Present = 1UL << 63,
}

/// <summary>/proc/PID/pagemap.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Describes the pages from an address on, one element each (pagemap_pmd_range).</summary>
    internal void DescribePages(Task task, ulong address, Span<PagemapEntry> result)
    {
        result.Clear();
        using var scope = MmapLock.EnterRead(task);
        DescribeLocked(task, address, result);
    }

    private void DescribeLocked(Task task, ulong address, Span<PagemapEntry> result)
    {
        ulong at = address, end = address + ((ulong)result.Length << Pfn.Shift);
        for (Vma? vma = Vmas.FindEndingAfter(address); vma is not null && vma.Start < end; vma = Vmas.Next(vma))
        {
            if (vma.IsContainer)
                DescribeShared(task, vma, Math.Max(address, vma.Start), Math.Min(end, vma.End), address, result);
            else if ((vma.Flags & VmFlags.SoftDirty) != 0)
                result[Position(address, Math.Max(address, vma.Start))..Position(address, Math.Min(end, vma.End))].Fill(PagemapEntry.SoftDirty);
        }
        while (Tables.NextRun(ref at, end, out ulong* entries, out int count, out int level))
        {
            using (PageTableLock.Enter(task))
            {
                if (PageTables.WasSplit(*entries, level))
                    continue;
                if (level > 0)
                {
                    ulong boundary = PageTables.NextBoundary(at, end, level);
                    PagemapEntry leaf = PageTables.IsLeaf(*entries) ? DescribeLeaf(*entries) : default;
                    foreach (ref PagemapEntry entry in result[Position(address, at)..Position(address, boundary)])
                        entry |= leaf;
                    at = boundary;
                    continue;
                }
                for (int i = 0; i < count; i++)
                    result[Position(address, at) + i] |= Describe(Volatile.Read(ref entries[i]));
            }
            at += (ulong)count << Pfn.Shift;
        }
    }

    private static int Position(ulong address, ulong at) => (int)((at - address) >> Pfn.Shift);

    private PagemapEntry DescribeLeaf(ulong leaf)
    {
        Pfn head = PageTables.FrameOf(leaf);
        return PagemapEntry.Present | KindOf(head) | SoftDirtyOf(leaf) | (Pages.EntireMapCount(head) == 1 ? PagemapEntry.Exclusive : 0);
    }

    private PagemapEntry Describe(ulong entry)
    {
        if (PageTables.IsMapped(entry))
        {
            Pfn frame = PageTables.FrameOf(entry);
            if (PageTables.IsSpecial(entry))
                return PagemapEntry.Present | SoftDirtyOf(entry);
            bool exclusive = frame != Pages.Zero && Volatile.Read(ref Pages[frame].MapCount) == 1;
            return PagemapEntry.Present | KindOf(frame) | SoftDirtyOf(entry) | (exclusive ? PagemapEntry.Exclusive : 0);
        }
        if (!SwapEntry.TryDecode(entry, out SwapEntry swap) || swap.Kind == SwapKind.Marker)
            return default;
        // The bit is not kept over a stay in the swap area; to call a page written that was not costs a tool one copy.
        return PagemapEntry.Swapped | PagemapEntry.SoftDirty | (swap.HasFrame ? KindOf(swap.Frame) : 0);
    }

    private static PagemapEntry SoftDirtyOf(ulong entry) => (entry & (ulong)SoftDirtyBit) != 0 ? PagemapEntry.SoftDirty : 0;

    private PagemapEntry KindOf(Pfn frame) =>
        (Pages[frame].Flags & PageFlags.Anon) == 0 && frame != Pages.Zero ? PagemapEntry.File : 0;
}
