using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Mirrors.Mshare;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 24.</summary>
internal sealed class PartsAreRefused : AbiClaim
{
    public override string Number => "24";

    public override string Name => "parts-are-refused";

    public override string Text => "unmapping, protecting or advising a part of a region's mapping is refused";

    public override string Source => "patch text of mshare RFC v3";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "may_split says -EINVAL to whatever would split the VMA; mprotect of the whole VMA splits nothing and is not refused, which is worse (claim 26)";

    protected override Verdict Try(Evidence evidence)
    {
        bool refused = false;
        OnVariant(evidence, "half of a mapping", MshareVariant.RfcV3, (stage, program) =>
        {
            Region.Make(program, 1);
            const ulong half = Region.Unit / 2;
            (string Call, long Result)[] calls =
            [
                ("munmap", program.Syscall(SystemCall.Munmap, Region.Start, half)),
                ("mprotect", program.Syscall(SystemCall.Mprotect, Region.Start, half, PROT_READ)),
                ("madvise(MADV_DONTFORK)", program.Syscall(SystemCall.Madvise, Region.Start, half, MADV_DONTFORK)),
                ("mremap", program.Syscall(SystemCall.Mremap, Region.Start, Region.Unit, half, 0)),
            ];
            foreach ((string call, long result) in calls)
                stage.Evidence.Add($"{call}: {Errors.Name(result)}");
            refused = Array.TrueForAll(calls, static c => c.Result == -Errno.EINVAL);
            long whole = program.Syscall(SystemCall.Mprotect, Region.Start, Region.Unit, PROT_READ);
            stage.Evidence.Add($"mprotect of the whole: {Errors.Name(whole)}");
            Require(whole == 0, "mprotect of the whole is refused as well");
        });
        return Judge(refused);
    }
}

/// <summary>Claim 25.</summary>
internal sealed class ContainerIsProtected : AbiClaim
{
    public override string Number => "25";

    public override string Name => "container-is-protected";

    public override string Text => "a process that maps a region read-only cannot write to it";

    public override string Source => "implied by the design of mshare RFC v3; the author discusses where the check belongs";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "the container's protection is looked at by faults only, and once tables are linked and a page is present there is none: the processor sees the shared entry alone. Corrected, the link itself withholds the right";

    protected override Verdict Try(Evidence evidence)
    {
        Require(!CanWrite(evidence, MshareVariant.Corrected), "it can write with the corrected interface as well");
        return Judge(!CanWrite(evidence, MshareVariant.RfcV3));
    }

    private static bool CanWrite(Evidence evidence, MshareVariant variant)
    {
        bool wrote = false;
        OnVariant(evidence, "B maps read-only, A has written to the page", variant, (stage, a) =>
        {
            Region region = Region.Make(a, 1);
            Actor b = stage.Enter("B", 1);
            region.Attach(b, PROT_READ);
            stage.Evidence.Add($"{b.Read(Region.Page(0))}");
            wrote = b.Write(Region.Page(0), 66);
            stage.Evidence.Add($"B writes: {(wrote ? "succeeds" : "SIGSEGV")}");
            Sighting seen = a.Read(Region.Page(0));
            stage.Evidence.Add($"{seen}");
            Require(seen.Value == (wrote ? 66 : 1), "what B wrote went elsewhere");
        });
        return wrote;
    }
}

/// <summary>Claim 26.</summary>
internal sealed unsafe class ProtectionIsPrivate : AbiClaim
{
    public override string Number => "26";

    public override string Name => "protection-is-private";

    public override string Text => "mprotect of a region's mapping concerns the caller alone";

    public override string Source => "implied by the design of mshare RFC v3";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "it changes the shared entries and flushes the caller's processors only: others go on by what their TLBs have, and then fault; and their fault, for which the host's mapping allows all, gives the caller back what it gave up. Corrected, mprotect makes the caller's link anew";

    protected override Verdict Try(Evidence evidence)
    {
        Require(IsPrivate(evidence, MshareVariant.Corrected), "it concerns others with the corrected interface as well");
        return Judge(IsPrivate(evidence, MshareVariant.RfcV3));
    }

    private static bool IsPrivate(Evidence evidence, MshareVariant variant)
    {
        bool isPrivate = false;
        OnVariant(evidence, "A protects the whole mapping from all access", variant, (stage, a) =>
        {
            Region region = Region.Make(a, 1);
            Actor b = stage.Enter("B", 1, keepsRunning: true);
            region.Attach(b);
            FrameTag before = Memory.Tag(stage, b.Mm, Region.Start);
            long result = a.Syscall(SystemCall.Mprotect, Region.Start, Region.Unit, PROT_NONE);
            Require(result == 0, $"mprotect fails: {Errors.Name(result)}");
            Sighting own = a.Read(Region.Start, before), warm = b.Read(Region.Start, before);
            stage.Evidence.Add($"{own}");
            stage.Evidence.Add($"{warm}");
            b.Do(static task => Mmu.FlushAll(task.Vcpu!.State, includingGlobals: false));
            bool faults = !b.Mm.TryWalk(Region.Start, write: false, out _);
            Sighting cold = b.Read(Region.Start, before), again = a.Read(Region.Start, before);
            stage.Evidence.Add($"with an empty TLB, {(faults ? "after a fault, " : "")}{cold}");
            stage.Evidence.Add($"{again}");
            Require(own.Finding == Finding.Fault, "the caller can read on");
            isPrivate = warm.Finding == Finding.Coherent && !faults && again.Finding == Finding.Fault;
        });
        return isPrivate;
    }
}
