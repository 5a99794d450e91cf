using Emulator.Kernel.Files;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>VMAs come, go, merge and split. All of it under the mmap lock, held for writing.</summary>
public sealed partial class Mm
{
    /// <summary>What a new mapping shows.</summary>
    internal readonly record struct Backing(OpenFile? File, PageCache? Cache, ulong PageOffset, string? Name = null, IMappingObserver? Observer = null, MemoryPolicy? Policy = null);

    /// <summary>Whether a neighbour is of the same kind. Segments of System V count their mappings, so theirs never join.</summary>
    private static bool CanMerge(Vma vma, VmFlags flags, in Backing backing) =>
        (flags & VmFlags.DontExpand) == 0 && ((vma.Flags ^ flags) & ~VmFlags.SoftDirty) == 0 && vma.File == backing.File && vma.Cache == backing.Cache && vma.Name == backing.Name
        && vma.Policy == backing.Policy && vma.Observer is null && backing.Observer is null;

    /// <summary>Enters [start, end), which must be free, as part of a neighbour where that is the same kind (mm/vma.c:vma_merge).</summary>
    /// <param name="source">The VMA whose pages will move here (copy_vma).</param>
    private Vma AddVma(Task? task, ulong start, ulong end, VmFlags flags, in Backing backing, Vma? source = null)
    {
        MeetLooseLinks(task, start, end, (backing.File as ISharedRegion)?.Tables);
        Vma? previous = Vmas.FindStartingBefore(start), next = Vmas.FindEndingAfter(end);
        bool joinsPrevious = previous is not null && previous.End == start && CanMerge(previous, flags, backing)
            && FollowsOn(previous, backing.PageOffset) && CanMergeAnon(source?.AnonVma, previous.AnonVma, previous);
        bool joinsNext = next is not null && next.Start == end && CanMerge(next, flags, backing)
            && next.PageOffset == backing.PageOffset + ((end - start) >> 12) && CanMergeAnon(source?.AnonVma, next.AnonVma, next);
        Account(flags, (end - start) >> 12, add: true);
        if (source is null)
            flags |= VmFlags.SoftDirty;
        if (joinsPrevious)
        {
            previous!.Flags |= flags & VmFlags.SoftDirty;
            if (joinsNext && CanMergeAnon(previous!.AnonVma, next!.AnonVma, null))
                Join(task, previous, next);
            else
                Resize(task, previous!, previous!.Start, end, previous.PageOffset);
            return previous;
        }
        if (joinsNext)
        {
            next!.Flags |= flags & VmFlags.SoftDirty;
            Resize(task, next, start, next!.End, backing.PageOffset);
            return next;
        }
        var vma = new Vma(this, start, end, flags)
        {
            PageOffset = backing.PageOffset,
            File = backing.File?.Get(),
            Cache = backing.Cache,
            Name = backing.Name,
            Observer = backing.Observer,
            Policy = backing.Policy,
            AnonVma = source?.AnonVma,
        };
        if (source is not null)
            CloneAnonVmas(task, vma, source);
        Vmas.Insert(vma);
        Open(vma);
        LinkToFile(task, vma);
        return vma;
    }

    private static bool FollowsOn(Vma previous, ulong pageOffset) => previous.PageOffset + previous.Pages == pageOffset;

    /// <summary>Joins a VMA with its neighbours after its flags changed; returns the one that covers it now.</summary>
    private Vma Rejoin(Task? task, Vma vma)
    {
        Vma? previous = Vmas.Previous(vma), next = Vmas.Next(vma);
        bool joinsPrevious = previous is not null && previous.End == vma.Start && IsSameKind(previous, vma)
            && CanMergeAnon(vma.AnonVma, previous.AnonVma, previous);
        bool joinsNext = next is not null && next.Start == vma.End && IsSameKind(vma, next)
            && CanMergeAnon(vma.AnonVma, next.AnonVma, next);
        bool joinsBoth = joinsPrevious && joinsNext && CanMergeAnon(previous!.AnonVma, next!.AnonVma, null);
        if (joinsPrevious)
            vma = Join(task, previous!, vma);
        return joinsNext && (joinsBoth || !joinsPrevious) ? Join(task, vma, next!) : vma;
    }

    private static bool IsSameKind(Vma low, Vma high) =>
        CanMerge(low, high.Flags, new Backing(high.File, high.Cache, high.PageOffset, high.Name, high.Observer, high.Policy))
        && FollowsOn(low, high.PageOffset);

    /// <summary>Extends a VMA over another one behind it, which goes; the first takes over where its pages are looked for (dup_anon_vma).</summary>
    private Vma Join(Task? task, Vma low, Vma high)
    {
        using (new RmapScope(task, low, high))
        {
            ulong end = high.End;
            low.Flags |= high.Flags & VmFlags.SoftDirty;
            Vmas.Remove(high);
            high.Cache?.Mappings.Remove(high);
            if (low.AnonVma is null && high.AnonVma is not null)
            {
                low.AnonVma = high.AnonVma;
                CloneChains(low, high);
            }
            UnlinkChains(high);
            Vmas.Resize(low, low.Start, end);
        }
        Close(high);
        return low;
    }

    /// <summary>
    /// Splits a VMA in two at an address inside it (__split_vma): 0, -ENOMEM when there are too many, -EINVAL inside a page of hugetlb.
    /// </summary>
    private long Split(Task? task, Vma vma, ulong address, out Vma upper)
    {
        upper = vma;
        // Tables are linked as a whole (may_split).
        if (vma.IsContainer)
            return -Errno.EINVAL;
        if (Vmas.Count >= Layout.MaxMapCount || !_system.KernelMemory.HasRoom)
            return -Errno.ENOMEM;
        if ((address & (PageSizeOf(vma) - 1)) != 0)
            return -Errno.EINVAL;
        if ((address & HugeMask) != 0)
            SplitHuge(task, address);
        upper = new Vma(this, address, vma.End, vma.Flags)
        {
            PageOffset = vma.IndexOf(address),
            File = vma.File?.Get(),
            Cache = vma.Cache,
            Name = vma.Name,
            Observer = vma.Observer,
            Policy = vma.Policy,
            AnonVma = vma.AnonVma,
            HugeTlbReservation = vma.HugeTlbReservation,
            LostHugeTlbPage = vma.LostHugeTlbPage,
        };
        using (new RmapScope(task, vma))
        {
            CloneChains(upper, vma);
            Vmas.Resize(vma, vma.Start, address);
            Vmas.Insert(upper);
            upper.Cache?.Mappings.Add(upper);
        }
        Open(upper);
        return 0;
    }

    /// <summary>Cuts VMAs at both ends of a range so that it consists of whole ones; 0 or as <see cref="Split"/>.</summary>
    private long SplitAt(Task? task, ulong start, ulong end)
    {
        long error = Vmas.Find(start) is { } first && first.Start < start ? Split(task, first, start, out _) : 0;
        return error == 0 && Vmas.Find(end) is { } last && last.Start < end ? Split(task, last, end, out _) : error;
    }

    /// <summary>Moves a VMA's bounds. Reverse maps look at them under their locks, so they change under those.</summary>
    private void Resize(Task? task, Vma vma, ulong start, ulong end, ulong pageOffset)
    {
        using (new RmapScope(task, vma))
        {
            vma.PageOffset = pageOffset;
            Vmas.Resize(vma, start, end);
        }
    }

    private static void LinkToFile(Task? task, Vma vma)
    {
        if (vma.Cache is not { } cache)
            return;
        using (cache.MappingsLock.EnterWrite(task))
            cache.Mappings.Add(vma);
    }

    /// <summary>No reverse map leads to the VMA from now on; its tables may go.</summary>
    private void UnlinkRmap(Task? task, Vma vma)
    {
        UnlinkAnonVmas(task, vma);
        if (vma.Cache is not { } cache)
            return;
        using (cache.MappingsLock.EnterWrite(task))
            cache.Mappings.Remove(vma);
    }

    /// <summary>Whether the mapping counts as one that may write to the file (mapping_map_writable).</summary>
    private static bool MayWriteFile(Vma vma) => (vma.Flags & (VmFlags.Shared | VmFlags.MayWrite)) == (VmFlags.Shared | VmFlags.MayWrite);

    /// <summary>Counts a new VMA with what it maps; its file reference is taken already.</summary>
    private static void Open(Vma vma)
    {
        if (vma.Cache is { } cache)
        {
            cache.GetUser();
            if (MayWriteFile(vma))
                cache.CountWritableMapping(1);
        }
        if ((vma.Flags & VmFlags.HugeTlb) != 0)
            OpenHugeTlb(vma);
        vma.Observer?.Opened(vma);
    }

    /// <summary>Gives up what a VMA holds, after it has left tree and file list and its pages are unmapped.</summary>
    private static void Close(Vma vma)
    {
        vma.Observer?.Closed(vma);
        if ((vma.Flags & VmFlags.HugeTlb) != 0)
            CloseHugeTlb(vma);
        if (vma.Cache is { } cache)
        {
            if (MayWriteFile(vma))
            {
                if (cache.NeedsWriteBack)
                    cache.WriteBack(vma.PageOffset, vma.PageOffset + vma.Pages - 1);
                cache.CountWritableMapping(-1);
            }
            cache.PutUser();
        }
        vma.File?.Put();
    }

    /// <summary>Copies the VMAs as they are now, for /proc and tests.</summary>
    public IReadOnlyList<Vma> SnapshotVmas()
    {
        var list = new List<Vma>(Vmas.Count);
        for (Vma? vma = Vmas.First; vma is not null; vma = Vmas.Next(vma))
            list.Add(vma);
        return list;
    }
}
