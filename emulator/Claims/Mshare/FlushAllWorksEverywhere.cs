using Emulator.Claims.Notifiers;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 1. Where a flush of everything stands, and who hears of it.</summary>
internal sealed class FlushAllWorksEverywhere : Claim
{
    /// <summary>More pages than a gather holds, so that the first are freed early.</summary>
    private const int Many = 10_500;

    public override string Number => "1";

    public override string Name => "flush-all-works-everywhere";

    public override string Text => "flush_tlb_all after removing the host's entry will surely work everywhere";

    public override string Source => "Dave Hansen, mshare RFC v3 thread, 2024-10-02";

    public override Verdict Expected => Verdict.Partly;

    public override string Reason => "for the processors it does, between the clearing of the entry and the freeing of the page. It calls no notifier, so the secondary MMUs of sharers keep the page; and called from range_end it comes after pages that a full gather has freed, if nobody but the entry owns them (shmem objects, all that RFC v3 maps, stay in their page cache until after the end)";

    protected override Verdict Try(Evidence evidence)
    {
        (bool processors, bool device) = BeforeFreeing(evidence, "between clearing and freeing", flush: true);
        (bool none, _) = BeforeFreeing(evidence, "control: no flush", flush: false);
        Require(!none, "the processors are right without any flush");
        bool late = AtTheEnd(evidence);
        bool region = PolicyOnRegion.Missed(evidence, "flush-all").Length == 0;
        return Judge(processors && region, device && late);
    }

    private static (bool Processors, bool Device) BeforeFreeing(Evidence evidence, string title, bool flush)
    {
        bool processors = false, coherent = false;
        evidence.Stage(title, 4, stage =>
        {
            var tables = new LinkedTables(stage, 2);
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true);
            Actor c = stage.Enter("C", 2), other = stage.Enter("other", 2), stranger = stage.Enter("stranger", 3);
            foreach (Actor sharer in (Actor[])[a, b, c])
                tables.Link(sharer);
            other.Map(1); // C is switched out.
            var device = new WalkerDevice(stage.Machine, a.Mm, MmuNotifierOps.ArchInvalidateSecondaryTlbs);
            a.Do(task => device.Register(task, task.Mm));
            Require(device.Read(LinkedTables.Start).Finding == Finding.Coherent, "the device cannot read");
            FrameTag before = tables.Tag(0);
            stage.ResetCounters();
            tables.Remove(b, 0, self =>
            {
                if (flush)
                    stage.Machine.MemorySystem.Shootdown.FlushEverything(self);
            });
            stage.Count();
            Reuse.Take(stage, stranger, before);
            Sighting[] seen = [.. tables.Sharers.Select(s => s.Read(LinkedTables.Start, before))];
            DeviceRead read = device.Read(LinkedTables.Start);
            foreach (Sighting one in seen)
                stage.Evidence.Add($"{one}");
            stage.Evidence.Add($"A's {read}, and reads {read.Value}");
            processors = Array.TrueForAll(seen, static s => s.Finding == Finding.Fault);
            coherent = read.Finding == Finding.Fault;
            a.Do(device.Unregister);
            tables.End();
        });
        return (processors, coherent);
    }

    private static bool AtTheEnd(Evidence evidence)
    {
        bool right = false;
        evidence.Stage("called at range_end, 10,500 pages of private memory", 3, stage =>
        {
            var tables = new LinkedTables(stage, Many, privately: true);
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true), stranger = stage.Enter("stranger", 2);
            tables.Link(a);
            tables.Link(b);
            FrameTag before = tables.Tag(0);
            var flusher = new Probe { End = (task, _) => stage.Machine.MemorySystem.Shootdown.FlushEverything(task!.Vcpu) };
            var earlier = new Probe
            {
                End = (_, _) =>
                {
                    Reuse.Take(stage, stranger, before);
                    Sighting seen = a.Read(LinkedTables.Start, before);
                    right = seen.Finding == Finding.Fault;
                    stage.Evidence.Add($"at the end, before it flushes: {seen}");
                },
            };
            b.Do(task =>
            {
                flusher.Register(task, tables.Host);
                earlier.Register(task, tables.Host); // The last registered is told first.
                tables.Host.Munmap(task, LinkedTables.Start, (ulong)Many << Pfn.Shift);
                earlier.Unregister(task);
                flusher.Unregister(task);
            });
            Sighting after = a.Read(LinkedTables.Start, before);
            stage.Evidence.Add($"afterwards: {after}");
            Require(after.Finding == Finding.Fault, "the flush does not work at all");
            tables.End();
        });
        return right;
    }
}
