using Emulator.Kernel.Shootdown;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>What a target does (flush_tlb_func), for requests that arrive in any order.</summary>
public sealed class FlushOrderTests
{
    private static FlushRequest Raise(ShootdownStand stand, AddressSpace mm, int page)
    {
        var request = new FlushRequest(stand.Tlb);
        request.Set(mm, ShootdownStand.Page(page), ShootdownStand.Page(page + 1), 12, mm.Context.RaiseGeneration(), -1);
        return request;
    }

    [Test]
    public void Two_ranged_flushes_in_order_are_two_page_flushes()
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        for (int i = 0; i < 2; i++)
            Raise(stand, mm, i).Serve(stand.Self);
        Assert.That((stand.Count(ShootdownCounter.PageFlushes), stand.Count(ShootdownCounter.FullFlushes)), Is.EqualTo((2UL, 0UL)));
    }

    [Test]
    public void Two_ranged_flushes_in_reverse_are_one_full_flush_and_then_nothing()
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        FlushRequest first = Raise(stand, mm, 0), second = Raise(stand, mm, 1);
        second.Serve(stand.Self);
        Assert.That((stand.Count(ShootdownCounter.PageFlushes), stand.Count(ShootdownCounter.FullFlushes)), Is.EqualTo((0UL, 1UL)));
        Assert.That(stand.Count(ShootdownCounter.NothingGeneration), Is.Zero);
        first.Serve(stand.Self);
        Assert.That((stand.Count(ShootdownCounter.PageFlushes), stand.Count(ShootdownCounter.FullFlushes)), Is.EqualTo((0UL, 1UL)));
        Assert.That(stand.Count(ShootdownCounter.NothingGeneration), Is.EqualTo(1));
    }

    [Test]
    public void A_request_that_is_not_the_last_one_raised_flushes_everything()
    {
        // Its own generation is next, but the address space's is further: the pages in between are not known here.
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        FlushRequest first = Raise(stand, mm, 0);
        Raise(stand, mm, 1);
        first.Serve(stand.Self);
        Assert.That((stand.Count(ShootdownCounter.PageFlushes), stand.Count(ShootdownCounter.FullFlushes)), Is.EqualTo((0UL, 1UL)));
        Assert.That(stand.Tlb.StateOf(0).Slots[stand.Tlb.StateOf(0).LoadedSlot].Generation, Is.EqualTo(mm.Context.Generation));
    }

    [Test]
    public void A_request_for_an_address_space_that_is_not_loaded_does_nothing()
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create(), other = stand.Create();
        stand.Load(0, other);
        Raise(stand, mm, 0).Serve(stand.Self);
        Assert.That(stand.Count(ShootdownCounter.NothingNotLoaded), Is.EqualTo(1));
        Assert.That(stand.Count(ShootdownCounter.FullFlushes) + stand.Count(ShootdownCounter.PageFlushes), Is.Zero);
    }

    [Test]
    public void A_request_without_address_space_flushes_only_what_has_fallen_behind([Values] bool raised)
    {
        // The form of arch_tlbbatch_flush: without the generations raised before, it does nothing.
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        if (raised)
            mm.Context.RaiseGeneration();
        var request = new FlushRequest(stand.Tlb);
        request.Set(null, 0, TlbShootdown.FlushAll, 12, 0, -1);
        request.Serve(stand.Self);
        Assert.That(stand.Count(ShootdownCounter.FullFlushes), Is.EqualTo(raised ? 1 : 0));
        Assert.That(stand.Count(ShootdownCounter.NothingGeneration), Is.EqualTo(raised ? 0 : 1));
    }

    [Test]
    public void A_slot_never_claims_more_than_was_flushed()
    {
        // Random switches, flushes and deliveries; afterwards nothing is in a TLB that a finished flush named.
        var random = new Random(7);
        using var stand = new ShootdownStand();
        AddressSpace[] spaces = [.. Enumerable.Range(0, 8).Select(_ => stand.Create(pages: 4))];
        for (int step = 0; step < 4000; step++)
        {
            AddressSpace mm = spaces[random.Next(spaces.Length)];
            if (random.Next(3) != 0)
            {
                stand.Load(0, mm);
                stand.ReadPages(0, 4);
                continue;
            }
            int page = random.Next(4);
            stand.Tlb.FlushPage(stand.Self, mm, ShootdownStand.Page(page));
            stand.Load(0, mm);
            Assert.That(stand.MissesOfRead(0, ShootdownStand.Page(page)), Is.EqualTo(1), $"step {step}");
        }
    }
}
