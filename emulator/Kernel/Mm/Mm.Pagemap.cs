using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What /proc/PID/pagemap says of a page (fs/proc/task_mmu.c, PM_*; bits 0 to 54 are the frame or swap slot).</summary>
[Flags]
public enum PagemapEntry : ulong
{
    None = 0,
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
        ulong at = address, end = address + ((ulong)result.Length << Pfn.Shift);
        using var scope = MmapLock.EnterRead(task);
        while (Tables.NextRun(ref at, end, out ulong* entries, out int count, out int level))
        {
            using (PageTableLock.Enter(task))
            {
                if (level > 0)
                {
                    ulong boundary = PageTables.NextBoundary(at, end, level);
                    PagemapEntry leaf = PageTables.IsLeaf(*entries) ? DescribeLeaf(*entries) : default;
                    result[(int)((at - address) >> Pfn.Shift)..(int)((boundary - address) >> Pfn.Shift)].Fill(leaf);
                    at = boundary;
                    continue;
                }
                for (int i = 0; i < count; i++)
                    result[(int)((at - address) >> Pfn.Shift) + i] = Describe(Volatile.Read(ref entries[i]));
            }
            at += (ulong)count << Pfn.Shift;
        }
    }

    private PagemapEntry DescribeLeaf(ulong leaf)
    {
        Pfn head = PageTables.FrameOf(leaf);
        return PagemapEntry.Present | KindOf(head) | (Pages.EntireMapCount(head) == 1 ? PagemapEntry.Exclusive : 0);
    }

    private PagemapEntry Describe(ulong entry)
    {
        if (PageTables.IsMapped(entry))
        {
            Pfn frame = PageTables.FrameOf(entry);
            bool exclusive = frame != Pages.Zero && Volatile.Read(ref Pages[frame].MapCount) == 1;
            return PagemapEntry.Present | KindOf(frame) | (exclusive ? PagemapEntry.Exclusive : 0);
        }
        if (!SwapEntry.TryDecode(entry, out SwapEntry swap) || swap.Kind == SwapKind.Marker)
            return default;
        return PagemapEntry.Swapped | (swap.HasFrame ? KindOf(swap.Frame) : 0);
    }

    private PagemapEntry KindOf(Pfn frame) =>
        (Pages[frame].Flags & PageFlags.Anon) == 0 && frame != Pages.Zero ? PagemapEntry.File : 0;
}
