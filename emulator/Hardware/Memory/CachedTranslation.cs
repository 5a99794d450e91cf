using Emulator.Hardware.Cpu;

namespace Emulator.Hardware.Memory;

/// <summary>What one entry of a vCPU's TLB or paging-structure cache says.</summary>
/// <param name="Pcid">The context that it is tagged with; meaningless when <paramref name="Global"/>.</param>
/// <param name="Address">First byte of what it translates.</param>
/// <param name="Level">0, 1, 2: a page of 4 KiB, 2 MiB, 1 GiB; with <paramref name="IsTable"/> the level of the entry that names a table, 1 to 3.</param>
/// <param name="IsTable">From the paging-structure cache.</param>
/// <param name="Frame">The first frame of the page, or the table.</param>
/// <param name="Rights">Writable, User and Dirty as a page-table entry has them; NoExecute.</param>
/// <param name="Global">Valid in every context.</param>
public readonly record struct CachedTranslation(ulong Pcid, ulong Address, int Level, bool IsTable, Pfn Frame, Pte Rights, bool Global)
{
    /// <summary>First byte behind what it translates.</summary>
    public ulong End => Address + (1UL << PageTable.Shift(Level));

    /// <summary>The frame that it maps an address to; of a table, the table.</summary>
    public Pfn FrameOf(ulong address) => IsTable ? Frame : new Pfn(Frame.Value + ((address - Address) >> Pfn.Shift));

    /// <summary>Lists all that a vCPU has cached, for those who check it. The caller holds the vCPU, or knows that nobody runs it.</summary>
    public static unsafe void CopyAll(VcpuState* c, List<CachedTranslation> to)
    {
        TlbState* t = &c->Tlb;
        Copy(ref t->Level1, isTable: false, to);
        Copy(ref t->Level1Large, isTable: false, to);
        if (t->HasLevel2)
            Copy(ref t->Level2, isTable: false, to);
        Copy(ref t->Pde, isTable: true, to);
        Copy(ref t->Pdpte, isTable: true, to);
        Copy(ref t->Pml4e, isTable: true, to);
    }

    /// <summary>What a TLB entry's data word says of an address in a context.</summary>
    internal static CachedTranslation OfPage(ulong address, ulong context, ulong data)
    {
        int level = TlbEntry.SizeClass(data);
        bool global = (data & TlbEntry.Global) != 0;
        return new CachedTranslation(global ? TlbArray.GlobalContext : context, address & ~((1UL << PageTable.Shift(level)) - 1), level, IsTable: false,
            new Pfn(TlbEntry.Base(data) >> Pfn.Shift), RightsOf(data, isTable: false), global);
    }

    private static Pte RightsOf(ulong data, bool isTable) =>
        (Pte)(data & (TlbEntry.Writable | TlbEntry.User | (isTable ? 0 : TlbEntry.Dirty))) | ((data & TlbEntry.Executable) != 0 ? Pte.None : Pte.NoExecute);

    // In bounds: all slots of an array, by its own count.
    private static void Copy(ref TlbArray array, bool isTable, List<CachedTranslation> to)
    {
        for (int slot = 0; slot < array.Slots; slot++)
        {
            ulong tag = array.TagAt(slot);
            if (tag == 0)
                continue;
            ulong data = array.DataAt(slot), context = TlbArray.Context(tag);
            to.Add(new CachedTranslation(context, TlbArray.Address(tag), TlbArray.SizeClass(tag), isTable,
                new Pfn(TlbEntry.Base(data) >> Pfn.Shift), RightsOf(data, isTable), context == TlbArray.GlobalContext));
        }
    }
}
