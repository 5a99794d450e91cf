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
/// <remarks>In bounds: it reads what TLBs hold and walks tables as the processor does, which refuses frames that do not exist.</remarks>
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
            if (spaces.TryGetValue(slot.ContextId, out Mm? mm) && slot.Generation == mm.Context.Generation && !slot.IsBehind(mm.Context.Links)
                && !LiveTables.Agree(system.Pages.Memory, mm.Root, entry, LiveTables.AllRights, out _))
                Report($"vCPU {vcpu.Id} has {mm.Context.Id}:{entry.Address:x} as {(entry.IsTable ? "table" : "page")} of level {entry.Level} in {entry.Frame} ({entry.Rights}), and no flush is owed");
        }
    }
}
