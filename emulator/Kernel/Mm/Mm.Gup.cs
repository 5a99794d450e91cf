using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>How pages are taken (include/linux/mm_types.h, FOLL_*; the values are Linux's).</summary>
[Flags]
public enum FollFlags
{
    None = 0,
    /// <summary>The caller will write to the pages.</summary>
    Write = 1 << 0,
    /// <summary>A debugger's access: what may be made readable or writable counts as such.</summary>
    Force = 1 << 3,
    /// <summary>Take what is present only.</summary>
    NoFault = 1 << 5,
    /// <summary>The pages are kept for as long as the caller's user wants.</summary>
    Longterm = 1 << 8,
    /// <summary>The address space is not the caller's own.</summary>
    Remote = 1 << 17,
}

/// <summary>get_user_pages and pin_user_pages (mm/gup.c): the only way to take pages out of an address space.</summary>
public sealed partial class Mm
{
    /// <summary>Takes a reference to each page of a range. Such a reference does not keep the page in its place in the address space.</summary>
    /// <param name="task">The caller.</param>
    /// <param name="address">Where the first page is.</param>
    /// <param name="flags">What for; not <see cref="FollFlags.Longterm"/>, which is for pins.</param>
    /// <param name="pages">The pages; its length says how many are wanted.</param>
    /// <returns>How many were taken, or a negative errno if none.</returns>
    public int GetUserPages(Task? task, ulong address, FollFlags flags, Span<Pfn> pages) => -Errno.EFAULT;

    /// <summary>As <see cref="GetUserPages"/>, but the pages are pinned: their data may be accessed, and they stay where they are mapped.</summary>
    public int PinUserPages(Task? task, ulong address, FollFlags flags, Span<Pfn> pages) => -Errno.EFAULT;

    /// <summary>Gives pinned pages back (unpin_user_pages_dirty_lock).</summary>
    public void UnpinUserPages(ReadOnlySpan<Pfn> pages, bool dirty)
    {
    }
}
