namespace Emulator.Claims.Mshare;

/// <summary>Claim 3.</summary>
internal sealed class PcidsDoNotMatter : Claim
{
    public override string Number => "3";

    public override string Name => "pcids-do-not-matter";

    public override string Text => "PCIDs do not complicate the flushing of sharers' TLBs";

    public override string Source => "Dave Hansen, mshare RFC v3 thread, 2024-10-02";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "a sharer that is switched out keeps its entries under its PCID, and CR3 is loaded with the no-flush bit when it comes back";

    protected override Verdict Try(Evidence evidence)
    {
        Sighting loaded = SwitchedOut.Try(evidence, "A stays on its vCPU; only loaded sharers are interrupted", switchedOut: false, (tables, _, self) => tables.InterruptLoaded(self, 0));
        Require(loaded.Finding == Finding.Fault, "the interrupt does not even reach a sharer that is loaded");
        Sighting raised = SwitchedOut.Try(evidence, "A is switched out; its generation is raised, too", switchedOut: true, (tables, a, self) =>
        {
            a.Mm.Context.RaiseGeneration();
            tables.InterruptLoaded(self, 0);
        });
        Require(raised.Finding == Finding.Fault, "raising the generation does not help");
        Sighting kept = SwitchedOut.Try(evidence, "A is switched out; only loaded sharers are interrupted", switchedOut: true, (tables, _, self) => tables.InterruptLoaded(self, 0));
        Require(PolicyOnRegion.Missed(evidence, "exact-sharers").Length == 0, "the sound policy misses a sharer");
        string missed = PolicyOnRegion.Missed(evidence, "loaded-only");
        return Judge(kept.Finding != Finding.Corrupt, !missed.Contains('C', StringComparison.Ordinal));
    }
}
