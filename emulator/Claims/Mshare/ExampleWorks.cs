using Emulator.Kernel.Mirrors.Mshare;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 30: the example as a C program (guests/mshare/letter.c).</summary>
internal sealed class ExampleWorks : Claim
{
    private const string Shared = "Some random shared text\n";

    public override string Number => "30";

    public override string Name => "example-works";

    public override string Text => "the example of the cover letter works";

    public override string Source => "cover letter of mshare RFC v3";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "twice not: atoi cannot hold 2^39 and gives 0; and a file opened O_RDONLY cannot be mapped PROT_WRITE and MAP_SHARED, -EACCES";

    protected override Verdict Try(Evidence evidence)
    {
        foreach (MshareVariant variant in (MshareVariant[])[MshareVariant.Corrected, MshareVariant.RfcV3])
            Require(Run(evidence, "with strtoul and O_RDWR", variant, "strtoul", "rdwr").Contains(Shared, StringComparison.Ordinal), "it does not even work with both mended");
        string literal = Run(evidence, "as it is", MshareVariant.RfcV3, "atoi", "rdonly");
        string consumer = Run(evidence, "with strtoul alone", MshareVariant.RfcV3, "strtoul", "rdonly");
        return Judge(literal.Contains(Shared, StringComparison.Ordinal), consumer.Contains(Shared, StringComparison.Ordinal));
    }

    private static string Run(Evidence evidence, string title, MshareVariant variant, params string[] arguments) =>
        GuestProgram.Run(evidence, $"{title}, {(variant == MshareVariant.RfcV3 ? "RFC v3 as posted" : "corrected")}", "letter.elf", arguments, options => options with { MshareVariant = variant });
}
