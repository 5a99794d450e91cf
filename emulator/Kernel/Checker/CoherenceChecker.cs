using System.Globalization;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Checker;

/// <summary>
/// Looks over every vCPU's shoulder: a cached translation whose frame has been freed since, and a walk through a table page that has been
/// freed, are corruption, whether or not the frame has a new owner yet. A translation that is merely older than its entry is not: until the
/// flush that is owed for it, that is Linux's own order.
/// </summary>
/// <remarks>
/// A stamp is the low bits of the frame's generation. A frame that was freed just 2048 times between is taken for the old one.
/// </remarks>
internal sealed class CoherenceChecker
{
    private readonly PageAllocator _pages;
    private readonly Action<Task?, string, string> _report;

    /// <param name="pages">The frames to watch; the checker records their history from now on.</param>
    /// <param name="vcpus">Whose translations are judged.</param>
    /// <param name="report">Where findings go.</param>
    public CoherenceChecker(PageAllocator pages, IReadOnlyList<Vcpu> vcpus, Action<Task?, string, string> report)
    {
        _pages = pages;
        _report = report;
        pages.History = History = new FrameHistory(vcpus[0].Platform.InterProcessor);
        foreach (Vcpu vcpu in vcpus)
            vcpu.Witness = new Witness(this, vcpu);
    }

    public FrameHistory History { get; }

    private uint Stamp(Pfn frame) => _pages[frame].Generation & ((1u << TranslationWitness.StampBits) - 1);

    private bool IsFree(Pfn frame) => (_pages[frame].Flags & PageFlags.Free) != 0;

    private sealed unsafe class Witness(CoherenceChecker checker, Vcpu vcpu) : TranslationWitness
    {
        public override uint Stamp(Pfn frame) => checker.Stamp(frame);

        public override void OnUse(ulong address, Access access, Pfn page, Pfn frame, uint stamp)
        {
            if (checker.Stamp(page) == stamp && !checker.IsFree(frame))
                return;
            string verb = access switch { Access.Write => "writes", Access.Execute => "executes", _ => "reads" };
            Report("stale translation used", $"vCPU {vcpu.Id} {verb} 0x{address:x} through a translation of frame 0x{frame.Value:x} that was cached before the frame was freed", frame);
        }

        public override void OnWalk(ulong address, int level, Pfn table, uint? stamp)
        {
            bool isTable = (checker._pages[table].Flags & (PageFlags.Table | PageFlags.Free)) == PageFlags.Table;
            if (isTable && (stamp is null || stamp == checker.Stamp(table)))
                return;
            string cached = stamp is null ? "" : ", which the paging-structure cache still knows";
            Report("freed page table walked", $"vCPU {vcpu.Id} translates 0x{address:x} by a table of level {level} in frame 0x{table.Value:x}{cached}, after the table was freed", table);
        }

        private void Report(string rule, string text, Pfn frame) => checker._report(vcpu.Occupant as Task, rule, string.Create(CultureInfo.InvariantCulture,
            $"{text}; rip 0x{vcpu.State->Registers.Rip:x}\nframe 0x{frame.Value:x}, oldest event first:\n{checker.History.Describe(frame)}"));
    }
}
