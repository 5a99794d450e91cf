using Emulator.Kernel;
using Emulator.Kernel.Shootdown;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>Who is interrupted for a flush (native_flush_tlb_multi, should_flush_tlb), in each state a vCPU can be in.</summary>
public sealed class FlushTargetTests
{
    public enum State
    {
        /// <summary>Never had the address space.</summary>
        Foreign,
        Loaded,
        Lazy,
        /// <summary>Had it, and switched to another one.</summary>
        Left,
    }

    [TestCase(State.Foreign, false, 0)]
    [TestCase(State.Foreign, true, 0)]
    [TestCase(State.Loaded, false, 1)]
    [TestCase(State.Loaded, true, 1)]
    [TestCase(State.Lazy, false, 0)]
    [TestCase(State.Lazy, true, 1)]
    [TestCase(State.Left, false, 0)]
    [TestCase(State.Left, true, 0)]
    public void A_vcpu_is_interrupted_if_it_may_hold_what_changed(State state, bool freedTables, int interrupts)
    {
        using var stand = new ShootdownStand(vcpus: 2);
        AddressSpace mm = stand.Create(), other = stand.Create();
        stand.Load(0, mm);
        Bring(stand, state, mm, other);
        Assert.That(stand.During(ShootdownCounter.IpisSent, () => stand.Tlb.FlushMmRange(stand.Self, mm, ShootdownStand.Base, ShootdownStand.Base + 4096, 12, freedTables)),
            Is.EqualTo(interrupts));
        Assert.That(stand.Count(ShootdownCounter.IpisReceived, 1), Is.EqualTo(interrupts));
    }

    private static void Bring(ShootdownStand stand, State state, AddressSpace mm, AddressSpace other)
    {
        switch (state)
        {
            case State.Loaded:
                stand.Load(1, mm);
                break;
            case State.Lazy:
                stand.Idle(1, mm);
                break;
            case State.Left:
                stand.Load(1, mm);
                stand.Load(1, other);
                break;
            default:
                stand.Load(1, other);
                break;
        }
    }

    [Test]
    public void A_lazy_vcpu_that_is_told_leaves_the_address_space_without_flushing_a_page()
    {
        using var stand = new ShootdownStand(vcpus: 2);
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        stand.Idle(1, mm);
        stand.Tlb.FlushMmRange(stand.Self, mm, ShootdownStand.Base, ShootdownStand.Base + 4096, 12, freedTables: true);
        Assert.That(stand.Count(ShootdownCounter.NothingLazy, 1), Is.EqualTo(1));
        Assert.That(stand.Count(ShootdownCounter.PageFlushes, 1) + stand.Count(ShootdownCounter.FullFlushes, 1), Is.Zero);
        Assert.That(stand.Tlb.StateOf(1).LoadedMm, Is.Null);
    }

    [TestCase(KernelProfile.V6_1, 1, 1)]
    [TestCase(KernelProfile.V6_12, 0, 0)]
    public void Linux_6_1_also_interrupts_vcpus_of_the_mask_that_have_left(KernelProfile profile, int interrupts, int vain)
    {
        using var stand = new ShootdownStand(vcpus: 2);
        stand.Tlb.Profile = profile;
        stand.Tlb.LeavesMaskLazily = true;
        AddressSpace mm = stand.Create(), other = stand.Create();
        stand.Load(0, mm);
        stand.Load(1, mm);
        stand.Load(1, other);
        ulong received = stand.During(ShootdownCounter.IpisReceived, () => stand.Tlb.FlushPage(stand.Self, mm, ShootdownStand.Base));
        Assert.That(received, Is.EqualTo(interrupts));
        Assert.That(stand.Count(ShootdownCounter.NothingNotLoaded), Is.EqualTo(vain));
    }

    [Test]
    public void Once_a_second_those_who_left_are_told_and_leave_the_mask()
    {
        using var stand = new ShootdownStand(vcpus: 2);
        long now = 0;
        stand.Tlb.NowNs = () => now;
        stand.Tlb.LeavesMaskLazily = true;
        AddressSpace mm = stand.Create(), other = stand.Create();
        stand.Load(0, mm);
        stand.Load(1, mm);
        stand.Load(1, other);
        ulong Flush() => stand.During(ShootdownCounter.IpisSent, () => stand.Tlb.FlushPage(stand.Self, mm, ShootdownStand.Base));

        Assert.That(Flush(), Is.Zero, "not yet");
        now = 1_000_000_001;
        Assert.That(Flush(), Is.EqualTo(1), "a second later");
        Assert.That(mm.Context.Cpus.Contains(1), Is.False);
        now = 3_000_000_000;
        Assert.That(Flush(), Is.Zero, "it is gone from the mask");
        Assert.That(stand.Count(ShootdownCounter.MaskTrimmed), Is.EqualTo(1));
    }

    [Test]
    public void The_releases_of_the_profiles_leave_the_mask_at_the_switch()
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create(), other = stand.Create();
        stand.Load(0, mm);
        Assert.That(mm.Context.Cpus.Contains(0));
        stand.Load(0, other);
        Assert.That((mm.Context.Cpus.Contains(0), other.Context.Cpus.Contains(0)), Is.EqualTo((false, true)));
    }

    [Test]
    public void Flushing_everything_reaches_all_and_raises_no_generation()
    {
        using var stand = new ShootdownStand(vcpus: 3);
        AddressSpace mm = stand.Create();
        stand.Load(1, mm);
        stand.ReadPages(1, 1);
        ulong generation = mm.Context.Generation;
        stand.Tlb.FlushEverything(stand.Self);
        Assert.That(mm.Context.Generation, Is.EqualTo(generation));
        Assert.That(Enumerable.Range(0, 3).Select(stand.FlushesOfAll), Is.All.GreaterThanOrEqualTo(1));
    }

    [TestCase(33, 33, 0)]
    [TestCase(34, 0, 1)]
    public void A_kernel_range_obeys_the_same_ceiling_on_every_vcpu(int pages, int single, int full)
    {
        using var stand = new ShootdownStand(vcpus: 2);
        const ulong kernel = 0xFFFF_FFFF_FF60_0000;
        (ulong invlpg, ulong all) = (stand.PageFlushesOf(1), stand.FlushesOfAll(1));
        stand.Tlb.FlushKernelRange(stand.Self, kernel, kernel + ((ulong)pages << 12));
        Assert.That((stand.PageFlushesOf(1) - invlpg, stand.FlushesOfAll(1) - all), Is.EqualTo(((ulong)single, (ulong)full)));
    }

    [TestCase(0UL, 1, 0, 1)]
    [TestCase(1UL, 1, 1, 0)]
    [TestCase(1UL, 2, 0, 1)]
    [TestCase(100UL, 64, 64, 0)]
    public void The_ceiling_can_be_set(ulong ceiling, int pages, int single, int full)
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create();
        stand.Tlb.Ceiling = ceiling;
        stand.Load(0, mm);
        stand.Tlb.FlushMmRange(stand.Self, mm, ShootdownStand.Base, ShootdownStand.Page(pages), 12, freedTables: false);
        Assert.That((stand.Count(ShootdownCounter.PageFlushes), stand.Count(ShootdownCounter.FullFlushes)), Is.EqualTo(((ulong)single, (ulong)full)));
    }

    [Test]
    public void A_range_of_large_pages_is_counted_in_large_pages()
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        stand.Tlb.FlushMmRange(stand.Self, mm, 0x4000_0000, 0x4000_0000 + (33UL << 21), 21, freedTables: false);
        Assert.That(stand.Count(ShootdownCounter.PageFlushes), Is.EqualTo(33));
    }

    [Test]
    public void Collateral_is_what_a_full_flush_loses_beyond_the_range()
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create(pages: 50), other = stand.Create();
        stand.Load(0, other);
        stand.ReadPages(0, 20);
        stand.Load(0, mm);
        stand.ReadPages(0, 50);
        stand.Tlb.FlushMmRange(stand.Self, mm, ShootdownStand.Base, ShootdownStand.Page(40), 12, freedTables: false);
        Assert.That(stand.Count(ShootdownCounter.Widened), Is.EqualTo(1));
        Assert.That(stand.Count(ShootdownCounter.Collateral), Is.EqualTo(10), "ten pages of this address space, and none of the other's");
        Assert.That(stand.Count(ShootdownCounter.EntriesLost), Is.EqualTo(50));
    }

    [TestCase(3, 0, 3, Description = "all three had been read")]
    [TestCase(0, 1, 0, Description = "others of the address space had been, which page-by-page flushes leave alone")]
    public void An_interrupt_is_useless_when_it_takes_away_nothing_of_what_it_was_about(int read, int useless, int lost)
    {
        using var stand = new ShootdownStand(vcpus: 2);
        AddressSpace mm = stand.Create(pages: 8);
        stand.Load(1, mm);
        if (read == 0)
            Assert.That(stand.Read(1, ShootdownStand.Page(5)));
        else
            stand.ReadPages(1, read);
        stand.Tlb.FlushMmRange(stand.Self, mm, ShootdownStand.Base, ShootdownStand.Page(3), 12, freedTables: false);
        Assert.That((stand.Count(ShootdownCounter.IpisReceived), stand.Count(ShootdownCounter.Useless), stand.Count(ShootdownCounter.EntriesLost)),
            Is.EqualTo((1UL, (ulong)useless, (ulong)lost)));
    }
}
