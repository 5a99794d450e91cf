using Emulator.Kernel;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 22.</summary>
internal sealed class NestedLock : Claim
{
    public override string Number => "22";

    public override string Name => "nested-lock";

    public override string Text => "taking the host's mmap lock inside the task's is a matter for lockdep only";

    public override string Source => "Anthony Yznaga, answering Kirill Shutemov, mshare RFC v3 thread, 2024";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "lockdep reports it, nothing waits for itself: a host never shares, so the order is always task, then host; with a class of its own for hosts' locks the report is gone";

    protected override Verdict Try(Evidence evidence)
    {
        int posted = Reports(evidence, "RFC v3 as posted: two sharers fault at once", MshareVariant.RfcV3);
        int corrected = Reports(evidence, "corrected: hosts' locks have a class of their own", MshareVariant.Corrected);
        Require(posted > 0, "lockdep does not see it");
        return Judge(corrected == 0);
    }

    private static int Reports(Evidence evidence, string title, MshareVariant variant)
    {
        int reports = 0;
        evidence.Stage(title, 3, stage =>
        {
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true);
            Region region = Region.Make(a, 4);
            region.Attach(b);
            for (int i = 0; i < 4; i++)
                Require(b.Write(Region.Page(i), 1) && a.Write(Region.Page(i), 2), "a fault is not served");
            stage.Evidence.Add("all faults are served: nobody waits for ever");
            // What a circle would need: a region inside a region.
            long inside = region.CreateMapping(a, Region.Start + 0x10_0000, 4096, fd: (uint)region.Open(a));
            stage.Evidence.Add($"mapping a region's file in a region: {Errors.Name(inside)}");
            Require(inside == -Errno.EINVAL, "a region can be mapped in a region");
            foreach (Violation violation in stage.Violations.Take())
            {
                reports++;
                stage.Evidence.Add($"lockdep: {violation.Rule}: {violation.Text}");
            }
            stage.Evidence.Count("lockdep.reports", (ulong)reports);
        }, options => options with { MshareVariant = variant });
        return reports;
    }
}
