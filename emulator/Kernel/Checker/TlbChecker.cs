using System.Globalization;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;

namespace Emulator.Kernel.Checker;

/// <summary>
/// Compares what vCPUs have cached with the page tables. Each entry must be what the tables say, or less; or belong to a slot whose address
/// space is gone, or has a newer generation, so that the flush that is owed comes before the entry can be used. The machine must be quiescent.
/// </summary>
internal sealed unsafe class TlbChecker(MemorySystem system, IReadOnlyList<Vcpu> vcpus)
{
    private readonly List<CachedTranslation> _entries = [];
    private readonly List<string> _errors = [];

    public IReadOnlyList<string> Check()
    {
        Dictionary<ulong, Mm> spaces = system.AddressSpaces.ToDictionary(static mm => mm.Context.Id);
        foreach (Vcpu vcpu in vcpus)
            Check(vcpu, spaces);
        return _errors;
    }

    private void Report(FormattableString text) => _errors.Add(text.ToString(CultureInfo.InvariantCulture));

    private void Check(Vcpu vcpu, Dictionary<ulong, Mm> spaces)
    {
        CpuTlbState cpu = system.Shootdown.StateOf(vcpu.Id);
        if (cpu.LoadedMm is { } loaded && !cpu.IsLazy && cpu.Slots[cpu.LoadedSlot].Generation != loaded.Context.Generation)
            Report($"vCPU {vcpu.Id} runs {loaded.Context.Id} with generation {cpu.Slots[cpu.LoadedSlot].Generation} of {loaded.Context.Generation}");
        _entries.Clear();
        CachedTranslation.CopyAll(vcpu.State, _entries);
        foreach (CachedTranslation entry in _entries)
        {
            // The kernel's own context maps nothing that changes, nor do global entries.
            if (entry.Global || entry.Pcid == 0 || entry.Pcid > CpuTlbState.SlotCount || entry.Address >= Layout.TaskSize)
                continue;
            CpuTlbState.Slot slot = cpu.Slots[entry.Pcid - 1];
            if (spaces.TryGetValue(slot.ContextId, out Mm? mm) && slot.Generation == mm.Context.Generation && !IsExplained(mm, entry))
                Report($"vCPU {vcpu.Id} has {mm.Context.Id}:{entry.Address:x} as {(entry.IsTable ? "table" : "page")} of level {entry.Level} in {entry.Frame} ({entry.Rights}), and no flush is owed");
        }
    }

    /// <summary>Whether the tables say the same now, with no fewer rights.</summary>
    private bool IsExplained(Mm mm, CachedTranslation cached)
    {
        Pfn table = mm.Root;
        Pte rights = Pte.Writable | Pte.User, noExecute = Pte.None;
        for (int level = PageTable.RootLevel; ; level--)
        {
            ulong entry = ((ulong*)system.Pages.Memory.Pointer(table))[PageTable.Index(cached.Address, level)];
            if ((entry & (ulong)Pte.Present) == 0)
                return false;
            rights &= (Pte)entry;
            noExecute |= (Pte)entry & Pte.NoExecute;
            table = PageTables.FrameOf(entry);
            bool leaf = level == 0 || (entry & (ulong)Pte.PageSize) != 0;
            if (cached.IsTable && level == cached.Level)
                return !leaf && table == cached.Frame;
            if (!leaf)
                continue;
            if (cached.IsTable || level < cached.Level)
                return false;
            ulong inside = (cached.Address & ((1UL << PageTable.Shift(level)) - 1)) >> Pfn.Shift;
            Pte allowed = rights | ((Pte)entry & Pte.Dirty);
            return table.Value + inside == cached.Frame.Value && (cached.Rights & (Pte.Writable | Pte.User | Pte.Dirty) & ~allowed) == 0
                && (noExecute == Pte.None || (cached.Rights & Pte.NoExecute) != 0);
        }
    }
}
