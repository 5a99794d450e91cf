using Emulator.Hardware.Memory;
using Emulator.Kernel.Shootdown;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 5.</summary>
internal sealed class HostFlushIsLocal : Claim
{
    public override string Number => "5";

    public override string Name => "host-flush-is-local";

    public override string Text => "flush_tlb_mm_range on the host address space flushes only the local processor";

    public override string Source => "Anthony Yznaga, mshare patches of 2025; the cover letter of 2024 says that flushes do not go where sharers have run";

    public override Verdict Expected => Verdict.Partly;

    public override string Reason => "no other processor is told, that is true; but the local one is not flushed either, for nobody has ever loaded the host: only its generation and its notifiers hear of it";

    protected override Verdict Try(Evidence evidence)
    {
        bool local = false, remote = false;
        evidence.Stage("the initiator is a sharer itself", 3, stage =>
        {
            var tables = new LinkedTables(stage, 2);
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true), stranger = stage.Enter("stranger", 2);
            tables.Link(a);
            tables.Link(b);
            FrameTag before = tables.Tag(0);
            ulong generation = tables.Host.Context.Generation;
            int told = 0;
            stage.ResetCounters();
            tables.Remove(b, 0, _ => told++);
            stage.Count(ShootdownCounter.IpisSent, ShootdownCounter.PageFlushes, ShootdownCounter.FullFlushes);
            stage.Evidence.Add($"B, on vCPU 1, unmaps the page in the host; the host's generation goes from {generation} to {tables.Host.Context.Generation}, its notifier is called {told} times");
            Reuse.Take(stage, stranger, before);
            Sighting there = a.Read(LinkedTables.Address(0), before), here = b.Read(LinkedTables.Address(0), before);
            stage.Evidence.Add($"{there}");
            stage.Evidence.Add($"{here}");
            (remote, local) = (there.Finding == Finding.Fault, here.Finding == Finding.Fault);
            Require(told == 1 && tables.Host.Context.Generation == generation + 1, "the flush did not take place at all");
            tables.End();
        });
        evidence.Stage("control: memory of an address space that is loaded", 2, stage =>
        {
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true, mm: a.Mm);
            ulong at = a.Map(2);
            a.Write(at, 1);
            Require(b.Read(at).Finding == Finding.Coherent, "B cannot read");
            stage.ResetCounters();
            a.Do(task => task.Mm.Munmap(task, at, Pfn.Size));
            stage.Count(ShootdownCounter.IpisSent);
            Sighting there = b.Read(at), here = a.Read(at);
            stage.Evidence.Add($"{there}");
            stage.Evidence.Add($"{here}");
            Require(there.Finding == Finding.Fault && here.Finding == Finding.Fault, "an ordinary flush does not reach both");
        });
        string missed = PolicyOnRegion.Missed(evidence, "host-mm-only");
        Require(missed == "ABC", $"the policy that flushes the host alone misses {missed}, not everybody");
        // The claim has two halves: it reaches the local processor, and no other one.
        return Judge(!remote, local);
    }
}
