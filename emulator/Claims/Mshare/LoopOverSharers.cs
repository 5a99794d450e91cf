using Emulator.Claims.Notifiers;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Shootdown;

namespace Emulator.Claims.Mshare;

/// <summary>Claim 6: eight sharers, each of which has run on all of eight vCPUs.</summary>
internal sealed class LoopOverSharers : Claim
{
    private const int Count = 8;

    public override string Number => "6";

    public override string Name => "loop-over-sharers";

    public override string Text => "calling flush_tlb_mm_range for each mapping of the region works, but may interrupt a processor several times";

    public override string Source => "Dave Hansen, mshare RFC v3 thread, 2024-10-02";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "several times where processors stay in the cpumasks of what they have left, as since 6.14, and tables are freed; in 6.12 a processor is in one mask at a time. And in v3 it does not work for a sharer that has unmapped the region: its mapping is gone, its link is not (claim 23)";

    protected override Verdict Try(Evidence evidence)
    {
        ulong loop = Interrupts(evidence, "per-sharer", lazyMasks: true), once = Interrupts(evidence, "union-mask", lazyMasks: true);
        Interrupts(evidence, "per-sharer", lazyMasks: false);
        bool forgets = MissesWhoUnmapped(evidence, MshareVariant.RfcV3);
        Require(forgets && !MissesWhoUnmapped(evidence, MshareVariant.Corrected), "the sharer that has unmapped is not what makes the difference");
        return Judge(loop > once);
    }

    /// <summary>Unmaps a page, and with it its table; returns interrupts sent, having seen that nobody is left with the page.</summary>
    private static ulong Interrupts(Evidence evidence, string policy, bool lazyMasks)
    {
        ulong sent = 0;
        evidence.Stage($"{policy}, processors {(lazyMasks ? "stay in cpumasks" : "leave cpumasks at the switch")}", Count + 1, stage =>
        {
            stage.Machine.MemorySystem.Shootdown.LeavesMaskLazily = lazyMasks;
            var threads = new Actor[Count, Count];
            Region? region = null;
            for (int sharer = 0; sharer < Count; sharer++)
            {
                for (int vcpu = 0; vcpu < Count; vcpu++)
                {
                    Actor thread = threads[sharer, vcpu] = stage.Enter($"S{sharer}", vcpu, mm: vcpu == 0 ? null : threads[sharer, 0].Mm);
                    if (vcpu != 0)
                        thread.Read(Region.Start);
                    else if (region is null)
                        region = Region.Make(thread, 1);
                    else
                        region.Attach(thread);
                }
            }
            Actor initiator = stage.Enter("initiator", Count, mm: threads[0, 0].Mm);
            initiator.Read(Region.Start);
            FrameTag before = Memory.Tag(stage, initiator.Mm, Region.Start);
            Mm host = region!.Host(threads[0, 0]);
            stage.ResetCounters();
            initiator.Do(task => host.Munmap(task, Region.Start, Pfn.Size));
            sent = stage.Since(ShootdownCounter.IpisSent);
            stage.Count(ShootdownCounter.IpisSent);
            stage.Evidence.Add($"{sent} interrupts to {Count} other vCPUs");
            int wrong = 0;
            foreach (Actor thread in threads)
                wrong += thread.Read(Region.Start, before).Finding == Finding.Fault ? 0 : 1;
            Require(wrong == 0, $"{wrong} threads can still read the page");
            stage.Evidence.Add($"none of {threads.Length} threads can read the page afterwards");
        }, options => options with { FlushPolicy = policy });
        return sent;
    }

    /// <summary>The loop, done by a notifier on the host, after one sharer has unmapped the region.</summary>
    private static bool MissesWhoUnmapped(Evidence evidence, MshareVariant variant)
    {
        bool misses = false;
        evidence.Stage($"A has unmapped the region, {(variant == MshareVariant.RfcV3 ? "RFC v3 as posted" : "corrected")}", 3, stage =>
        {
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true), c = stage.Enter("C", 2);
            Region region = Region.Make(a, 2);
            region.Attach(b);
            region.Attach(c);
            FrameTag before = Memory.Tag(stage, a.Mm, Region.Start);
            Mm host = region.Host(c);
            Require(a.Syscall(SystemCall.Munmap, Region.Start, Region.Unit) == 0, "the region cannot be unmapped");
            a.Read(Region.Start, before);
            int flushed = 0;
            var loop = new Probe
            {
                Flush = (task, start, end) =>
                {
                    foreach (Sharer sharer in host.Sharing!.Sharers)
                    {
                        if (!sharer.TryTranslate(start, end, out ulong from, out ulong to))
                            continue;
                        flushed++;
                        stage.Machine.MemorySystem.Shootdown.FlushMmRange(task?.Vcpu, sharer.Mm, from, to, Pfn.Shift, freedTables: false);
                    }
                },
            };
            c.Do(task =>
            {
                loop.Register(task, host);
                host.Munmap(task, Region.Start, Pfn.Size);
                loop.Unregister(task);
            });
            Sighting mapped = b.Read(Region.Start, before), unmapped = a.Read(Region.Start, before);
            stage.Evidence.Add($"{flushed} sharers are flushed");
            stage.Evidence.Add($"{mapped}");
            stage.Evidence.Add($"{unmapped}");
            Require(mapped.Finding == Finding.Fault, "the loop does not even help a sharer that is on the list");
            misses = unmapped.Finding != Finding.Fault;
        }, options => options with { MshareVariant = variant, LockDep = variant == MshareVariant.Corrected });
        return misses;
    }
}
