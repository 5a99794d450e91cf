namespace Emulator.Claims.Mshare;

/// <summary>Claim 8.</summary>
internal sealed class UnionNeedsNewType : Claim
{
    public override string Number => "8";

    public override string Name => "union-needs-new-type";

    public override string Text => "one flush_tlb_multi to the union of the sharers' cpumasks needs a new type of flush request";

    public override string Source => "Dave Hansen, mshare RFC v3 thread, 2024-10-02";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "flush_tlb_func returns when the request names another address space than the loaded one, and when the loaded one's generation was not raised";

    protected override Verdict Try(Evidence evidence)
    {
        string none = UnionMaskRequests.Missed(evidence, "control: any address space, and every sharer's generation raised", static (tables, self) =>
        {
            tables.RaiseGenerations();
            tables.Request(self, null, 0, 0);
        });
        Require(none.Length == 0, $"even the right request misses {none}");
        string host = UnionMaskRequests.Missed(evidence, "a request that names the host", static (tables, self) => tables.Request(self, tables.Host, 0, tables.Host.Context.Generation));
        string one = UnionMaskRequests.Missed(evidence, "a request that names sharer A, whose generation it raised", static (tables, self) =>
            tables.Request(self, tables.Sharers[0].Mm, 0, tables.Sharers[0].Mm.Context.RaiseGeneration()));
        string any = UnionMaskRequests.Missed(evidence, "a request that names nobody", static (tables, self) => tables.Request(self, null, 0, 0));
        Require(one.Length < host.Length, "naming a sharer does not even help that one");
        Require(PolicyOnRegion.Missed(evidence, "union-mask").Length == 0, "the policy with the new type misses a sharer");
        return Judge(host.Length > 0 && one.Length > 0 && any.Length > 0);
    }
}
