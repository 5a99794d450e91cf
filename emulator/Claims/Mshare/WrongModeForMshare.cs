using Emulator.Claims.Notifiers;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 12: A reads a page that nobody changes, while another page of the region is unmapped.</summary>
internal sealed unsafe class WrongModeForMshare : Claim
{
    private const int Innocent = 5;

    public override string Number => "12";

    public override string Name => "wrong-mode-for-mshare";

    public override string Text => "start/end notifiers are the wrong mode for mshare: to remove one page, the whole table would be unmapped for the sharers";

    public override string Source => "Jann Horn, mshare RFC v3 thread, 2024-10-14";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "it is correct, but from the start of a change to its end every access of every sharer under the same top-level entry faults, and waits";

    protected override Verdict Try(Evidence evidence)
    {
        Require(!Faults(evidence, "exact-sharers"), "the innocent page faults anyway");
        return Judge(Faults(evidence, "range-unlink"));
    }

    private static bool Faults(Evidence evidence, string policy)
    {
        bool faults = false;
        evidence.Stage(policy, 3, stage =>
        {
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1), stranger = stage.Enter("stranger", 2);
            Region region = Region.Make(a, 8);
            region.Attach(b);
            Mm host = region.Host(b);
            FrameTag before = Memory.Tag(stage, a.Mm, Region.Start);
            a.Read(Region.Page(Innocent));
            int windows = 0;
            var probe = new Probe
            {
                End = (_, _) =>
                {
                    windows++;
                    faults |= a.Ask(static task => !Mmu.Translate(task.Vcpu!.State, Region.Page(Innocent), Access.Read, user: true, out _));
                },
            };
            b.Do(task => probe.Register(task, host));
            stage.ResetCounters();
            long served = a.Thread.Task.Faults;
            region.Remove(b, 0);
            Require(windows == 1, "the change is not announced");
            stage.Evidence.Add($"before the end of the change, A's access to another page {(faults ? "faults" : "needs no fault")}");
            Sighting innocent = a.Read(Region.Page(Innocent)), removed = a.Read(Region.Start, before);
            stage.Evidence.Add($"afterwards {innocent}");
            stage.Evidence.Add($"afterwards {removed}");
            stage.Count(ShootdownCounter.LinksCut);
            stage.Evidence.Count("faults.of_a", (ulong)(a.Thread.Task.Faults - served));
            Require(innocent.Finding == Finding.Coherent && removed.Finding == Finding.Fault, "the policy is not even correct");
            Reuse.Take(stage, stranger, before);
            b.Do(probe.Unregister);
        }, options => options with { FlushPolicy = policy });
        return faults;
    }
}
