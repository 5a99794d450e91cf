using Emulator.Kernel.Mirrors.Mshare;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 34: a program fills all memory through a region (guests/mshare/immune.c).</summary>
internal sealed class ImmuneToOom : Claim
{
    public override string Number => "34";

    public override string Name => "immune-to-oom";

    public override string Text => "the region's address space has no task, so the OOM killer does not see it";

    public override string Source => "Kirill Shutemov, mshare RFC v3 thread, 2024; David Hildenbrand recalls that LSF/MM wanted an owner";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "nobody's score counts the region, so the wrong process is killed first; killing the one who filled it gives nothing back either, as long as the file exists. Corrected, a region has an owner, whose score it is part of and with whom it goes";

    protected override Verdict Try(Evidence evidence)
    {
        (bool bystander, bool comesBack) = Run(evidence, MshareVariant.Corrected);
        Require(!bystander && comesBack, "it is immune with the corrected interface as well");
        (bystander, comesBack) = Run(evidence, MshareVariant.RfcV3);
        return Judge(bystander, !comesBack);
    }

    private static (bool Bystander, bool ComesBack) Run(Evidence evidence, MshareVariant variant)
    {
        string output = GuestProgram.Run(evidence, variant == MshareVariant.RfcV3 ? "RFC v3 as posted" : "corrected", "immune.elf", [],
            options => options with { MshareVariant = variant, MemoryBytes = 32 << 20 });
        Require(output.Contains("filler ends by signal 9", StringComparison.Ordinal), "memory does not run out");
        Require(output.Contains("when the file goes: 1", StringComparison.Ordinal), "the memory never comes back");
        return (output.Contains("bystander is killed: 1", StringComparison.Ordinal), output.Contains("memory comes back: 1", StringComparison.Ordinal));
    }
}
