using System.Runtime.InteropServices;

namespace Emulator.Kernel.Memory;

/// <summary>What a frame is used for, and its state. Names follow Linux's <c>page-flags.h</c> where there is one.</summary>
[Flags]
public enum PageFlags : uint
{
    None = 0,
    /// <summary>Private memory of a process (swap-backed, not in a page cache).</summary>
    Anon = 1 << 0,
    /// <summary>Belongs to a page cache; <see cref="Page.Owner"/> is the cache's number, <see cref="Page.Index"/> the page's index in it.</summary>
    Cache = 1 << 1,
    /// <summary>The page cache is memory of its own (shmem), not a copy of a host file.</summary>
    SwapBacked = 1 << 2,
    /// <summary>A page-table page.</summary>
    Table = 1 << 3,
    /// <summary>Differs from the file it caches.</summary>
    Dirty = 1 << 4,
    /// <summary>Kernel-owned for the machine's life: the zero page, the vDSO.</summary>
    Reserved = 1 << 5,
    /// <summary>The frame has held data since the machine was made; it must be cleared before it is handed out as zeroes.</summary>
    Used = 1 << 7,
    /// <summary>The frame is on a free list.</summary>
    Free = 1 << 8,
    /// <summary>The first frame of a 2 MiB page, which carries the references of all of it (a compound page).</summary>
    Head = 1 << 9,
    /// <summary>One of the other frames of a 2 MiB page.</summary>
    Tail = 1 << 10,
    /// <summary>A 2 MiB page of the hugetlb pool, to which it goes back when it is freed.</summary>
    HugeTlb = 1 << 11,
    /// <summary>A huge page some of whose frames nobody maps any more; it waits to be split.</summary>
    PartiallyMapped = 1 << 12,
    /// <summary>An anonymous page that one address space has for itself: a write needs no copy, and a pin stays coherent (PG_anon_exclusive).</summary>
    AnonExclusive = 1 << 13,
    /// <summary>Somebody changes what the page is (reclaim, migration, truncation, swap-in): see <see cref="PageLocks"/>.</summary>
    Locked = 1 << 16,
    /// <summary>The anonymous page has a slot in the swap area, which holds a reference (<see cref="SwapArea"/>).</summary>
    SwapCache = 1 << 17,
    /// <summary>MADV_FREE: may be dropped while it is clean, for it is not swap-backed any more (Linux: anon without PG_swapbacked).</summary>
    LazyFree = 1 << 18,
    /// <summary>Used since reclaim last looked; it gets a second chance.</summary>
    Referenced = 1 << 19,
    /// <summary>Allocated ahead by fallocate, and neither written nor mapped since: a hole with a frame (not PG_uptodate).</summary>
    Unused = 1 << 20,
    /// <summary>A hugetlb page that is promised to its former owner again when it is freed (HPG_restore_reserve).</summary>
    RestoreReserve = 1 << 21,
    /// <summary>An anonymous page that a client of /dev/remote-map has mapped, too: <see cref="RemotePages"/> knows where. It stays in memory (PAGE_MAPPING_REMOTE of the RFC).</summary>
    Remote = 1 << 22,
}

/// <summary>
/// Metadata of one frame (Linux's <c>struct page</c>): 32 bytes in a native array that the host commits where it is touched.
/// Counts are changed with interlocked operations.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = 32)]
public struct Page
{
    /// <summary>What one pin adds to <see cref="RefCount"/>, so that pinned pages can be told from others (GUP_PIN_COUNTING_BIAS).</summary>
    public const int PinBias = 1024;

    /// <summary>References that keep the frame from being freed: one a mapping entry, one for its page cache, one a temporary user, <see cref="PinBias"/> a pin.</summary>
    public int RefCount;

    /// <summary>Page-table entries that map the frame.</summary>
    public int MapCount;

    public PageFlags Flags;

    /// <summary>The number of the page cache the frame belongs to, or of the <see cref="AnonVma"/> of an anonymous page; 0: none.</summary>
    public uint Owner;

    /// <summary>The index in the page cache, or the page number in the anonymous VMA (linear_page_index); for a free frame, the next frame of its list.</summary>
    public ulong Index;

    /// <summary>How often the frame was freed: a translation made under another generation is stale.</summary>
    public uint Generation;

    public readonly bool IsAnon => (Flags & PageFlags.Anon) != 0;

    public readonly bool IsAnonExclusive => (Flags & PageFlags.AnonExclusive) != 0;

    /// <summary>Whether somebody may have pinned the page; certain when false (folio_maybe_dma_pinned).</summary>
    public readonly bool MaybePinned => RefCount >= PinBias;
}
