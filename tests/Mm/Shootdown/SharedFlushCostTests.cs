using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Shootdown.Policies;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>
/// What one page costs under each policy, counted, against sharers and vCPUs. vCPU 0 changes the host and runs something else; of the others every
/// odd one runs a sharer, and every even one ran a sharer before.
/// </summary>
public sealed class SharedFlushCostTests
{
    private readonly record struct Price(int Interrupts, int Pages, int Full, int Generations, int Broadcasts = 0, int Forgotten = 0, int Cut = 0);

    private static IEnumerable<TestCaseData> Sizes()
    {
        foreach (SharedFlushPolicy policy in SharedFlushPolicies.All.Where(static p => p.IsSound))
        {
            foreach ((int sharers, int vcpus) in ((int, int)[])[(1, 1), (1, 2), (1, 64), (8, 4), (64, 16), (64, 64), (2000, 1), (2000, 4), (2000, 64)])
                yield return new TestCaseData(policy.Name, sharers, vcpus);
        }
    }

    private static Price PriceOf(string policy, int sharers, int vcpus)
    {
        int running = vcpus / 2, left = (vcpus - 1) / 2;
        return policy switch
        {
            "exact-sharers" => new Price(running, running, 0, Generations: 1),
            // Here no task asks, so that vCPU 0 is counted as somebody else's.
            "flush-all" or "notifier-flush-all" => new Price(vcpus, 0, vcpus, 0),
            "per-sharer" => new Price(running, running, 0, sharers),
            "union-mask" => new Price(running, running, 0, sharers),
            "host-cpumask" => new Price(running + left, running, 0, 0, Forgotten: left),
            "batched" => new Price(running, 0, running, sharers),
            "broadcast" => new Price(0, 0, 0, 0, Broadcasts: 1),
            // The flush of the link, whose range is over the ceiling.
            "range-unlink" => new Price(running, 0, running, 0, Cut: sharers),
            _ => throw new ArgumentOutOfRangeException(nameof(policy), policy, "a policy without a price"),
        };
    }

    [TestCaseSource(nameof(Sizes))]
    public void One_page_costs(string policy, int sharers, int vcpus)
    {
        using var stand = new SharedStand(SharedFlushPolicies.Find(policy)!, vcpus, pages: 3, check: false);
        AddressSpace[] all = [.. Enumerable.Range(0, sharers).Select(_ => stand.Attach())];
        stand.Load(0, stand.Other);
        for (int vcpu = 1; vcpu < vcpus; vcpu++)
        {
            if (vcpu % 2 == 1)
                stand.Run(vcpu, all[vcpu % sharers]);
            else
                stand.Leave(vcpu, all[vcpu % sharers]);
        }
        // The first flush after attaching may be of everything.
        stand.Unmap(1);
        Rerun(stand, all, vcpus);

        Price before = Count(stand);
        stand.Unmap(0);
        Price after = Count(stand);
        Price price = new(after.Interrupts - before.Interrupts, after.Pages - before.Pages, after.Full - before.Full, after.Generations - before.Generations,
            after.Broadcasts - before.Broadcasts, after.Forgotten - before.Forgotten, after.Cut - before.Cut);
        // One sharer that many vCPUs run is interrupted on each of them, but has one link and one generation.
        Assert.That(price, Is.EqualTo(PriceOf(policy, sharers, vcpus)));
    }

    /// <summary>As before, after a flush that may have taken links and slots away.</summary>
    private static void Rerun(SharedStand stand, AddressSpace[] all, int vcpus)
    {
        foreach (AddressSpace sharer in all)
            Assert.That(sharer.HandleFault(null, SharedStand.Base, Kernel.Memory.FaultFlags.Write), Is.EqualTo(Kernel.Memory.FaultOutcome.Done));
        for (int vcpu = 1; vcpu < vcpus; vcpu++)
        {
            stand.Load(vcpu, all[vcpu % all.Length]);
            Assert.That(stand.Touch(vcpu, SharedStand.Base));
            if (vcpu % 2 == 0)
                stand.Load(vcpu, stand.Other);
        }
    }

    private static Price Count(SharedStand stand) => new(
        (int)stand.Count(ShootdownCounter.IpisSent), (int)stand.Count(ShootdownCounter.PageFlushes), (int)stand.Count(ShootdownCounter.FullFlushes),
        (int)stand.Count(ShootdownCounter.GenerationsRaised), (int)stand.Count(ShootdownCounter.Broadcasts), (int)stand.Count(ShootdownCounter.SlotsForgotten),
        (int)stand.Count(ShootdownCounter.LinksCut));
}
