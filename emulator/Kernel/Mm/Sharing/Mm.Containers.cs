using Emulator.Kernel.Files;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Memory;

/// <summary>Containers come and go: mappings of a shared region's file.</summary>
public sealed partial class Mm
{
    /// <summary>The part of mmap that is a container's own; the mmap lock is held for writing.</summary>
    private long MapContainer(Task? task, ulong address, ulong length, VmFlags vmFlags, int flags, OpenFile file, ISharedRegion region, ulong pageOffset, out bool populate)
    {
        populate = false;
        ulong offset = pageOffset << 12;
        long place = FindContainerPlace(address, length, flags, region, offset);
        if (place < 0)
            return place;
        long error = CheckAccess(file, flags, ref vmFlags);
        if (error == 0)
            error = region.CheckContainer((ulong)place, length, HintedOffset(address, (ulong)place, offset), flags, out address);
        if (error < 0)
            return error;
        ulong start = (ulong)place, end = start + length, hostAddress = address;
        if ((flags & MAP_FIXED_NOREPLACE) != 0 && Vmas.FindIntersection(start, end) is not null)
            return -Errno.EEXIST;
        vmFlags = (vmFlags & ~VmFlags.LockedMask) | VmFlags.Mshare | VmFlags.DontExpand | VmFlags.NoHugePage;
        if (!MayExpand(task, vmFlags, length >> 12) && !MayExpand(task, vmFlags, (length >> 12) - MappedPages(start, end)))
            return -Errno.ENOMEM;
        if (Vmas.FindIntersection(start, end) is not null && Unmap(task, start, end) is < 0 and var busy)
            return busy;
        Vma container = AddVma(task, start, end, vmFlags, new Backing(file, null, hostAddress >> 12));
        container.Shares = region.Tables;
        region.Tables.Attach(task, container);
        populate = (flags & (MAP_POPULATE | MAP_NONBLOCK)) == MAP_POPULATE && !region.Tables.IsLeaky;
        return place;
    }

    /// <summary>A hint says what is wanted even if it cannot be had: the part at that address, shown elsewhere.</summary>
    private static ulong HintedOffset(ulong hint, ulong place, ulong offset) => offset == 0 && hint != 0 && hint != place ? hint : offset;

    private long FindContainerPlace(ulong address, ulong length, int flags, ISharedRegion region, ulong offset)
    {
        if ((flags & MAP_FIXED) != 0 || !region.TryChoosePlace(address, offset, out ulong natural, out ulong alignment))
            return FindPlace(address, length, flags);
        if (length > Layout.TaskSize)
            return -Errno.ENOMEM;
        if (natural >= Layout.MinAddress && natural <= Layout.TaskSize - length && Vmas.FindIntersection(natural, natural + length) is null)
            return (long)natural;
        if (!Vmas.TryFindHighestGap(length + alignment, Layout.MinAddress, MmapBase, out ulong gap))
            return -Errno.ENOMEM;
        return (long)((gap + alignment - 1) & ~(alignment - 1));
    }

    /// <summary>Containers of a list are gone, with their links and after the flush.</summary>
    private static void DetachContainers(Task? task, List<Vma> vmas)
    {
        foreach (Vma vma in vmas)
            vma.Shares?.Detach(task, vma);
    }

    /// <summary><see cref="FaultInNext"/> in a container: the host's pages come in, and are linked.</summary>
    private FaultOutcome FaultInNextShared(Task? task, Vma container, ref ulong address, ulong end, FaultFlags flags)
    {
        FaultOutcome outcome;
        do
            outcome = TryFaultInNextShared(task, container, ref address, end, flags);
        while (outcome == FaultOutcome.OutOfMemory && MakeRoom(task));
        return outcome;
    }

    private FaultOutcome TryFaultInNextShared(Task? task, Vma container, ref ulong address, ulong end, FaultFlags flags)
    {
        using var host = new HostScope(task, container, address);
        if (host.Vma is not { } vma)
            return FaultOutcome.NotMapped;
        if (!Allows(vma, flags))
            return FaultOutcome.Forbidden;
        ulong at = host.Address;
        FaultOutcome outcome = host.Mm.FaultInNext(task, vma, ref at, at + (end - address), flags);
        if (outcome == FaultOutcome.Done && !container.Shares!.IsLeaky)
            Link(task, container, address, host);
        address += at - host.Address;
        return outcome;
    }
}
