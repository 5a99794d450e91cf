namespace Emulator.Claims.Notifiers;

/// <summary>Claim 17, on a shadow that works as KVM does; no guest of KVM is needed for it.</summary>
internal sealed class ExtraReference : Claim
{
    public override string Number => "17";

    public override string Name => "saved-by-a-reference";

    public override string Text => "KVM survives that it is told before a page goes because it takes an extra reference to the page";

    public override string Source => "Dave Hansen (\"I think\"), mshare RFC v3 thread, 2024-10-02";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "the reference is dropped as soon as the entry is installed; what saves it is the count of invalidations under way and the sequence number, without which even a reference that is kept leaves it with a page that is nobody's any more";

    protected override Verdict Try(Evidence evidence)
    {
        bool WithoutReference(bool checks, string title) =>
            ShadowFaults.During(evidence, $"fault during the unmapping, {title}", checks, keepsReference: false).Finding == Finding.Fault
            & ShadowFaults.Between(evidence, $"unmapping during the fault, {title}", checks, keepsReference: false).Finding == Finding.Fault;
        Require(!WithoutReference(checks: false, "neither check nor reference"), "nothing goes wrong without either");
        bool check = WithoutReference(checks: true, "check, no reference");
        bool reference = ShadowFaults.During(evidence, "fault during the unmapping, reference, no check", checks: false, keepsReference: true).Finding == Finding.Fault;
        return Judge(reference && !check);
    }
}
