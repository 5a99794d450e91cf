using Emulator.Kernel.Files;

namespace Emulator.Kernel.Memory;

/// <summary>
/// A range of an address space with one kind of contents and one set of permissions (Linux's <c>vm_area_struct</c>). Changed only with
/// the mmap lock held for writing.
/// </summary>
public sealed class Vma
{
    internal Vma(Mm mm, ulong start, ulong end, VmFlags flags)
    {
        Mm = mm;
        Start = start;
        End = end;
        Flags = flags;
    }

    public Mm Mm { get; }

    /// <summary>First byte, page-aligned.</summary>
    public ulong Start { get; internal set; }

    /// <summary>First byte behind, page-aligned.</summary>
    public ulong End { get; internal set; }

    public VmFlags Flags { get; internal set; }

    /// <summary>The file's page that <see cref="Start"/> maps; for private anonymous memory the page number of its first address.</summary>
    public ulong PageOffset { get; internal set; }

    /// <summary>The open file that was mapped, with a reference; null for anonymous memory.</summary>
    public OpenFile? File { get; internal set; }

    /// <summary>Where the pages come from; null for private anonymous memory.</summary>
    public PageCache? Cache { get; internal set; }

    /// <summary>What /proc/PID/maps calls it when there is no file: <c>[stack]</c>, <c>[vdso]</c>, <c>/SYSV00000000 (deleted)</c>.</summary>
    public string? Name { get; internal set; }

    /// <summary>mbind's; null: the task's.</summary>
    internal MemoryPolicy? Policy { get; set; }

    /// <summary>Told when mappings of the object are made and unmade: a SysV segment counts its attachments.</summary>
    internal IMappingObserver? Observer { get; set; }

    /// <summary>Whether a private page was ever given to it: anonymous VMAs that have none merge whatever their offset.</summary>
    internal bool HasAnon => AnonVma is not null;

    /// <summary>What new private pages name as their owner; null until the first one.</summary>
    internal AnonVma? AnonVma { get; set; }

    /// <summary>The newest of the VMA's memberships in <see cref="AnonVma"/>s, from which <see cref="AnonVmaChain.Older"/> leads on.</summary>
    internal AnonVmaChain? AnonVmaChains { get; set; }

    /// <summary>Of a shared hugetlb mapping: faults hold it for reading, punches for writing (hugetlb_vma_lock).</summary>
    internal Tasks.Locks.RwSemaphore? HugeTlbLock { get; set; }

    /// <summary>Of a private hugetlb mapping that has reserved its pages (HPAGE_RESV_OWNER): those already taken.</summary>
    internal HugeTlbRegions? HugeTlbReservation { get; set; }

    /// <summary>A page that a hugetlb mapping inherited went to its owner (HPAGE_RESV_UNMAPPED).</summary>
    internal bool LostHugeTlbPage { get; set; }

    /// <summary>Of a container: whose tables it shows; <see cref="IndexOf"/> gives pages of the host address space.</summary>
    internal SharedTables? Shares { get; set; }

    /// <summary>Its pages are in the tables of a host address space.</summary>
    public bool IsContainer => Shares is not null;

    public ulong Length => End - Start;

    public ulong Pages => Length >> 12;

    public bool IsAnonymous => Cache is null && Shares is null;

    public bool IsShared => (Flags & VmFlags.Shared) != 0;

    /// <summary>A private mapping that may be written: its pages are copied when they are (is_cow_mapping).</summary>
    public bool IsCow => (Flags & (VmFlags.Shared | VmFlags.MayWrite)) == VmFlags.MayWrite;

    public bool Contains(ulong address) => address >= Start && address < End;

    /// <summary>The page of <see cref="Cache"/> that an address maps.</summary>
    public ulong IndexOf(ulong address) => PageOffset + ((address - Start) >> 12);

    /// <summary>Where the range begins when the guard gap of a stack is counted (vm_start_gap).</summary>
    internal ulong StartWithGap =>
        (Flags & VmFlags.GrowsDown) == 0 ? Start : Start > Layout.StackGuardGap ? Start - Layout.StackGuardGap : 0;

    // The tree's and the file's links.
    internal Vma? Left, Right;
    internal int Height;
    internal ulong SubtreeStart, SubtreeEnd, SubtreeGap;
    internal Vma? NextInMapping, PreviousInMapping;
    internal bool InMapping;

    public override string ToString() => $"{Start:x}-{End:x} {Flags}";
}

/// <summary>Hears of the mappings of an object (Linux's <c>vm_operations.open</c> and <c>close</c>).</summary>
internal interface IMappingObserver
{
    void Opened(Vma vma);

    void Closed(Vma vma);
}

/// <summary>The VMAs that map one file: a doubly linked list, in which copies made by fork come after their originals (see <see cref="AnonVma.First"/>).</summary>
internal sealed class VmaList
{
    private Vma? _last;

    public Vma? First { get; private set; }

    public bool IsEmpty => First is null;

    public void Add(Vma vma)
    {
        vma.PreviousInMapping = _last;
        if (_last is null)
            First = vma;
        else
            _last.NextInMapping = vma;
        _last = vma;
        vma.InMapping = true;
    }

    public void Remove(Vma vma)
    {
        if (!vma.InMapping)
            return;
        if (vma.PreviousInMapping is null)
            First = vma.NextInMapping;
        else
            vma.PreviousInMapping.NextInMapping = vma.NextInMapping;
        if (vma.NextInMapping is null)
            _last = vma.PreviousInMapping;
        else
            vma.NextInMapping.PreviousInMapping = vma.PreviousInMapping;
        vma.NextInMapping = vma.PreviousInMapping = null;
        vma.InMapping = false;
    }
}
