using Emulator.Kernel.Mirrors.Mshare;

namespace Emulator.Claims.Mshare;

/// <summary>A claim about what system calls return, tried on RFC v3 as it was posted and on the corrected interface.</summary>
internal abstract class AbiClaim : Claim
{
    /// <summary>Runs a case with one actor on a machine of the variant. RFC v3 breaks lockdep's rules at every fault (claim 22), so it runs without.</summary>
    protected static void OnVariant(Evidence evidence, string title, MshareVariant variant, Action<Stage, Actor> body) =>
        evidence.Stage($"{title}, {(variant == MshareVariant.RfcV3 ? "RFC v3 as posted" : "corrected")}", 2, stage => body(stage, stage.Enter("A", 0)),
            options => options with { MshareVariant = variant, LockDep = variant == MshareVariant.Corrected });
}
