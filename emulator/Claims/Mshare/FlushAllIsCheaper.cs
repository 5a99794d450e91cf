using Emulator.Hardware.Memory;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tasks;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 2. One page is unmapped for all; then everybody uses again what he used before. Simulated cycles of all of it, on 24 vCPUs.</summary>
internal sealed class FlushAllIsCheaper : Claim
{
    private const int Vcpus = 24, WorkingSet = 64;

    public override string Number => "2";

    public override string Name => "flush-all-is-cheaper";

    public override string Text => "flush_tlb_all might even be cheaper than finding out who has to be flushed";

    public override string Source => "Dave Hansen, mshare RFC v3 thread, 2024-10-02";

    public override Verdict Expected => Verdict.Partly;

    public override string Reason => "not if few share on a machine where others work, or the sharers sleep: every TLB is emptied for nothing. Yes against a loop over the sharers if they are many and run, since each costs a round of interrupts; but one interrupt to the sharers' processors alone is never dearer";

    protected override Verdict Try(Evidence evidence)
    {
        bool few = Cheaper(evidence, sharers: 2, running: true, workingSet: WorkingSet);
        bool asleep = Cheaper(evidence, sharers: Vcpus, running: false, workingSet: 2);
        bool many = Cheaper(evidence, sharers: Vcpus, running: true, workingSet: 2);
        return Judge(few || asleep, many);
    }

    private static bool Cheaper(Evidence evidence, int sharers, bool running, int workingSet)
    {
        ulong all = Cost(evidence, "flush-all", sharers, running, workingSet), loop = Cost(evidence, "per-sharer", sharers, running, workingSet);
        ulong exact = Cost(evidence, "exact-sharers", sharers, running, workingSet);
        Require(exact <= all, "one interrupt to the sharers' processors is dearer than one to all");
        return all < loop;
    }

    private static ulong Cost(Evidence evidence, string policy, int sharers, bool running, int workingSet)
    {
        ulong cycles = 0;
        evidence.Stage($"{policy}, {sharers} sharers{(running ? "" : " asleep")}, {Vcpus - sharers} strangers at work, {workingSet} pages each", Vcpus, stage =>
        {
            var actors = new (Actor Actor, ulong Own)[Vcpus];
            Region? region = null;
            for (int i = 0; i < Vcpus; i++)
            {
                Actor actor = stage.Enter(i < sharers ? $"sharer {i}" : $"stranger {i}", i, keepsRunning: running);
                ulong own = actor.Map(workingSet);
                actors[i] = (actor, own);
                if (i == 0)
                    region = Region.Make(actor, 2);
                else if (i < sharers)
                    region!.Attach(actor);
                actor.Do(task => Use(task, own, workingSet));
            }
            stage.ResetCounters();
            ulong before = stage.Cycles;
            region!.Remove(actors[0].Actor, 0);
            foreach ((Actor actor, ulong own) in actors)
                actor.Do(task => Use(task, own, workingSet));
            cycles = stage.Cycles - before;
            stage.Count(ShootdownCounter.IpisSent, ShootdownCounter.Collateral);
            stage.Evidence.Add($"{cycles:N0} simulated cycles");
        }, options => options with { FlushPolicy = policy });
        return cycles;
    }

    private static void Use(Task task, ulong at, int pages)
    {
        for (int i = 0; i < pages; i++)
            task.TryWrite(at + ((ulong)i << Pfn.Shift), (byte)1);
    }
}
