namespace Emulator.Claims.Mshare;

/// <summary>Claim 4.</summary>
internal sealed class NextSwitchFlushes : Claim
{
    public override string Number => "4";

    public override string Name => "next-switch-flushes";

    public override string Text => "an address space that is not loaded is flushed anyway at its next context switch";

    public override string Source => "Dave Hansen, mshare RFC v3 thread, 2024-10-02";

    public override Verdict Expected => Verdict.Partly;

    public override string Reason => "switch_mm flushes if the generation of that very address space was raised; a flush of the host raises the host's";

    protected override Verdict Try(Evidence evidence)
    {
        Sighting raised = SwitchedOut.Try(evidence, "inc_mm_tlb_gen(A)", switchedOut: true, static (_, a, _) => a.Mm.Context.RaiseGeneration());
        Sighting kept = SwitchedOut.Try(evidence, "A's generation stays", switchedOut: true, static (_, _, _) => { });
        return Judge(raised.Finding == Finding.Fault, kept.Finding == Finding.Fault);
    }
}
