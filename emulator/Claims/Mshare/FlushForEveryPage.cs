using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 7. Reclaim takes 256 pages: of a process, and of a host address space whose notifier flushes every TLB.</summary>
internal sealed class FlushForEveryPage : Claim
{
    private const int Pages = 256;

    public override string Number => "7";

    public override string Name => "a-flush-for-every-page";

    public override string Text => "with a notifier on the host that calls flush_tlb_all, reclaim of N shared pages costs N flushes of every TLB, where ordinary memory costs one for a batch";

    public override string Source => "derived from the proposal of the notifier, mshare RFC v3 thread and patches of 2025";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "no processor is in the host's cpumask, so arch_tlbbatch_should_defer says no, and every page is flushed on every processor by itself";

    protected override Verdict Try(Evidence evidence)
    {
        ulong ordinary = 0, shared = 0;
        evidence.Stage("memory of a process that runs on vCPU 0", 2, stage =>
        {
            Actor a = stage.Enter("A", 0, keepsRunning: true);
            ulong at = a.Map(Pages, flags: MAP_SHARED | MAP_ANONYMOUS);
            a.Do(task => Touch(task, at));
            stage.ResetCounters();
            Reclaim(stage, a.Mm, at);
            ordinary = stage.Since(ShootdownCounter.BatchFlushes);
            stage.Evidence.Add($"{Pages} pages reclaimed with {ordinary} flushes");
            stage.Count();
        }, static options => options with { SwapBytes = 64 << 20 });
        evidence.Stage("memory of the host, with a sharer on vCPU 0", 2, stage =>
        {
            var tables = new LinkedTables(stage, Pages);
            Actor a = stage.Enter("A", 0, keepsRunning: true);
            tables.Link(a);
            var notifier = new Notifiers.Probe
            {
                Flush = (task, _, _) =>
                {
                    stage.Machine.MemorySystem.Shootdown.FlushEverything(task!.Vcpu);
                    shared++;
                },
            };
            notifier.Register(stage.Task, tables.Host);
            stage.ResetCounters();
            Reclaim(stage, tables.Host, LinkedTables.Start);
            stage.Evidence.Add($"{Pages} pages reclaimed with {shared} flushes, each of which interrupts every vCPU");
            stage.Count();
            notifier.Unregister(stage.Task);
            tables.End();
        }, static options => options with { SwapBytes = 64 << 20 });
        (ulong everybody, _) = OnRegion(evidence, "notifier-flush-all");
        (ulong each, ulong batches) = OnRegion(evidence, "batched");
        Require(everybody == Pages && each == 0 && batches is > 0 and < Pages / 8, "msharefs does not show the same");
        Require(ordinary is > 0 and < Pages / 8, "reclaim does not batch ordinary memory either");
        Require(shared > 0, "reclaim does not flush the host at all");
        return Judge(shared == Pages);
    }

    /// <summary>Reclaims pages of a region of msharefs: flushes for single pages, and for batches of them.</summary>
    private static (ulong Each, ulong Batches) OnRegion(Evidence evidence, string policy)
    {
        (ulong, ulong) counted = default;
        evidence.Stage($"msharefs with --flush {policy}, two sharers", 3, stage =>
        {
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true);
            Region region = Region.Make(a, 0);
            Require(region.CreateMapping(a, Region.Start, Pages << Pfn.Shift) == 0, "nothing can be mapped in the region");
            a.Do(static task => Touch(task, Region.Start));
            region.Attach(b);
            stage.ResetCounters();
            Reclaim(stage, region.Host(a), Region.Start);
            counted = (stage.Since(ShootdownCounter.SharedRequests), stage.Since(ShootdownCounter.BatchFlushes));
            stage.Evidence.Add($"{Pages} pages reclaimed with {counted.Item1} flushes of single pages and {counted.Item2} of batches");
            stage.Count(ShootdownCounter.IpisSent);
        }, options => options with { SwapBytes = 64 << 20, FlushPolicy = policy });
        return counted;
    }

    private static void Touch(Task task, ulong at)
    {
        for (int i = 0; i < Pages; i++)
            Kernel.Tasks.UserAccess.TryWrite(task, at + ((ulong)i << Pfn.Shift), (byte)1);
    }

    private static void Reclaim(Stage stage, Mm mm, ulong at)
    {
        Span<Pfn> frames = stackalloc Pfn[Pages];
        for (int i = 0; i < Pages; i++)
            Require(mm.GetUserPages(stage.Task, at + ((ulong)i << Pfn.Shift), FollFlags.None, frames.Slice(i, 1)) == 1, "a page cannot be taken");
        int freed = stage.Machine.MemorySystem.Reclaim.Reclaim(stage.Task, frames);
        Require(freed == Pages, $"only {freed} of {Pages} pages were reclaimed");
    }
}
