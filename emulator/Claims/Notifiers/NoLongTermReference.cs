namespace Emulator.Claims.Notifiers;

/// <summary>Claim 18.</summary>
internal sealed class NoLongTermReference : Claim
{
    public override string Number => "18";

    public override string Name => "no-long-term-reference";

    public override string Text => "a secondary MMU like KVM's needs no long-term reference to the pages that it maps";

    public override string Source => "David Hildenbrand, mshare RFC v3 thread, 2024-10-07";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "as long as a fault that meets an invalidation begins again; without that check it installs a page that is freed";

    protected override Verdict Try(Evidence evidence)
    {
        Require(ShadowFaults.Between(evidence, "control: no check, unmapping during the fault", checks: false, keepsReference: false).Finding == Finding.Corrupt, "the race is not met");
        return Judge(ShadowFaults.Between(evidence, "check, unmapping during the fault", checks: true, keepsReference: false).Finding == Finding.Fault
            & ShadowFaults.During(evidence, "check, fault during the unmapping", checks: true, keepsReference: false).Finding == Finding.Fault);
    }
}
