using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>What of a VMA is present, in bytes (fs/proc/task_mmu.c, struct mem_size_stats).</summary>
public record struct VmaUsage(
    ulong Resident, ulong Proportional, ulong SharedClean, ulong SharedDirty, ulong PrivateClean, ulong PrivateDirty, ulong Referenced, ulong Anonymous,
    ulong AnonHuge)
{
    public void Add(in VmaUsage other)
    {
        Resident += other.Resident;
        Proportional += other.Proportional;
        SharedClean += other.SharedClean;
        SharedDirty += other.SharedDirty;
        PrivateClean += other.PrivateClean;
        PrivateDirty += other.PrivateDirty;
        Referenced += other.Referenced;
        Anonymous += other.Anonymous;
        AnonHuge += other.AnonHuge;
    }
}

/// <summary>Figures for /proc.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Counts a VMA's present pages. The mmap lock is held.</summary>
    internal VmaUsage UsageOf(Task? task, Vma vma)
    {
        var usage = default(VmaUsage);
        ulong at = vma.Start;
        while (Tables.NextRun(ref at, vma.End, out ulong* entries, out int count, out int level))
        {
            using (PageTableLock.Enter(task))
            {
                if (level > 0)
                {
                    ulong end = PageTables.NextBoundary(at, vma.End, level);
                    if (PageTables.IsLeaf(*entries))
                        CountLeaf(*entries, end - at, ref usage);
                    at = end;
                    continue;
                }
                for (int i = 0; i < count; i++)
                {
                    if (PageTables.IsMapped(entries[i]) && PageTables.FrameOf(entries[i]) != Pages.Zero)
                        CountPage(entries[i], ref usage);
                }
            }
            at += (ulong)count << 12;
        }
        return usage;
    }

    private void CountLeaf(ulong leaf, ulong bytes, ref VmaUsage usage)
    {
        Pfn head = PageTables.FrameOf(leaf);
        CountPage(leaf, Pages.EntireMapCount(head), bytes, ref usage);
        usage.AnonHuge += bytes;
    }

    private void CountPage(ulong entry, ref VmaUsage usage)
    {
        Pfn frame = PageTables.FrameOf(entry);
        ref Page page = ref Pages[frame];
        int mappers = Volatile.Read(ref page.MapCount);
        if ((page.Flags & (PageFlags.Head | PageFlags.Tail)) != 0)
            mappers += Pages.EntireMapCount(Pages.HeadOf(frame));
        CountPage(entry, mappers, Pfn.Size, ref usage);
    }

    private void CountPage(ulong entry, int mappers, ulong bytes, ref VmaUsage usage)
    {
        ref Page page = ref Pages[PageTables.FrameOf(entry)];
        bool dirty = (entry & (ulong)Pte.Dirty) != 0 || (page.Flags & PageFlags.Dirty) != 0;
        usage.Resident += bytes;
        usage.Proportional += bytes / (ulong)Math.Max(1, mappers);
        if (mappers > 1)
            _ = dirty ? usage.SharedDirty += bytes : usage.SharedClean += bytes;
        else
            _ = dirty ? usage.PrivateDirty += bytes : usage.PrivateClean += bytes;
        if ((entry & (ulong)Pte.Accessed) != 0)
            usage.Referenced += bytes;
        if ((page.Flags & PageFlags.Anon) != 0)
            usage.Anonymous += bytes;
    }
}
