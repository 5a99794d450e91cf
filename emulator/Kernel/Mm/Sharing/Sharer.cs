namespace Emulator.Kernel.Memory;

/// <summary>One mapping of shared tables: a container VMA of an address space, and the part of the host address space that it shows.</summary>
/// <param name="Mm">The address space that shares.</param>
/// <param name="Address">Where the container begins in it.</param>
/// <param name="HostAddress">What the container begins with in the host address space.</param>
/// <param name="Length">In bytes, whole top-level entries.</param>
public readonly record struct Sharer(Mm Mm, ulong Address, ulong HostAddress, ulong Length)
{
    /// <summary>The part of a host range that this sharer sees, at its own addresses; false: none of it.</summary>
    public bool TryTranslate(ulong start, ulong end, out ulong sharerStart, out ulong sharerEnd)
    {
        start = Math.Max(start, HostAddress);
        end = Math.Min(end, HostAddress + Length);
        (sharerStart, sharerEnd) = start < end ? (start - HostAddress + Address, end - HostAddress + Address) : (0, 0);
        return start < end;
    }
}
