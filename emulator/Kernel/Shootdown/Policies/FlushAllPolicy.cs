using Emulator.Hardware.Smp;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>flush_tlb_all after the entry has changed.</summary>
/// <remarks>
/// Every vCPU serves it, whatever it does: running, lazy, or switching, since interrupts are served before or after a switch, never within.
/// Afterwards no slot of any vCPU has an entry, of tables neither, so that generations need not be raised; entries made later come from
/// the changed tables. No list of sharers is looked at, so none can be missed.
/// </remarks>
internal sealed class FlushAllPolicy : SharedFlushPolicy
{
    public override string Name => "flush-all";

    public override string Summary => "flush everything on every vCPU (flush_tlb_all)";

    public override string Source => "Dave Hansen, 2 October 2024, Re: [RFC PATCH v3 00/10] Add support for shared PTEs across processes: \"the quick and dirty thing to do\"";

    public override string Price => "an interrupt to every vCPU and the loss of every translation there, of unrelated programs and of the kernel, too; independent of sharers";

    public override string Limits => "flush_tlb_all itself tells no notifier: devices that walk the tables must be told beside it; after the frame is freed it is too late (after-free)";

    internal override bool ShouldDefer => true;

    internal override void Flush(in SharedFlush flush) => flush.Shootdown.FlushEverythingFor(flush);

    internal override bool AddToBatch(in SharedFlush flush, ref VcpuMask cpus) => true;
}
