namespace Emulator.Kernel.Shootdown.Policies;

/// <summary><see cref="BatchedPolicy"/> as it was proposed: the interrupts arrive, and find no generation raised.</summary>
internal sealed class BatchedNoBumpPolicy : BatchedPolicy
{
    public override string Name => "batched-no-bump";

    public override bool IsSound => false;

    public override string Summary => "broken: arch_tlbbatch_flush to the union of masks, without raising generations";

    public override string Source => "Anthony Yznaga, 3 October 2024, same thread: \"that seems perfect\"";

    public override string Price => "an interrupt for each vCPU of the union, in vain";

    public override string Limits => "flush_tlb_func compares generations also when no address space is named: nothing is flushed";

    private protected override void Raise(in SharedFlush flush, MmContext sharer)
    {
    }
}
