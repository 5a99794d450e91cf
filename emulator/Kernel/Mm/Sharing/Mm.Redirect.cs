using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Memory;

/// <summary>
/// What others ask of a container is answered by the host, under the host's locks: the sharer's own tables end at the link, and the
/// page-table lock that guards what is below is the host's.
/// </summary>
public sealed unsafe partial class Mm
{
    /// <summary>A mapping of the host inside a container, as it appears there.</summary>
    /// <param name="Vma">The host's mapping.</param>
    /// <param name="Start">Where it begins in the container, or where the container does.</param>
    /// <param name="End">Where it ends in the container, or where the container does.</param>
    internal readonly record struct SharedVma(Vma Vma, ulong Start, ulong End)
    {
        /// <summary>The host's address of the first byte.</summary>
        public ulong HostStart { get; init; }

        public ulong HostEnd => HostStart + (End - Start);
    }

    /// <summary>The next mapping of the host in a part of a container; the host's mmap lock is held.</summary>
    internal static bool NextShared(Vma container, ulong start, ulong end, out SharedVma shared)
    {
        ulong hostStart = container.IndexOf(start) << Pfn.Shift, hostEnd = hostStart + (end - start);
        shared = default;
        if (start >= end || container.Shares!.Host.Vmas.FindIntersection(hostStart, hostEnd) is not { } vma)
            return false;
        ulong from = Math.Max(vma.Start, hostStart), to = Math.Min(vma.End, hostEnd);
        shared = new SharedVma(vma, start + (from - hostStart), start + (to - hostStart)) { HostStart = from };
        return true;
    }

    /// <summary><see cref="TakePagesLocked"/> in a container, which allows what is wanted: up to its end.</summary>
    private int TakeSharedPages(Task? task, Vma container, ulong address, FollFlags flags, Span<Pfn> pages, bool pin)
    {
        ulong most = (container.End - address) >> Pfn.Shift;
        if (most < (ulong)pages.Length)
            pages = pages[..(int)most];
        int taken;
        do
        {
            using var host = new HostScope(task, container, address);
            taken = host.Mm.TakePagesLocked(task, host.Address, flags, pages, pin);
        }
        while (taken == -Errno.ENOMEM && MakeRoom(task));
        return taken;
    }

    /// <summary>What a shared futex at an address is known by: the object mapped there, and the offset in it; null for private memory.</summary>
    internal (object Object, ulong Offset)? SharedObjectAt(Task task, ulong address)
    {
        using var scope = MmapLock.EnterRead(task);
        if (Vmas.Find(address) is not { IsContainer: true } container)
            return ObjectOf(Vmas.Find(address), address);
        using var host = new HostScope(task, container, address);
        return ObjectOf(host.Vma, host.Address);
    }

    private static (object Object, ulong Offset)? ObjectOf(Vma? vma, ulong address) =>
        vma is { IsShared: true, Cache: { } cache } ? (cache, (vma.PageOffset << Pfn.Shift) + (address - vma.Start)) : null;

    /// <summary>mincore of a page in a container; false: the host maps nothing there.</summary>
    private static bool TryIsInCore(Task? task, Vma container, ulong address, out bool inCore)
    {
        using var host = new HostScope(task, container, address);
        inCore = host.Vma is { } vma && host.Mm.IsInCore(vma, host.Address);
        return host.Vma is not null;
    }

    /// <summary>The containers' part of <see cref="DescribePages"/>.</summary>
    private static void DescribeShared(Task task, Vma container, ulong start, ulong end, ulong address, Span<PagemapEntry> result)
    {
        using var host = new HostScope(task, container, start);
        host.Mm.DescribeLocked(task, host.Address, result[Position(address, start)..Position(address, end)]);
    }

    /// <summary>madvise in a container. What only says how the container is to be treated is the container's own; what is about pages is the host's.</summary>
    private long AdviseContainer(Task? task, ref Vma container, ulong start, ulong end, int advice)
    {
        switch (advice)
        {
            case MADV_DONTNEED or MADV_DONTNEED_LOCKED or MADV_COLD or MADV_PAGEOUT:
                // The patches of RFC v3 pass over containers when pages are unmapped, and say nothing.
                return container.Shares!.IsLeaky ? 0 : AdviseHost(task, container, start, end, advice);
            case MADV_WILLNEED:
                return 0;
            case MADV_DONTFORK or MADV_DOFORK or MADV_DONTDUMP or MADV_DODUMP or MADV_NORMAL or MADV_RANDOM or MADV_SEQUENTIAL:
                return ChangeFlags(task, ref container, start, end, AdvisedFlags(container.Flags, advice));
            default:
                // Merging, huge pages and the like have no meaning for tables that others use as well.
                return -Errno.EINVAL;
        }
    }

    private static VmFlags AdvisedFlags(VmFlags flags, int advice) => advice switch
    {
        MADV_DONTFORK => flags | VmFlags.DontCopy,
        MADV_DOFORK => flags & ~VmFlags.DontCopy,
        MADV_DONTDUMP => flags | VmFlags.DontDump,
        MADV_DODUMP => flags & ~VmFlags.DontDump,
        MADV_RANDOM => (flags & ~VmFlags.SequentialRead) | VmFlags.RandomRead,
        MADV_SEQUENTIAL => (flags & ~VmFlags.RandomRead) | VmFlags.SequentialRead,
        _ => flags & ~(VmFlags.RandomRead | VmFlags.SequentialRead),
    };

    /// <summary>Passes advice on to what the host maps in a part of a container. The contents stay, so any sharer may give it.</summary>
    private static long AdviseHost(Task? task, Vma container, ulong start, ulong end, int advice)
    {
        using var host = new HostScope(task, container, start);
        for (ulong at = start; NextShared(container, at, end, out SharedVma shared); at = shared.End)
        {
            Vma vma = shared.Vma;
            long error = host.Mm.Advise(task, ref vma, shared.HostStart, shared.HostEnd, advice);
            if (error < 0)
                return error;
        }
        return 0;
    }
}
