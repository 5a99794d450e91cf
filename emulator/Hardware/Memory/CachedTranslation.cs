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

    private static void Copy(ref TlbArray array, bool isTable, List<CachedTranslation> to)
    {
        for (int slot = 0; slot < array.Slots; slot++)
        {
            ulong tag = array.TagAt(slot);
            if (tag == 0)
                continue;
            ulong data = array.DataAt(slot), context = TlbArray.Context(tag);
            Pte rights = (Pte)(data & (TlbEntry.Writable | TlbEntry.User | (isTable ? 0 : TlbEntry.Dirty)))
                | ((data & TlbEntry.Executable) != 0 ? Pte.None : Pte.NoExecute);
            to.Add(new CachedTranslation(context, TlbArray.Address(tag), TlbArray.SizeClass(tag), isTable,
                new Pfn(TlbEntry.Base(data) >> Pfn.Shift), rights, context == TlbArray.GlobalContext));
        }
    }
}
