namespace Emulator.Claims.Mshare;

/// <summary>Claim 9.</summary>
internal sealed class BatchFlushIsPerfect : Claim
{
    public override string Number => "9";

    public override string Name => "batch-flush-is-perfect";

    public override string Text => "flushing as arch_tlbbatch_flush does, with the union of the cpumasks and no address space named, is all that is needed";

    public override string Source => "Anthony Yznaga, mshare RFC v3 thread, 2024";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "such a request does nothing on a processor whose loaded address space is up to date; arch_tlbbatch_add_pending has raised the generation before, and so must this: with it, the claim is true";

    protected override Verdict Try(Evidence evidence)
    {
        string missed = UnionMaskRequests.Missed(evidence, "with inc_mm_tlb_gen on each sharer first", static (tables, self) =>
        {
            tables.RaiseGenerations();
            tables.Request(self, null, 0, 0);
        });
        Require(missed.Length == 0, $"even with generations raised it misses {missed}");
        Require(PolicyOnRegion.Missed(evidence, "batched").Length == 0, "the policy with generations misses a sharer");
        string region = PolicyOnRegion.Missed(evidence, "batched-no-bump");
        return Judge(region.Length == 0, UnionMaskRequests.Missed(evidence, "as said", static (tables, self) => tables.Request(self, null, 0, 0)).Length == 0);
    }
}
