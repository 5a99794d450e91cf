namespace Emulator.Kernel.Memory;

/// <summary>An open file whose mapping shows a host address space instead of pages of its own.</summary>
internal interface ISharedRegion
{
    /// <summary>The host address space and its sharers.</summary>
    SharedTables Tables { get; }

    /// <summary>Checks where a container is to be, and says what it shows.</summary>
    /// <param name="address">Where.</param>
    /// <param name="length">In bytes, whole pages.</param>
    /// <param name="offset">mmap's, in bytes.</param>
    /// <param name="mapFlags">MAP_*.</param>
    /// <param name="hostAddress">The first address of the host that it shows.</param>
    /// <returns>0 or a negative errno.</returns>
    long CheckContainer(ulong address, ulong length, ulong offset, int mapFlags, out ulong hostAddress);

    /// <summary>Where a container goes that may be anywhere; false: where any mapping would go, checked later.</summary>
    bool TryChoosePlace(ulong hint, ulong offset, out ulong address, out ulong alignment);
}
