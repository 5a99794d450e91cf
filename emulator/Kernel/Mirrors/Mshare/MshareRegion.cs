using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Mirrors.Mshare;

/// <summary>
/// A region: a host address space, and where in it things may be mapped. What is checked, in which order and with which errors is the ABI; the
/// corrections name the review messages in ARCHITECTURE.md.
/// </summary>
internal sealed class MshareRegion(SharedTables tables, MshareVariant variant)
{
    /// <summary>What addresses and sizes are multiples of: what one top-level entry translates (PGDIR_SIZE).</summary>
    public const ulong Unit = Mm.TopSize;

    private readonly Lock _lock = new();
    private MshareInfo _info;
    private bool _isSet;

    public SharedTables Tables => tables;

    public MshareVariant Variant => variant;

    private bool IsCorrected => variant == MshareVariant.Corrected;

    /// <summary>Zeroes before it is set.</summary>
    public MshareInfo Info
    {
        get
        {
            lock (_lock)
                return _info;
        }
    }

    private bool TryGetBounds(out ulong start, out ulong end)
    {
        lock (_lock)
        {
            (start, end) = (_info.Start, _info.Start + _info.Size);
            // The patches take a start of 0 for a region that is not set yet.
            return IsCorrected ? _isSet : start != 0;
        }
    }

    /// <summary>MSHAREFS_SET_SIZE.</summary>
    public long SetSize(MshareInfo info)
    {
        lock (_lock)
        {
            if (IsCorrected ? _isSet : _info.Start != 0)
                return -Errno.EINVAL;
            if (((info.Start | (info.Start + info.Size)) & (Unit - 1)) != 0)
                return -Errno.EINVAL;
            if (!IsCorrected && info.Size == 0)
                info = info with { Size = ulong.MaxValue };
            if (IsCorrected && (info.Size == 0 || info.Start + info.Size < info.Start || info.Start + info.Size > Layout.TaskSize))
                return -Errno.EINVAL;
            _info = info;
            _isSet = true;
            return 0;
        }
    }

    /// <summary>MSHAREFS_CREATE_MAPPING.</summary>
    public long CreateMapping(Task task, in MshareCreate create)
    {
        if (!TryGetBounds(out ulong start, out ulong end))
            return -Errno.EINVAL;
        if (!IsInside(create.Address, create.Size, start, end))
            return -Errno.EINVAL;
        int flags = (int)create.Flags;
        if ((flags & (MAP_SHARED | MAP_FIXED)) != (MAP_SHARED | MAP_FIXED))
            return -Errno.EINVAL;
        if (create.Fd == uint.MaxValue)
            return Map(task, create, flags & ~MAP_HUGETLB, null);
        if (!IsCorrected)
            return -Errno.EINVAL;
        if ((create.Offset & 0xFFF) != 0)
            return -Errno.EINVAL;
        using FileReference reference = task.Files.GetForIo((int)create.Fd);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        // Memory only: no region inside a region, since a host never shares, no huge pages, and no file that wants to be written back.
        return file.Mapping is ShmemPageCache && (flags & MAP_HUGETLB) == 0 ? Map(task, create, flags, file) : -Errno.EINVAL;
    }

    private long Map(Task task, in MshareCreate create, int flags, OpenFile? file)
    {
        if (!IsCorrected)
            flags &= ~MAP_POPULATE;
        // A region is sparse, as the example of the patches shows: it maps a TiB to write a line of text.
        flags |= MAP_FIXED_NOREPLACE | MAP_NORESERVE;
        long result = tables.Host.Mmap(task, create.Address, create.Size, (int)create.Prot, flags, file, file is null ? 0 : create.Offset >> 12);
        return Math.Min(result, 0);
    }

    /// <summary>MSHAREFS_X_UNMAP.</summary>
    public long Unmap(Task task, in MshareUnmap unmap)
    {
        if (!TryGetBounds(out ulong start, out ulong end) || !IsInside(unmap.Address, unmap.Size, start, end))
            return -Errno.EINVAL;
        return tables.Host.Munmap(task, unmap.Address, unmap.Size);
    }

    /// <summary>MSHAREFS_X_PROTECT.</summary>
    public long Protect(Task task, in MshareProtect protect)
    {
        if (!TryGetBounds(out ulong start, out ulong end) || !IsInside(protect.Address, protect.Size, start, end) || protect.Padding != 0)
            return -Errno.EINVAL;
        return tables.Host.Mprotect(task, protect.Address, protect.Size, (int)Math.Min(protect.Prot, int.MaxValue));
    }

    /// <summary>The patches let the sum wrap; mmap then finds the length too long.</summary>
    private bool IsInside(ulong address, ulong size, ulong start, ulong end) =>
        address >= start && address < end && (IsCorrected ? size <= end - address : address + size <= end);

    /// <inheritdoc cref="ISharedRegion.CheckContainer"/>
    public long CheckContainer(ulong address, ulong length, ulong offset, int mapFlags, out ulong hostAddress)
    {
        hostAddress = 0;
        if (!TryGetBounds(out ulong start, out ulong end))
            return -Errno.EINVAL;
        // The patches want a container inside the region's own addresses, and then show the region's beginning in it, whatever part that is.
        hostAddress = !IsCorrected ? start : offset == 0 ? address : offset;
        ulong inside = IsCorrected ? hostAddress : address;
        if (((address | inside | (address + length)) & (Unit - 1)) != 0 || inside < start || inside >= end || length > end - inside)
            return -Errno.EINVAL;
        return IsCorrected && (mapFlags & MAP_TYPE) == MAP_PRIVATE ? -Errno.EINVAL : 0;
    }

    /// <inheritdoc cref="ISharedRegion.TryChoosePlace"/>
    public bool TryChoosePlace(ulong hint, ulong offset, out ulong address)
    {
        bool isSet = TryGetBounds(out ulong start, out _);
        address = hint != 0 ? hint : offset != 0 ? offset : start;
        return isSet && IsCorrected && (address & (Unit - 1)) == 0;
    }
}
