using Emulator.Kernel;
using Emulator.Kernel.Shootdown;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 10, in both releases: the older one interrupts the processors of the mask, the newer one asks first whether they have the address space loaded.</summary>
internal sealed class HostCpumask : Claim
{
    public override string Number => "10";

    public override string Name => "host-cpumask";

    public override string Text => "flush_tlb_mm_range on the host works once mm_cpumask(host) says where sharers run";

    public override string Source => "Dave Hansen, mshare RFC v3 thread, 2024-10-02: \"somehow\", and flush_tlb_func would have to change, too";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "the host is nobody's loaded address space: 6.1 interrupts the processors, which return at once; 6.12 does not even interrupt them. With the change to flush_tlb_func that he asks for as well, it works";

    protected override Verdict Try(Evidence evidence)
    {
        Require(Works(evidence, "control: an interrupt that flushes whatever is loaded", KernelProfile.V6_12, taught: true), "even an interrupt to all of them does not help");
        Require(PolicyOnRegion.Missed(evidence, "host-cpumask").Length == 0, "it does not work with the change to flush_tlb_func either");
        bool now = Works(evidence, "Linux 6.12, mask exact", KernelProfile.V6_12, taught: false);
        bool before = Works(evidence, "Linux 6.1, mask exact", KernelProfile.V6_1, taught: false);
        bool region = PolicyOnRegion.Missed(evidence, "host-cpumask-untaught").Length == 0;
        return Judge(now || region, before);
    }

    private static bool Works(Evidence evidence, string title, KernelProfile profile, bool taught)
    {
        bool works = false;
        evidence.Stage(title, 3, stage =>
        {
            var tables = new LinkedTables(stage, 2);
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true), stranger = stage.Enter("stranger", 2);
            tables.Link(a);
            tables.Link(b);
            tables.Host.Context.Cpus.Add(tables.UnionMask());
            FrameTag before = tables.Tag(0);
            stage.ResetCounters();
            tables.Remove(b, 0, self =>
            {
                if (taught)
                    tables.InterruptLoaded(self, 0);
            });
            stage.Count(ShootdownCounter.IpisSent);
            Reuse.Take(stage, stranger, before);
            Sighting there = a.Read(LinkedTables.Address(0), before), here = b.Read(LinkedTables.Address(0), before);
            stage.Evidence.Add($"{there}");
            stage.Evidence.Add($"{here}");
            works = there.Finding == Finding.Fault && here.Finding == Finding.Fault;
            tables.End();
        }, options => options with { Profile = profile });
        return works;
    }
}
