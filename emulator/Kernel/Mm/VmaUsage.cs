using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>What of a VMA is present, in bytes (fs/proc/task_mmu.c, struct mem_size_stats).</summary>
public record struct VmaUsage(
    ulong Resident, ulong Proportional, ulong SharedClean, ulong SharedDirty, ulong PrivateClean, ulong PrivateDirty, ulong Referenced, ulong Anonymous)
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
        while (Tables.NextRun(ref at, vma.End, out ulong* entries, out int count))
        {
            using (PageTableLock.Enter(task))
            {
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

    private void CountPage(ulong entry, ref VmaUsage usage)
    {
        ref Page page = ref Pages[PageTables.FrameOf(entry)];
        ulong mappers = (ulong)Math.Max(1, Volatile.Read(ref page.MapCount));
        bool dirty = (entry & (ulong)Pte.Dirty) != 0 || (page.Flags & PageFlags.Dirty) != 0;
        usage.Resident += 4096;
        usage.Proportional += 4096 / mappers;
        if (mappers > 1)
            _ = dirty ? usage.SharedDirty += 4096 : usage.SharedClean += 4096;
        else
            _ = dirty ? usage.PrivateDirty += 4096 : usage.PrivateClean += 4096;
        if ((entry & (ulong)Pte.Accessed) != 0)
            usage.Referenced += 4096;
        if ((page.Flags & PageFlags.Anon) != 0)
            usage.Anonymous += 4096;
    }
}
