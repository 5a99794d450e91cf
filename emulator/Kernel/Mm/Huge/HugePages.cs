using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>Which mappings get transparent huge pages (/sys/kernel/mm/transparent_hugepage/enabled).</summary>
public enum HugePagePolicy
{
    /// <summary>All anonymous ones, unless MADV_NOHUGEPAGE or PR_SET_THP_DISABLE forbids it.</summary>
    Always,

    /// <summary>Those that MADV_HUGEPAGE was asked for.</summary>
    Madvise,

    Never,
}

/// <summary>What policies are called.</summary>
public static class HugePagePolicies
{
    /// <summary>Reads a policy as sysfs and the command line name it.</summary>
    public static bool TryParse(string text, out HugePagePolicy policy)
    {
        policy = text switch { "madvise" => HugePagePolicy.Madvise, "never" => HugePagePolicy.Never, _ => HugePagePolicy.Always };
        return text is "always" or "madvise" or "never";
    }
}

/// <summary>
/// Transparent huge pages of a machine (mm/huge_memory.c). A 2 MiB page of anonymous memory is mapped by level-1 leaves, by entries of
/// level 0, or by both in different address spaces; its head frame holds one reference for each leaf and each entry.
/// </summary>
public sealed partial class HugePages
{
    private readonly PageAllocator _pages;
    private readonly MemorySystem _system;
    private readonly Lock _deferredLock = new();
    private readonly Queue<Pfn> _deferred = new();
    private long _mapped;

    internal HugePages(MemorySystem system)
    {
        _system = system;
        _pages = system.Pages;
    }

    public HugePagePolicy Policy { get; set; } = HugePagePolicy.Always;

    /// <summary>Huge pages of anonymous memory that some leaf maps (NR_ANON_THPS).</summary>
    public long Mapped => Volatile.Read(ref _mapped);

    internal void CountMapped(int delta) => Interlocked.Add(ref _mapped, delta);

    /// <summary>Whether a mapping's faults may be answered with huge pages (thp_vma_allowable_order).</summary>
    internal bool Allows(Vma vma) =>
        vma.Cache is null && (vma.Flags & VmFlags.NoHugePage) == 0 && !vma.Mm.HugePagesDisabled
        && (Policy == HugePagePolicy.Always || (Policy == HugePagePolicy.Madvise && (vma.Flags & VmFlags.HugePage) != 0));

    /// <summary>Whether the 2 MiB around an address lie inside the mapping (thp_vma_suitable_order).</summary>
    internal static bool Fits(Vma vma, ulong address)
    {
        ulong start = address & ~(PageTables.HugeSize - 1);
        return start >= vma.Start && start + PageTables.HugeSize <= vma.End;
    }

    /// <summary>Whether the policy allows the mapping a huge page, and one fits into it (THPeligible in smaps).</summary>
    internal bool IsEligible(Vma vma) => Allows(vma) && FitsSomewhere(vma);

    internal static bool FitsSomewhere(Vma vma) => vma.End >= PageTables.HugeSize && Fits(vma, vma.End - PageTables.HugeSize);

    /// <summary>
    /// Some of a huge page's frames have lost their last mapping: the page is split when memory runs short, which frees them
    /// (deferred_split_folio).
    /// </summary>
    internal void NotePartialUnmap(Pfn frame)
    {
        Pfn head = _pages.HeadOf(frame);
        ref Page page = ref _pages[head];
        if ((page.Flags & (PageFlags.Anon | PageFlags.PartiallyMapped)) != PageFlags.Anon || Volatile.Read(ref _pages.EntireMapCount(head)) > 0)
            return;
        PageAllocator.SetFlags(ref page, PageFlags.PartiallyMapped);
        _system.Events.Count(VmEvent.ThpDeferredSplitPage);
        lock (_deferredLock)
        {
            // What is freed whole meanwhile stays in the queue, so it is gone through when it cannot be all of use.
            if ((ulong)_deferred.Count > 2 * (_pages.Memory.FrameCount >> PageAllocator.HugeOrder))
                DropStale();
            _deferred.Enqueue(head);
        }
    }

    /// <summary>Takes a huge page whose frames are partly unused off the queue; it may have been freed meanwhile.</summary>
    internal bool TryTakeDeferred(out Pfn head)
    {
        lock (_deferredLock)
        {
            while (_deferred.TryDequeue(out head))
            {
                if ((_pages[head].Flags & PageFlags.PartiallyMapped) != 0)
                    return true;
            }
        }
        return false;
    }

    private void DropStale()
    {
        for (int i = _deferred.Count; i > 0; i--)
        {
            Pfn head = _deferred.Dequeue();
            if ((_pages[head].Flags & PageFlags.PartiallyMapped) != 0)
                _deferred.Enqueue(head);
        }
    }
}
