namespace Emulator.Kernel.Memory;

/// <summary>What a page-table entry that maps nothing stands for (include/linux/swapops.h).</summary>
public enum SwapKind : byte
{
    /// <summary>The page is in the swap area; <see cref="SwapEntry.Offset"/> is its slot.</summary>
    Swap = 1,
    /// <summary>The page is being moved to another frame; whoever needs it waits. <see cref="SwapEntry.Offset"/> is the old frame.</summary>
    MigrationRead,
    MigrationWrite,
    /// <summary>The page is in a device's own memory.</summary>
    DevicePrivateRead,
    DevicePrivateWrite,
    /// <summary>A device has the page for itself for atomic operations; the frame keeps its place in system memory.</summary>
    DeviceExclusiveRead,
    DeviceExclusiveWrite,
    /// <summary>No page, but a note for the fault handler.</summary>
    Marker,
}

/// <summary>
/// An entry that is neither empty nor mapped (Linux's <c>swp_entry_t</c>). In the entry: bits 1 to 4 the kind, 5 exclusive, 6 young,
/// 7 dirty, 12 and up the offset; bits 0 and 8 stay clear, since they would make it mapped.
/// </summary>
/// <param name="Kind">What it stands for.</param>
/// <param name="Offset">A swap slot or a frame number.</param>
/// <param name="Exclusive">The anonymous page was exclusive (pte_swp_exclusive, SWP_MIGRATION_READ_EXCLUSIVE).</param>
/// <param name="Young">The entry was accessed before it was replaced (migration entries only).</param>
/// <param name="Dirty">The entry was dirty before it was replaced (migration entries only).</param>
public readonly record struct SwapEntry(SwapKind Kind, ulong Offset, bool Exclusive = false, bool Young = false, bool Dirty = false)
{
    private const int KindShift = 1, OffsetShift = 12;
    private const ulong KindMask = 0xF, ExclusiveBit = 1 << 5, YoungBit = 1 << 6, DirtyBit = 1 << 7;

    public bool IsMigration => Kind is SwapKind.MigrationRead or SwapKind.MigrationWrite;

    public bool IsDevicePrivate => Kind is SwapKind.DevicePrivateRead or SwapKind.DevicePrivateWrite;

    public bool IsDeviceExclusive => Kind is SwapKind.DeviceExclusiveRead or SwapKind.DeviceExclusiveWrite;

    public bool IsWritable => Kind is SwapKind.MigrationWrite or SwapKind.DevicePrivateWrite or SwapKind.DeviceExclusiveWrite;

    /// <summary>Whether <see cref="Offset"/> is a frame (is_pfn_swap_entry).</summary>
    public bool HasFrame => Kind is >= SwapKind.MigrationRead and <= SwapKind.DeviceExclusiveWrite;

    public Hardware.Memory.Pfn Frame => new(Offset);

    /// <summary>The same entry without write permission, as fork and mprotect leave it (make_readable_*_entry).</summary>
    public SwapEntry ToReadOnly(bool exclusive) => this with
    {
        Kind = Kind switch
        {
            SwapKind.MigrationWrite => SwapKind.MigrationRead,
            SwapKind.DevicePrivateWrite => SwapKind.DevicePrivateRead,
            SwapKind.DeviceExclusiveWrite => SwapKind.DeviceExclusiveRead,
            _ => Kind,
        },
        Exclusive = exclusive,
    };

    public ulong Encode() =>
        (ulong)Kind << KindShift | Offset << OffsetShift | (Exclusive ? ExclusiveBit : 0) | (Young ? YoungBit : 0) | (Dirty ? DirtyBit : 0);

    /// <summary>False: the entry is empty or maps a page.</summary>
    public static bool TryDecode(ulong entry, out SwapEntry decoded)
    {
        if (entry == 0 || PageTables.IsMapped(entry))
        {
            decoded = default;
            return false;
        }
        decoded = new SwapEntry((SwapKind)(entry >> KindShift & KindMask), entry >> OffsetShift,
            (entry & ExclusiveBit) != 0, (entry & YoungBit) != 0, (entry & DirtyBit) != 0);
        return true;
    }
}
