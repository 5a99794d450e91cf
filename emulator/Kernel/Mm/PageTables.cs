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
internal sealed unsafe class PageTables
{
    /// <summary>A mapped page that no access may reach (PROT_NONE): not present, frame kept (Linux's _PAGE_PROTNONE has the same bit).</summary>
    public const Pte ProtNone = Pte.Global;

    private const Pte TableEntry = Pte.Present | Pte.Writable | Pte.User | Pte.Accessed | Pte.Dirty;
    private const int UserEntries = PageTable.Entries / 2;

    private readonly PageAllocator _pages;
    private long _tables;

    private PageTables(PageAllocator pages, Pfn root)
    {
        _pages = pages;
        Root = root;
    }

    public Pfn Root { get; }

    /// <summary>Table pages in use besides the root.</summary>
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

    public static Pfn FrameOf(ulong entry) => new((entry & (ulong)Pte.Frame) >> Pfn.Shift);

    /// <summary>The level-0 entry of an address, or null where there is no table.</summary>
    public ulong* Find(ulong address)
    {
        Pfn table = Root;
        for (int level = PageTable.RootLevel; level > 0; level--)
        {
            ulong entry = Volatile.Read(ref Entries(table)[PageTable.Index(address, level)]);
            if ((entry & (ulong)Pte.Present) == 0)
                return null;
            table = FrameOf(entry);
        }
        return Entries(table) + PageTable.Index(address, 0);
    }

    /// <summary>The level-0 entry of an address, making the tables above it; null when memory is exhausted.</summary>
    public ulong* FindOrCreate(ulong address)
    {
        Pfn table = Root;
        for (int level = PageTable.RootLevel; level > 0; level--)
        {
            ulong* entry = Entries(table) + PageTable.Index(address, level);
            if ((*entry & (ulong)Pte.Present) == 0)
            {
                if (!_pages.TryAllocate(PageFlags.Table, zero: true, out Pfn next))
                    return null;
                Interlocked.Increment(ref _tables);
                // Release: a walker that sees the entry sees the cleared table.
                Volatile.Write(ref *entry, next.Address | (ulong)TableEntry);
            }
            table = FrameOf(*entry);
        }
        return Entries(table) + PageTable.Index(address, 0);
    }

    /// <summary>Steps through the existing entries of [address, end): each call yields a run of entries in one table.</summary>
    /// <param name="address">In: where to look. Out: the address of the first entry yielded.</param>
    /// <param name="end">End of the range.</param>
    /// <param name="entries">The first entry.</param>
    /// <param name="count">How many entries; the next call begins behind them.</param>
    public bool NextRun(ref ulong address, ulong end, out ulong* entries, out int count)
    {
        while (address < end)
        {
            Pfn table = Root;
            int level = PageTable.RootLevel;
            while (level > 0)
            {
                ulong entry = Entries(table)[PageTable.Index(address, level)];
                if ((entry & (ulong)Pte.Present) == 0)
                    break;
                table = FrameOf(entry);
                level--;
            }
            if (level == 0)
            {
                int first = PageTable.Index(address, 0);
                entries = Entries(table) + first;
                count = (int)Math.Min((ulong)(PageTable.Entries - first), (end - address) >> Pfn.Shift);
                return true;
            }
            ulong span = 1UL << PageTable.Shift(level);
            ulong next = (address & ~(span - 1)) + span;
            if (next <= address)
                break;
            address = next;
        }
        entries = null;
        count = 0;
        return false;
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
        return (old & (ulong)Pte.Present) != 0 ? FlushOwed.Page : FlushOwed.None;
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

    /// <summary>arch/x86/include/asm/tlbflush.h:pte_flags_need_flush, except that more rights never need one.</summary>
    private static FlushOwed Owed(ulong old, ulong changed)
    {
        if ((old & (ulong)Pte.Present) == 0)
            return FlushOwed.None;
        const ulong lost = (ulong)(Pte.Present | Pte.Writable | Pte.User | Pte.Accessed | Pte.Dirty);
        bool less = (old & ~changed & lost) != 0 || (~old & changed & (ulong)Pte.NoExecute) != 0;
        return less || ((old ^ changed) & (ulong)Pte.Frame) != 0 ? FlushOwed.Page : FlushOwed.None;
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
            Pfn child = FrameOf(entry);
            if (level > 1)
                FreeLevel(gather, child, level - 1, from, start, end, floor, ceiling);
            if (from < floor || from + span > ceiling)
                continue;
            Volatile.Write(ref entries[i], 0);
            Interlocked.Decrement(ref _tables);
            gather.AddTable(child, from, from + span);
        }
    }

    /// <summary>Frees the root; every other table must be gone.</summary>
    public void FreeRoot() => _pages.Put(Root);
}
