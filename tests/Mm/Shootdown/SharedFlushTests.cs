using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Shootdown.Policies;
using Emulator.Tests.Notifiers;
using static Emulator.Kernel.Memory.MmanAbi;
using Access = Emulator.Hardware.Memory.Access;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>
/// Each policy in each place that a translation of shared tables can be in. Sound ones leave none behind; broken ones are found out by some scene,
/// and pass those that are not about what they lack.
/// </summary>
public sealed unsafe class SharedFlushTests
{
    private static readonly Dictionary<string, Action<SharedStand>> _scenes = new(StringComparer.Ordinal)
    {
        ["running"] = static stand =>
        {
            AddressSpace sharer = stand.Attach();
            stand.Run(1, sharer);
            stand.Unmap(0);
            Gone(stand, 1, SharedStand.Base);
            stand.Use(1, SharedStand.Page(1));
        },
        ["running here"] = static stand =>
        {
            AddressSpace sharer = stand.Attach();
            stand.Run(0, sharer);
            stand.Unmap(0);
            Gone(stand, 0, SharedStand.Base);
        },
        ["kept"] = static stand =>
        {
            AddressSpace sharer = stand.Attach();
            stand.Leave(1, sharer);
            stand.Unmap(0);
            stand.Load(1, sharer);
            Gone(stand, 1, SharedStand.Base);
        },
        ["kept behind a running sharer"] = static stand =>
        {
            AddressSpace kept = stand.Attach(), running = stand.Attach();
            stand.Run(1, kept);
            stand.Run(1, running);
            stand.Unmap(0);
            Gone(stand, 1, SharedStand.Base);
            stand.Load(1, kept);
            Gone(stand, 1, SharedStand.Base);
        },
        ["linked until just now, and not flushed yet"] = static stand =>
        {
            AddressSpace running = stand.Attach(), kept = stand.Attach();
            stand.Run(1, running);
            stand.Leave(2, kept);
            // What a change of another vCPU has done of CutLinks, or a sharer's own munmap: two changes of one host are not in each other's way.
            MmuGather[] others = [TakeLink(running), TakeLink(kept)];
            stand.Unmap(0);
            stand.Load(2, kept);
            Gone(stand, 1, SharedStand.Base);
            Gone(stand, 2, SharedStand.Base);
            foreach (MmuGather other in others)
                other.Finish();
        },
        ["lazy, waking up"] = static stand =>
        {
            AddressSpace sharer = stand.Attach();
            stand.Idle(1, sharer);
            stand.Unmap(0);
            stand.Load(1, sharer);
            Gone(stand, 1, SharedStand.Base);
        },
        ["lazy, while tables go"] = static stand =>
        {
            AddressSpace sharer = stand.Attach();
            stand.Load(1, sharer);
            // Page 7 has no translation of its own, but the way to its table is known: a processor may walk there while it has nothing to run.
            Assert.That(stand.Touch(1, SharedStand.Base, Access.Write));
            stand.Vcpus.On(1, stand.Tlb.EnterLazy);
            stand.Unmap(0, 8);
            Gone(stand, 1, SharedStand.Page(7));
        },
        ["tables"] = static stand =>
        {
            AddressSpace sharer = stand.Attach();
            stand.Run(1, sharer);
            stand.Unmap(0, 8);
            for (int i = 0; i < 8; i++)
                Gone(stand, 1, SharedStand.Page(i));
        },
        ["many on many"] = static stand =>
        {
            AddressSpace[] sharers = [.. Enumerable.Range(0, 6).Select(_ => stand.Attach())];
            for (int i = 0; i < sharers.Length; i++)
                stand.Run(i % 3 + 1, sharers[i]);
            stand.Idle(1, sharers[3]);
            stand.Load(2, stand.Other);
            stand.Unmap(2, 3);
            foreach (AddressSpace sharer in sharers)
            {
                for (int vcpu = 1; vcpu <= 3; vcpu++)
                {
                    stand.Load(vcpu, sharer);
                    for (int page = 2; page < 5; page++)
                        Gone(stand, vcpu, SharedStand.Page(page));
                    stand.Use(vcpu, SharedStand.Page(1));
                }
            }
        },
        ["mapped twice"] = static stand =>
        {
            const ulong second = SharedStand.Base + 3 * SharedStand.Unit;
            AddressSpace sharer = stand.Attach(SharedStand.Base, second);
            stand.Run(1, sharer, SharedStand.Base, second);
            stand.Leave(2, sharer, SharedStand.Base, second);
            stand.Unmap(0);
            stand.Load(2, sharer);
            for (int vcpu = 1; vcpu <= 2; vcpu++)
            {
                Gone(stand, vcpu, SharedStand.Base);
                Gone(stand, vcpu, second);
                stand.Use(vcpu, second + 4096);
            }
        },
        ["elsewhere"] = static stand =>
        {
            AddressSpace sharer = stand.Attach(SharedStand.Base + SharedStand.Unit);
            stand.Run(1, sharer, SharedStand.Base + SharedStand.Unit);
            stand.Unmap(3);
            Gone(stand, 1, SharedStand.Base + SharedStand.Unit + (3 << 12));
        },
        ["two regions"] = static stand =>
        {
            AddressSpace second = stand.CreateRegion(), sharer = stand.Attach();
            const ulong at = SharedStand.Base + SharedStand.Unit;
            stand.Attach(sharer, second, at);
            stand.Run(1, sharer, SharedStand.Base, at);
            stand.Leave(2, sharer, SharedStand.Base, at);
            stand.Unmap(0);
            Assert.That(second.Munmap(null, SharedStand.Page(1), 4096), Is.Zero);
            stand.Load(2, sharer);
            for (int vcpu = 1; vcpu <= 2; vcpu++)
            {
                Gone(stand, vcpu, SharedStand.Base);
                Gone(stand, vcpu, at + 4096);
                stand.Use(vcpu, at);
                stand.Use(vcpu, SharedStand.Page(1));
            }
        },
        ["a second region, attached while it runs"] = static stand =>
        {
            AddressSpace second = stand.CreateRegion(), sharer = stand.Attach();
            const ulong at = SharedStand.Base + SharedStand.Unit;
            stand.Run(1, sharer);
            stand.Attach(sharer, second, at);
            Assert.That(stand.Touch(1, at, Access.Write));
            Assert.That(second.Munmap(null, SharedStand.Base, 4096), Is.Zero);
            stand.Unmap(0);
            Gone(stand, 1, at);
            Gone(stand, 1, SharedStand.Base);
        },
        ["rights"] = static stand =>
        {
            AddressSpace sharer = stand.Attach();
            stand.Run(1, sharer);
            stand.Leave(2, sharer);
            Assert.That(stand.Host.Mprotect(null, SharedStand.Base, 4096, PROT_READ), Is.Zero);
            stand.Load(2, sharer);
            for (int vcpu = 1; vcpu <= 2; vcpu++)
            {
                if (stand.Touch(vcpu, SharedStand.Base, Access.Write))
                    Assert.That(stand.Vcpus.Findings, Is.Not.Empty, "the checker must see this");
            }
        },
        ["reclaim's batch"] = static stand =>
        {
            AddressSpace running = stand.Attach(), kept = stand.Attach();
            stand.Run(1, running);
            stand.Leave(2, kept);
            var batch = new TlbBatch(stand.Tlb);
            List<Pfn> frames = Reclaim(stand, batch, 0, 4);
            batch.TryToUnmapFlush(stand.Vcpus.Self);
            stand.Load(2, kept);
            for (int page = 0; page < 4; page++)
            {
                Gone(stand, 1, SharedStand.Page(page));
                Gone(stand, 2, SharedStand.Page(page));
            }
            Put(stand, frames);
        },
        ["an entry found empty while a batch is owed"] = static stand =>
        {
            AddressSpace running = stand.Attach(), kept = stand.Attach();
            stand.Run(1, running);
            stand.Leave(2, kept);
            var batch = new TlbBatch(stand.Tlb);
            List<Pfn> frames = Reclaim(stand, batch, 0, 4);
            stand.Unmap(0, 4);
            stand.Load(2, kept);
            for (int page = 0; page < 4; page++)
            {
                Gone(stand, 1, SharedStand.Page(page));
                Gone(stand, 2, SharedStand.Page(page));
            }
            batch.TryToUnmapFlush(stand.Vcpus.Self);
            Put(stand, frames);
        },
        ["freed before the end is announced"] = static stand =>
        {
            AddressSpace sharer = stand.Attach();
            stand.Run(1, sharer);
            var probe = new Probe
            {
                End = (_, _) =>
                {
                    for (int page = 0; page < 4; page++)
                        Gone(stand, 1, SharedStand.Page(page));
                },
            };
            Assert.That(probe.Register(null, stand.Host), Is.Zero);
            Assert.That(stand.Host.Madvise(null, SharedStand.Base, 4 << 12, MADV_REMOVE), Is.Zero);
            probe.Unregister(null);
        },
        ["a sharer that comes and one that goes"] = static stand =>
        {
            AddressSpace gone = stand.Attach();
            stand.Leave(1, gone);
            Assert.That(gone.Munmap(null, SharedStand.Base, SharedStand.Unit), Is.Zero);
            stand.Unmap(0);
            AddressSpace late = stand.Attach(firstPage: 1);
            stand.Load(1, late);
            stand.Use(1, SharedStand.Page(1));
            stand.Unmap(1);
            Gone(stand, 1, SharedStand.Page(1));
            stand.Load(1, gone);
            Assert.That(stand.Touch(1, SharedStand.Page(2)), Is.False, "the link is gone");
        },
    };

    private static IEnumerable<TestCaseData> SoundInEachScene() =>
        SharedFlushPolicies.All.Where(static p => p.IsSound).SelectMany(static p => _scenes.Keys.Select(scene => new TestCaseData(p.Name, scene).SetArgDisplayNames(p.Name, scene)));

    private static IEnumerable<string> Broken() => SharedFlushPolicies.All.Where(static p => !p.IsSound).Select(static p => p.Name);

    [TestCaseSource(nameof(SoundInEachScene))]
    public void A_sound_policy_leaves_nothing_behind(string policy, string scene) => Assert.That(Play(policy, scene), Is.Empty);

    [TestCaseSource(nameof(Broken))]
    public void A_broken_policy_is_found_out(string policy)
    {
        string[] found = [.. _scenes.Keys.Where(scene => Play(policy, scene).Count > 0)];
        Assert.That(found, Is.EquivalentTo(_scenes.Keys.Intersect(Expected(policy), StringComparer.Ordinal)), "scenes in which the checker reports");
    }

    /// <summary>The scenes that are about what a policy lacks.</summary>
    private static IEnumerable<string> Expected(string policy) => policy switch
    {
        "loaded-only" => ["kept", "kept behind a running sharer", "linked until just now, and not flushed yet", "lazy, waking up", "many on many", "mapped twice", "two regions", "rights", "reclaim's batch", "an entry found empty while a batch is owed"],
        "after-free" => ["freed before the end is announced"],
        // Lazy vCPUs leave when tables go; and what was attached since a vCPU last looked counts as changed.
        "batched-no-bump" => _scenes.Keys.Except(["lazy, while tables go", "a second region, attached while it runs"], StringComparer.Ordinal),
        _ => _scenes.Keys,
    };

    private static List<(string Rule, string Text)> Play(string policy, string scene)
    {
        using var stand = new SharedStand(SharedFlushPolicies.Find(policy)!, vcpus: 4);
        _scenes[scene](stand);
        return stand.Vcpus.Findings;
    }

    /// <summary>A page is not translated; if it is, the policy was a broken one, which the checker must have seen.</summary>
    private static void Gone(SharedStand stand, int vcpu, ulong address)
    {
        int before = stand.Vcpus.Findings.Count;
        if (stand.Touch(vcpu, address))
            Assert.That(stand.Vcpus.Findings, Has.Count.GreaterThan(before), $"vCPU {vcpu} translates {address:x}, and the checker did not see it");
    }

    /// <summary>The flush is still owed.</summary>
    private static MmuGather TakeLink(AddressSpace sharer)
    {
        var gather = new MmuGather(sharer, null);
        gather.AddLink(sharer.Tables.ClearLink(SharedStand.Base), SharedStand.Base, SharedStand.Base + SharedStand.Unit);
        return gather;
    }

    /// <summary>Takes pages out of the host's tables as try_to_unmap_one does.</summary>
    private static List<Pfn> Reclaim(SharedStand stand, TlbBatch batch, int first, int count)
    {
        var frames = new List<Pfn>();
        for (int i = first; i < first + count; i++)
        {
            ulong address = SharedStand.Page(i);
            var range = new Kernel.Notifiers.MmuNotifierRange(stand.Host, address, address + 4096, Kernel.Notifiers.MmuNotifyEvent.Clear);
            Assert.That(stand.Host.InvalidateRangeStart(null, range), Is.Zero);
            PageTables.Clear(stand.Host.Tables.Find(address), out ulong old);
            if (stand.Tlb.ShouldDefer(stand.Vcpus.Self, stand.Host))
                batch.AddPending(stand.Vcpus.Self, stand.Host, address, dirty: true);
            else
                stand.Tlb.FlushPage(stand.Vcpus.Self, stand.Host, address);
            stand.Host.InvalidateRangeEnd(null, range);
            frames.Add(PageTables.FrameOf(old));
        }
        return frames;
    }

    private static void Put(SharedStand stand, List<Pfn> frames)
    {
        foreach (Pfn frame in frames)
            stand.Vcpus.Pages.Put(frame);
    }
}
