using System.Collections.Immutable;
using Emulator.Claims.Notifiers;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 11: everything that changes entries of the host, with and without the notifier; one sharer runs, and one is switched out.</summary>
internal sealed class NotifierOnTheHost : Claim
{
    private const int Many = 10_500;

    public override string Number => "11";

    public override string Name => "notifier-on-the-host";

    public override string Text => "a notifier on the host whose arch_invalidate_secondary_tlbs flushes all processors makes sure that they are flushed before pages are freed";

    public override string Source => "Jann Horn and Anthony Yznaga, mshare RFC v3 thread, 2024, and patches of 2025";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "it is called at the flush itself, wherever the host is flushed, and never sleeps, so it may be called under the page-table lock";

    private sealed record Change(string Name, int Pages, bool Privately, Action<Stage, Task, Mm> Make);

    private static readonly ImmutableArray<Change> Changes =
    [
        new("munmap of a page", 2, false, static (_, task, host) => host.Munmap(task, LinkedTables.Start, Pfn.Size)),
        new("munmap of 10,500 private pages, the first freed early", Many, true, static (_, task, host) => host.Munmap(task, LinkedTables.Start, (ulong)Many << Pfn.Shift)),
        new("hole punched into the object", 2, false, static (_, task, host) => host.Madvise(task, LinkedTables.Start, Pfn.Size, MADV_REMOVE)),
        new("MADV_DONTNEED", 2, false, static (_, task, host) => host.Madvise(task, LinkedTables.Start, Pfn.Size, MADV_DONTNEED)),
        new("mprotect to PROT_NONE", 2, false, static (_, task, host) => host.Mprotect(task, LinkedTables.Start, Pfn.Size, PROT_NONE)),
        new("mremap to another place", 2, false, static (_, task, host) => host.Mremap(task, LinkedTables.Start, Pfn.Size, Pfn.Size, MREMAP_MAYMOVE | MREMAP_FIXED, LinkedTables.Address(100))),
        new("migration", 2, false, static (stage, task, host) => Take(task, host, frames => stage.Machine.MemorySystem.Migration.MigratePages(task, frames, new int[1], MigrateReason.Compaction))),
        new("reclaim", 2, false, static (stage, task, host) => Take(task, host, frames => stage.Machine.MemorySystem.Reclaim.Reclaim(task, frames))),
    ];

    protected override Verdict Try(Evidence evidence)
    {
        var missed = new List<string>();
        foreach (Change change in Changes)
        {
            Require(!IsRight(evidence, $"control, no notifier: {change.Name}", change, static (_, _) => { }), $"{change.Name} needs no flush");
            if (!IsRight(evidence, change.Name, change, static (stage, self) => stage.Machine.MemorySystem.Shootdown.FlushEverything(self)))
                missed.Add(change.Name);
        }
        Require(PolicyOnRegion.Missed(evidence, "none").Length > 0, "msharefs needs no flush");
        return Judge(missed.Count == 0 && PolicyOnRegion.Missed(evidence, "notifier-flush-all").Length == 0);
    }

    private static bool IsRight(Evidence evidence, string title, Change change, Action<Stage, Vcpu> flush)
    {
        bool right = true;
        evidence.Stage(title, 3, stage =>
        {
            var tables = new LinkedTables(stage, change.Pages, change.Privately);
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1), other = stage.Enter("other", 1), initiator = stage.Enter("initiator", 2);
            tables.Link(a);
            tables.Link(b);
            other.Map(1); // B is switched out.
            FrameTag before = tables.Tag(0);
            int flushes = 0;
            var notifier = new Probe
            {
                Flush = (task, _, _) =>
                {
                    flushes++;
                    flush(stage, task!.Vcpu!);
                },
            };
            initiator.Do(task =>
            {
                notifier.Register(task, tables.Host);
                change.Make(stage, task, tables.Host);
                notifier.Unregister(task);
            });
            foreach (Actor sharer in tables.Sharers)
            {
                Sighting seen = sharer.Read(LinkedTables.Start, before);
                stage.Evidence.Add($"{seen}");
                right &= seen.Finding is Finding.Fault or Finding.Coherent;
            }
            stage.Evidence.Count("notifier.calls", (ulong)flushes);
            tables.End();
        }, static options => options with { SwapBytes = 16 << 20 });
        return right;
    }

    private static void Take(Task task, Mm host, Action<Pfn[]> use)
    {
        var frames = new Pfn[1];
        Require(host.GetUserPages(task, LinkedTables.Start, FollFlags.None, frames) == 1, "the page cannot be taken");
        use(frames);
    }
}
