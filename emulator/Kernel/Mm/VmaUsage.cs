using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>What of a VMA is present, in bytes (fs/proc/task_mmu.c, struct mem_size_stats).</summary>
public struct VmaUsage
{
    /// <summary>Fractional bits of the proportional figures (PSS_SHIFT).</summary>
    private const int Fraction = 12;

    private ulong _proportional, _proportionalDirty, _proportionalAnon, _proportionalShmem, _swapProportional;

    public ulong Resident { get; private set; }
    public ulong SharedClean { get; private set; }
    public ulong SharedDirty { get; private set; }
    public ulong PrivateClean { get; private set; }
    public ulong PrivateDirty { get; private set; }
    public ulong Referenced { get; private set; }
    public ulong Anonymous { get; private set; }
    public ulong LazyFree { get; private set; }
    public ulong AnonHuge { get; private set; }
    public ulong SharedHugeTlb { get; private set; }
    public ulong PrivateHugeTlb { get; private set; }
    public ulong Swapped { get; private set; }
    public ulong Locked { get; private set; }

    /// <summary>Each page's bytes divided by the number of its mappings (Pss), and parts of it.</summary>
    public readonly ulong Proportional => _proportional >> Fraction;
    public readonly ulong ProportionalDirty => _proportionalDirty >> Fraction;
    public readonly ulong ProportionalAnon => _proportionalAnon >> Fraction;
    public readonly ulong ProportionalShmem => _proportionalShmem >> Fraction;
    public readonly ulong ProportionalFile => (_proportional - _proportionalAnon - _proportionalShmem) >> Fraction;
    public readonly ulong SwapProportional => _swapProportional >> Fraction;

    /// <summary>smaps_account.</summary>
    internal void AddPage(PageFlags flags, int mappers, bool dirty, bool accessed, ulong bytes, bool huge, bool locked)
    {
        ulong share = (bytes << Fraction) / (ulong)Math.Max(1, mappers);
        Resident += bytes;
        _proportional += share;
        if (dirty)
            _proportionalDirty += share;
        if (locked)
            Locked += share >> Fraction;
        if (mappers > 1)
            _ = dirty ? SharedDirty += bytes : SharedClean += bytes;
        else
            _ = dirty ? PrivateDirty += bytes : PrivateClean += bytes;
        if (accessed)
            Referenced += bytes;
        if ((flags & PageFlags.Anon) != 0)
        {
            Anonymous += bytes;
            _proportionalAnon += share;
            if ((flags & PageFlags.LazyFree) != 0 && !dirty)
                LazyFree += bytes;
            if (huge)
                AnonHuge += bytes;
        }
        else if ((flags & PageFlags.SwapBacked) != 0)
        {
            _proportionalShmem += share;
        }
    }

    /// <summary>Pages of hugetlb are counted apart from all others (smaps_hugetlb_range).</summary>
    internal void AddHugeTlb(int mappers, ulong bytes) => _ = mappers > 1 ? SharedHugeTlb += bytes : PrivateHugeTlb += bytes;

    internal void AddSwapped(int users)
    {
        Swapped += Pfn.Size;
        _swapProportional += (Pfn.Size << Fraction) / (ulong)Math.Max(1, users);
    }

    /// <summary>Shared memory that is in the swap area belongs to its file, and is divided among nobody.</summary>
    internal void AddSwappedShmem() => Swapped += Pfn.Size;

    public void Add(in VmaUsage other)
    {
        _proportional += other._proportional;
        _proportionalDirty += other._proportionalDirty;
        _proportionalAnon += other._proportionalAnon;
        _proportionalShmem += other._proportionalShmem;
        _swapProportional += other._swapProportional;
        Resident += other.Resident;
        SharedClean += other.SharedClean;
        SharedDirty += other.SharedDirty;
        PrivateClean += other.PrivateClean;
        PrivateDirty += other.PrivateDirty;
        Referenced += other.Referenced;
        Anonymous += other.Anonymous;
        LazyFree += other.LazyFree;
        AnonHuge += other.AnonHuge;
        SharedHugeTlb += other.SharedHugeTlb;
        PrivateHugeTlb += other.PrivateHugeTlb;
        Swapped += other.Swapped;
        Locked += other.Locked;
    }
}

/// <summary>Figures for /proc/PID/smaps.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Counts a VMA's pages. The mmap lock is held.</summary>
    internal VmaUsage UsageOf(Task? task, Vma vma) => UsageOf(task, vma, vma.Start, vma.End);

    /// <summary>Counts the pages of a part of a VMA, [at, to).</summary>
    internal VmaUsage UsageOf(Task? task, Vma vma, ulong at, ulong to)
    {
        var usage = default(VmaUsage);
        if (vma.Cache is ShmemPageCache shmem)
            CountSwapped(vma, shmem, at, to, ref usage);
        while (Tables.NextRun(ref at, to, out ulong* entries, out int count, out int level))
        {
            using (PageTableLock.Enter(task))
            {
                if (PageTables.WasSplit(*entries, level))
                    continue;
                if (level > 0)
                {
                    ulong end = PageTables.NextBoundary(at, to, level);
                    if (PageTables.IsLeaf(*entries))
                        CountLeaf(vma, *entries, end - at, ref usage);
                    at = end;
                    continue;
                }
                for (int i = 0; i < count; i++)
                    CountEntry(vma, Volatile.Read(ref entries[i]), ref usage);
            }
            at += (ulong)count << Pfn.Shift;
        }
        return usage;
    }

    /// <summary>Pages of a file in the swap area, which no entry tells of; a private mapping has its own in the place of some (smap_gather_stats).</summary>
    private void CountSwapped(Vma vma, ShmemPageCache shmem, ulong start, ulong end, ref VmaUsage usage)
    {
        bool copies = (vma.Flags & (VmFlags.Shared | VmFlags.Write)) == VmFlags.Write;
        ulong index = vma.IndexOf(start), behind = index + ((end - start) >> Pfn.Shift);
        for (; shmem.TryGetNextSwapped(ref index) && index < behind; index++)
        {
            ulong* entry = copies ? Tables.Find(vma.Start + ((index - vma.PageOffset) << Pfn.Shift)) : null;
            if (entry is null || Volatile.Read(ref *entry) == 0)
                usage.AddSwappedShmem();
        }
    }

    private void CountLeaf(Vma vma, ulong leaf, ulong bytes, ref VmaUsage usage)
    {
        Pfn head = PageTables.FrameOf(leaf);
        if ((Pages[head].Flags & PageFlags.HugeTlb) != 0)
            usage.AddHugeTlb(Pages.EntireMapCount(head), bytes);
        else
            CountPage(vma, head, leaf, Pages.EntireMapCount(head), bytes, ref usage);
    }

    private void CountEntry(Vma vma, ulong entry, ref VmaUsage usage)
    {
        if (PageTables.IsMapped(entry))
        {
            Pfn frame = PageTables.FrameOf(entry);
            if (frame == Pages.Zero || PageTables.IsSpecial(entry))
                return;
            int mappers = Volatile.Read(ref Pages[frame].MapCount);
            if ((Pages[frame].Flags & (PageFlags.Head | PageFlags.Tail)) != 0)
                mappers += Pages.EntireMapCount(Pages.HeadOf(frame));
            CountPage(vma, frame, entry, mappers, Pfn.Size, ref usage);
        }
        else if (SwapEntry.TryDecode(entry, out SwapEntry swap))
        {
            if (swap.Kind == SwapKind.Swap)
                usage.AddSwapped((int)_system.Swap.CountOf(swap.Offset));
            else if (swap.HasFrame)
                CountPage(vma, swap.Frame, 0, Pages[swap.Frame].MapCount, Pfn.Size, ref usage);
        }
    }

    private void CountPage(Vma vma, Pfn frame, ulong entry, int mappers, ulong bytes, ref VmaUsage usage)
    {
        PageFlags flags = Pages[frame].Flags;
        usage.AddPage(flags, mappers, (entry & (ulong)Pte.Dirty) != 0 || (flags & PageFlags.Dirty) != 0,
            (entry & (ulong)Pte.Accessed) != 0 || (flags & PageFlags.Referenced) != 0, bytes, bytes > Pfn.Size, (vma.Flags & VmFlags.Locked) != 0);
    }
}
