using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>What a change of a page-table entry leaves the caller to do before the old translation's frame may be reused.</summary>
public enum FlushOwed
{
    /// <summary>No TLB can hold anything that the new entry does not allow.</summary>
    None,

    /// <summary>TLBs may hold the old entry.</summary>
    Page,
}

/// <summary>
/// The page tables of one address space: real x86-64 tables in the machine's memory. All changes of entries go through
/// <see cref="Set"/>, <see cref="Clear"/> and <see cref="Modify"/>, under <see cref="Mm.PageTableLock"/>; processors set
/// accessed and dirty bits at any time, so changes are atomic exchanges.
/// </summary>
/// <remarks>
/// In bounds: pointers to entries are made of <see cref="PhysicalMemory.Pointer"/>, which refuses frames that do not exist, and <see cref="PageTable.Index"/>, which
/// is less than 512; runs of entries end with their table. What tables hold is not believed: no guest maps them, but a policy or a driver's design that is wrong on
/// purpose may let one write to a frame that has become a table since.
/// </remarks>
internal sealed unsafe class PageTables
{
    /// <summary>A mapped page that no access may reach (PROT_NONE): not present, frame kept (Linux's _PAGE_PROTNONE has the same bit).</summary>
    public const Pte ProtNone = Pte.Global;

    /// <summary>
    /// The frame is a driver's, to give and to take away: the entry holds no reference to it, and no reverse map leads to the entry
    /// (Linux's _PAGE_SPECIAL is the same bit).
    /// </summary>
    public const Pte Special = Pte.Software1;

    /// <summary>Bytes that a level-1 leaf maps.</summary>
    public const ulong HugeSize = 1UL << 21;

    /// <summary>The pages of 4 KiB in it.</summary>
    public const int LeafPages = PageTable.Entries;

    /// <summary>
    /// Software's mark of a top-level entry that is a copy of another address space's: the tables below are not ours, and no walk of ours enters
    /// them. Processors do not see the difference.
    /// </summary>
    private const Pte Link = Pte.Software1;

    /// <summary>The same in the variant rfc-v3, where walks do enter.</summary>
    private const Pte LooseLink = Pte.Software2;

    private const Pte TableEntry = Pte.Present | Pte.Writable | Pte.User | Pte.Accessed | Pte.Dirty;
    private const int UserEntries = PageTable.Entries / 2;

    private readonly PageAllocator _pages;
    private long _tables;
    private ulong _deposited;

    private PageTables(PageAllocator pages, Pfn root)
    {
        _pages = pages;
        Root = root;
    }

    public Pfn Root { get; }

    /// <summary>Table pages in use besides the root, deposited ones included.</summary>
    public long TableCount => Volatile.Read(ref _tables);

    /// <summary>Makes empty tables whose kernel half is a copy of <paramref name="template"/>'s; null when memory is exhausted.</summary>
    public static PageTables? Create(PageAllocator pages, PageTables? template)
    {
        if (!pages.TryAllocate(PageFlags.Table, zero: true, out Pfn root))
            return null;
        var tables = new PageTables(pages, root);
        if (template is not null)
        {
            for (int i = UserEntries; i < PageTable.Entries; i++)
                tables.Entries(root)[i] = template.Entries(template.Root)[i];
        }
        return tables;
    }

    private ulong* Entries(Pfn table) => (ulong*)_pages.Memory.Pointer(table);

    public static bool IsMapped(ulong entry) => (entry & (ulong)(Pte.Present | ProtNone)) != 0;

    /// <summary>Whether an entry maps a frame that is not counted (pte_special).</summary>
    public static bool IsSpecial(ulong entry) => IsMapped(entry) && (entry & (ulong)Special) != 0;

    public static Pfn FrameOf(ulong entry) => new((entry & (ulong)Pte.Frame) >> Pfn.Shift);

    /// <summary>Whether a level-1 entry maps a 2 MiB page rather than naming a table; PROT_NONE keeps the size bit.</summary>
    public static bool IsLeaf(ulong entry) => IsMapped(entry) && (entry & (ulong)Pte.PageSize) != 0;

    /// <summary>
    /// Whether what <see cref="NextRun(ref ulong, ulong, out ulong*, out int, out int)"/> found to be a leaf names a table by now: reclaim and migration split
    /// without the mmap lock. With the page-table lock; the address is to be looked at again.
    /// </summary>
    public static bool WasSplit(ulong entry, int level) => level > 0 && IsTable(entry);

    private static bool IsTable(ulong entry) => (entry & (ulong)(Pte.Present | Pte.PageSize | Link)) == (ulong)Pte.Present;

    /// <summary>Whether a top-level entry names another address space's tables.</summary>
    public static bool IsLink(ulong entry) => (entry & (ulong)(Link | LooseLink)) != 0;

    /// <summary>The frame that an entry found at a level maps an address to.</summary>
    public static Pfn FrameOf(ulong entry, ulong address, int level) =>
        level == 0 ? FrameOf(entry) : new Pfn(FrameOf(entry).Value + (ulong)PageTable.Index(address, 0));

    /// <summary>The level-0 entry of an address, or null where there is no table: nothing is mapped, or a 2 MiB leaf.</summary>
    public ulong* Find(ulong address)
    {
        ulong* entry = Find(address, out int level);
        return level == 0 ? entry : null;
    }

    /// <summary>The entry that maps an address: of level 0, or of level 1 if it is a 2 MiB leaf; null where there is no table.</summary>
    public ulong* Find(ulong address, out int level)
    {
        ulong* entry = FindLowest(address, out level, out bool found);
        return found ? entry : null;
    }

    /// <summary>The entry where the walk of an address ends, whatever it holds, and its level.</summary>
    public ulong* FindEntry(ulong address, out int level) => FindLowest(address, out level, out _);

    /// <summary>
    /// The level-0 entry of an address, making the tables above it; null when memory is exhausted. Where a 2 MiB leaf is, that entry:
    /// like any entry somebody else has filled, it is not empty.
    /// </summary>
    public ulong* FindOrCreate(ulong address) => Walk(address, 0);

    /// <summary>The level-1 entry of an address, making the tables above it: for a 2 MiB leaf. Null when memory is exhausted.</summary>
    public ulong* FindOrCreateHuge(ulong address) => Walk(address, 1);

    private ulong* Walk(ulong address, int bottom)
    {
        Pfn table = Root;
        for (int level = PageTable.RootLevel; level > bottom; level--)
        {
            ulong* entry = Entries(table) + PageTable.Index(address, level);
            if (!IsTable(*entry))
            {
                if (level == 1 && *entry != 0)
                    return entry;
                if (!TryAllocateTable(out Pfn next))
                    return null;
                Interlocked.Increment(ref _tables);
                // Release: a walker that sees the entry sees the cleared table.
                Volatile.Write(ref *entry, next.Address | (ulong)TableEntry);
            }
            table = FrameOf(*entry);
        }
        return Entries(table) + PageTable.Index(address, bottom);
    }

    /// <summary>A cleared table, not yet hooked in anywhere.</summary>
    public bool TryAllocateTable(out Pfn table) => _pages.TryAllocate(PageFlags.Table, zero: true, out table);

    /// <summary>
    /// Keeps a table for the time when a leaf of anonymous memory must be split, which may not fail (pgtable_trans_huge_deposit). Each such
    /// leaf has one; which is all the same. Under the page-table lock.
    /// </summary>
    public void Deposit(Pfn table)
    {
        _pages[table].Index = _deposited;
        _deposited = table.Value;
        Interlocked.Increment(ref _tables);
    }

    /// <summary>Takes a deposited table back (pgtable_trans_huge_withdraw); it is all zeroes.</summary>
    public Pfn Withdraw()
    {
        var table = new Pfn(_deposited);
        _deposited = _pages[table].Index;
        _pages[table].Index = 0;
        Interlocked.Decrement(ref _tables);
        return table;
    }

    /// <summary>
    /// Hooks a table in place of an invalidated leaf, with 512 entries that map the leaf's frames with its permissions. Under the
    /// page-table lock; the old translation is flushed already.
    /// </summary>
    /// <param name="leaf">The level-1 entry.</param>
    /// <param name="old">What it was.</param>
    /// <param name="table">An empty table.</param>
    public void ReplaceLeaf(ulong* leaf, ulong old, Pfn table)
    {
        ulong first = old & ~(ulong)Pte.PageSize;
        ulong* entries = Entries(table);
        for (int i = 0; i < PageTable.Entries; i++)
            entries[i] = first + ((ulong)i << Pfn.Shift);
        Interlocked.Increment(ref _tables);
        Volatile.Write(ref *leaf, table.Address | (ulong)TableEntry);
    }

    /// <summary>Unhooks the table of level-0 entries that covers an address, for a leaf to take its place; default where there is none.</summary>
    public Pfn UnhookTable(ulong address)
    {
        ulong* entry = FindOrCreateHuge(address);
        if (entry is null || !IsTable(*entry))
            return default;
        Pfn table = FrameOf(*entry);
        Volatile.Write(ref *entry, 0);
        Interlocked.Decrement(ref _tables);
        return table;
    }

    /// <summary>Hooks a table in again that <see cref="UnhookTable"/> took out.</summary>
    public void HookTable(ulong address, Pfn table)
    {
        Interlocked.Increment(ref _tables);
        Volatile.Write(ref *FindOrCreateHuge(address), table.Address | (ulong)TableEntry);
    }

    /// <summary>As <see cref="NextRun(ref ulong, ulong, out ulong*, out int, out int)"/>, passing over 2 MiB leaves.</summary>
    public bool NextRun(ref ulong address, ulong end, out ulong* entries, out int count)
    {
        while (NextRun(ref address, end, out entries, out count, out int level))
        {
            if (level == 0)
                return true;
            address = NextBoundary(address, end, level);
        }
        return false;
    }

    /// <summary>Steps through the existing entries of [address, end): each call yields a run of entries in one table, or one 2 MiB leaf.</summary>
    /// <param name="address">In: where to look. Out: the address of the first entry yielded; of a leaf, where the range enters it.</param>
    /// <param name="end">End of the range.</param>
    /// <param name="entries">The first entry.</param>
    /// <param name="count">How many entries; the next call begins behind them, for a leaf at <see cref="NextBoundary"/>.</param>
    /// <param name="level">0, or 1 for a leaf. It was one when looked at without the page-table lock: <see cref="WasSplit"/> tells under it.</param>
    public bool NextRun(ref ulong address, ulong end, out ulong* entries, out int count, out int level)
    {
        while (address < end)
        {
            entries = FindLowest(address, out level, out bool found);
            if (found)
            {
                count = level > 0 ? 1 : (int)Math.Min((ulong)(PageTable.Entries - PageTable.Index(address, 0)), (end - address) >> Pfn.Shift);
                return true;
            }
            ulong next = NextBoundary(address, ulong.MaxValue, level);
            if (next <= address)
                break;
            address = next;
        }
        entries = null;
        count = level = 0;
        return false;
    }

    /// <summary>The first address that another entry of a level translates, or the end of the range if that comes first.</summary>
    public static ulong NextBoundary(ulong address, ulong end, int level)
    {
        ulong span = 1UL << PageTable.Shift(level);
        ulong next = (address & ~(span - 1)) + span;
        return next <= address ? end : Math.Min(next, end);
    }

    /// <summary>The entry where the walk of an address ends, and its level; found: it is of level 0 or a leaf.</summary>
    private ulong* FindLowest(ulong address, out int level, out bool found)
    {
        Pfn table = Root;
        for (level = PageTable.RootLevel; level > 0; level--)
        {
            ulong* entry = Entries(table) + PageTable.Index(address, level);
            ulong value = Volatile.Read(ref *entry);
            if (!IsTable(value))
            {
                found = level == 1 && IsLeaf(value);
                return entry;
            }
            table = FrameOf(value);
        }
        found = true;
        return Entries(table) + PageTable.Index(address, 0);
    }

    /// <summary>Fills an entry that is empty.</summary>
    public static FlushOwed Set(ulong* entry, ulong value)
    {
        System.Diagnostics.Debug.Assert(!IsMapped(*entry));
        Volatile.Write(ref *entry, value);
        return FlushOwed.None;
    }

    /// <summary>Empties an entry and returns what it was, with the accessed and dirty bits as they are at that instant.</summary>
    public static FlushOwed Clear(ulong* entry, out ulong old)
    {
        old = Interlocked.Exchange(ref *entry, 0);
        // Also of a page made inaccessible: whoever did that may owe its flush still (pte_accessible).
        return IsMapped(old) ? FlushOwed.Page : FlushOwed.None;
    }

    /// <summary>
    /// Makes a leaf not present and returns what it was, for its caller to put something else in its place once TLBs are flushed. It stays
    /// a leaf to everybody who looks without the page-table lock: nobody takes the place for empty (pmdp_invalidate).
    /// </summary>
    public static FlushOwed Invalidate(ulong* leaf, out ulong old)
    {
        do
            old = Volatile.Read(ref *leaf);
        while (Interlocked.CompareExchange(ref *leaf, (old & ~(ulong)Pte.Present) | (ulong)ProtNone, old) != old);
        return FlushOwed.Page;
    }

    /// <summary>Changes bits of an entry, keeping those that a processor sets meanwhile.</summary>
    public static FlushOwed Modify(ulong* entry, Pte clear, Pte set)
    {
        while (true)
        {
            ulong old = Volatile.Read(ref *entry);
            ulong changed = (old & ~(ulong)clear) | (ulong)set;
            if (changed == old)
                return FlushOwed.None;
            if (Interlocked.CompareExchange(ref *entry, changed, old) == old)
                return Owed(old, changed);
        }
    }

    /// <summary>
    /// arch/x86/include/asm/tlbflush.h:pte_flags_need_flush: state flags that are lost, and rights that change either way. Who only adds rights
    /// in a fault ignores the answer (ptep_set_access_flags): a processor that faults drops its entry.
    /// </summary>
    private static FlushOwed Owed(ulong old, ulong changed)
    {
        if ((old & (ulong)Pte.Present) == 0)
            return FlushOwed.None;
        const ulong lost = (ulong)(Pte.Present | Pte.Accessed | Pte.Dirty);
        const ulong either = (ulong)(Pte.Writable | Pte.User | Pte.NoExecute | Pte.Frame);
        return (old & ~changed & lost) != 0 || ((old ^ changed) & either) != 0 ? FlushOwed.Page : FlushOwed.None;
    }

    /// <summary>
    /// Unhooks the tables that translate only addresses inside [floor, ceiling), the surroundings of an unmapped range up to its
    /// neighbours (mm/memory.c:free_pgd_range), and hands them to the gather, which frees them after the flush.
    /// </summary>
    public void FreeTables(MmuGather gather, ulong start, ulong end, ulong floor, ulong ceiling)
    {
        FreeLevel(gather, Root, PageTable.RootLevel, 0, start, end, floor, ceiling);
    }

    private void FreeLevel(MmuGather gather, Pfn table, int level, ulong tableBase, ulong start, ulong end, ulong floor, ulong ceiling)
    {
        ulong span = 1UL << PageTable.Shift(level);
        ulong* entries = Entries(table);
        int first = start > tableBase ? (int)((start - tableBase) >> PageTable.Shift(level)) : 0;
        for (int i = first; i < PageTable.Entries; i++)
        {
            ulong from = tableBase + (ulong)i * span;
            if (from >= end)
                break;
            ulong entry = entries[i];
            if ((entry & (ulong)Pte.Present) == 0)
                continue;
            if (IsLeaf(entry) || (level == PageTable.RootLevel && IsLink(entry)))
                continue;
            Pfn child = FrameOf(entry);
            if (level > 1)
                FreeLevel(gather, child, level - 1, from, start, end, floor, ceiling);
            if (from < floor || from + span > ceiling || (level == PageTable.RootLevel && KeepsTopTables))
                continue;
            Volatile.Write(ref entries[i], 0);
            Interlocked.Decrement(ref _tables);
            gather.AddTable(child, from, from + span);
        }
    }

    /// <summary>Others link the tables below the root, which therefore stay as long as the address space does.</summary>
    public bool KeepsTopTables { get; set; }

    /// <summary>The top-level entry of an address as it is now.</summary>
    public ulong TopEntry(ulong address) => Volatile.Read(ref Entries(Root)[PageTable.Index(address, PageTable.RootLevel)]);

    /// <summary>Makes the top-level entry of an address a copy of another address space's. Under the page-table lock.</summary>
    /// <param name="address">Where the tables are to be seen.</param>
    /// <param name="entry">The other's entry.</param>
    /// <param name="taken">Rights that are not given: Writable, or NoExecute to forbid execution. Processors combine the rights of all levels.</param>
    /// <param name="loose">See <see cref="LooseLink"/>.</param>
    public void SetLink(ulong address, ulong entry, Pte taken, bool loose)
    {
        entry = (entry & ~(ulong)(taken & ~Pte.NoExecute)) | (ulong)(taken & Pte.NoExecute) | (ulong)(loose ? LooseLink : Link);
        Volatile.Write(ref Entries(Root)[PageTable.Index(address, PageTable.RootLevel)], entry);
    }

    /// <summary>Empties the top-level entry of an address if it is a link; returns the table it named, or default. Under the page-table lock.</summary>
    public Pfn ClearLink(ulong address)
    {
        ref ulong entry = ref Entries(Root)[PageTable.Index(address, PageTable.RootLevel)];
        return IsLink(entry) ? FrameOf(Interlocked.Exchange(ref entry, 0)) : default;
    }

    /// <summary>Frees the root; every other table must be gone.</summary>
    public void FreeRoot() => _pages.Put(Root);
}
