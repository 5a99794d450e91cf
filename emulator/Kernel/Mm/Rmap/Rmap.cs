using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>How pages are taken out of all their mappings (TTU_*).</summary>
[Flags]
internal enum TtuFlags
{
    None = 0,
    /// <summary>Locked VMAs too.</summary>
    IgnoreMlock = 1,
    /// <summary>Other vCPUs' flushes may wait until the caller's <c>TlbBatch</c> is flushed.</summary>
    BatchFlush = 2,
    /// <summary>Split a 2 MiB leaf first.</summary>
    SplitHuge = 4,
}

/// <summary>Visits a place where a page may be mapped; false ends the walk.</summary>
internal delegate bool RmapVisitor<TState>(Vma vma, ulong address, ref TState state);

/// <summary>From a frame to the entries that map it (mm/rmap.c).</summary>
internal sealed partial class Rmap(MemorySystem system)
{
    /// <summary>Calls <paramref name="visit"/> for every VMA and address that may map the page, under the lock that keeps those VMAs and their tables.</summary>
    public void Walk<TState>(Task? task, Pfn frame, ref TState state, RmapVisitor<TState> visit)
    {
        _ = system;
    }

    /// <summary>Replaces every entry of the page by a swap entry (anonymous pages in the swap cache) or by nothing (files). The page is locked.</summary>
    /// <returns>Whether nothing maps the page any more.</returns>
    public bool TryToUnmap(Task? task, Pfn frame, TtuFlags flags) => false;

    /// <summary>Replaces every entry of the page by a migration entry. The page is locked.</summary>
    public void TryToMigrate(Task? task, Pfn frame, TtuFlags flags)
    {
    }

    /// <summary>Clears the accessed bits of all entries of the page; how many had it, and whether a locked VMA maps it (folio_referenced).</summary>
    public int Referenced(Task? task, Pfn frame, out VmFlags vmFlags)
    {
        vmFlags = VmFlags.None;
        return 0;
    }

    /// <summary>Takes write permission and dirty bits from all entries of a file's page, so that the next store is noticed; how many had them (folio_mkclean).</summary>
    public int PageMkClean(Task? task, Pfn frame) => 0;
}
