using Emulator.Hardware.Smp;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tracing;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>Simulated cycles are the counts times the costs, and who waits pays for the slowest.</summary>
public sealed class CycleTests
{
    private static CostModel Only(string key, int cycles)
    {
        string zeros = string.Join(", ", Enum.GetValues<Cost>().Where(c => c != Cost.Count).Select(c => $"\"{Snake(c)}\": {{ \"cycles\": 0 }}"));
        Assert.That(CostModel.Default.TryOverride($$"""{ "costs": { {{zeros}}, "{{key}}": { "cycles": {{cycles}} } } }""", out CostModel model, out string error), error);
        return model;
    }

    private static string Snake(Cost cost) => string.Concat(cost.ToString().Select((c, i) => char.IsUpper(c) && i > 0 ? $"_{char.ToLowerInvariant(c)}" : $"{char.ToLowerInvariant(c)}"));

    private static CycleEstimate Estimate(ShootdownStand stand, int vcpu, CostModel cost)
    {
        CycleEstimate estimate = default;
        stand.On(vcpu, v => estimate = CycleEstimate.Of(v, stand.Tlb, 0, cost));
        return estimate;
    }

    [Test]
    public void The_initiator_waits_for_the_slowest_target_beyond_its_own_part()
    {
        using var stand = new ShootdownStand(vcpus: 3);
        AddressSpace mm = stand.Create();
        stand.Load(1, mm);
        stand.Load(2, mm);
        // Not loaded by the initiator: all that the targets do is waited for, and they do it at once.
        stand.Tlb.FlushMmRange(stand.Self, mm, ShootdownStand.Base, ShootdownStand.Page(5), 12, freedTables: false);
        Assert.That(Estimate(stand, 0, Only("invlpg", 10)).IpiWaiting, Is.EqualTo(50));
        Assert.That(Estimate(stand, 0, Only("ipi_round_trip", 1000)).IpiWaiting, Is.EqualTo(1000), "one round trip for both");
        Assert.That(Estimate(stand, 0, Only("ipi_send", 100)).IpiSending, Is.EqualTo(200), "but two are sent");
        Assert.That(Estimate(stand, 1, Only("invlpg", 10)).Flushes, Is.EqualTo(50));

        stand.Load(0, mm);
        ulong waited = stand.Count(ShootdownCounter.WaitPageFlushes);
        stand.Tlb.FlushMmRange(stand.Self, mm, ShootdownStand.Base, ShootdownStand.Page(5), 12, freedTables: false);
        Assert.That(stand.Count(ShootdownCounter.WaitPageFlushes), Is.EqualTo(waited), "its own five pages took as long");
    }

    [Test]
    public void A_full_flush_is_cheap_now_and_dear_later()
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create(pages: 64);
        stand.Load(0, mm);
        stand.ReadPages(0, 64);
        CostModel walks = Only("walk_reference", 1);
        ulong before = Estimate(stand, 0, walks).Tlb;
        stand.ReadPages(0, 64);
        Assert.That(Estimate(stand, 0, walks).Tlb, Is.EqualTo(before), "all in the TLB");
        stand.Tlb.FlushMm(stand.Self, mm, freedTables: false);
        stand.ReadPages(0, 64);
        Assert.That(Estimate(stand, 0, walks).Tlb - before, Is.GreaterThanOrEqualTo(64));
    }
}
