using Emulator.Hardware.Memory;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using Emulator.Tests.Notifiers;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>Flushes that reclaim puts off (mm/rmap.c): one interrupt for many pages, and nobody overlooks what is owed.</summary>
public sealed unsafe class TlbBatchTests
{
    /// <summary>Clears entries as try_to_unmap_one does where it may put the flush off.</summary>
    private static List<Pfn> Unmap(ShootdownStand stand, AddressSpace mm, TlbBatch batch, int first, int count)
    {
        var frames = new List<Pfn>();
        for (int i = first; i < first + count; i++)
        {
            PageTables.Clear(mm.Tables.Find(ShootdownStand.Page(i)), out ulong old);
            frames.Add(PageTables.FrameOf(old));
            batch.AddPending(stand.Self, mm, ShootdownStand.Page(i), (old & (ulong)Pte.Dirty) != 0);
        }
        return frames;
    }

    [Test]
    public void It_pays_to_put_off_only_if_another_vcpu_has_the_address_space()
    {
        using var stand = new ShootdownStand(vcpus: 2);
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        Assert.That(stand.Tlb.ShouldDefer(stand.Self, mm), Is.False);
        stand.Load(1, mm);
        Assert.That(stand.Tlb.ShouldDefer(stand.Self, mm));
    }

    [Test]
    public void Many_pages_of_many_address_spaces_cost_one_interrupt_a_vcpu()
    {
        using var stand = new ShootdownStand(vcpus: 3, check: true);
        AddressSpace a = stand.Create(), b = stand.Create();
        stand.Load(1, a);
        stand.Load(2, b);
        stand.ReadPages(1, 32);
        stand.ReadPages(2, 32);
        var batch = new TlbBatch(stand.Tlb);
        List<Pfn> frames = [.. Unmap(stand, a, batch, 0, 16), .. Unmap(stand, b, batch, 0, 16)];
        Assert.That(stand.Count(ShootdownCounter.IpisSent), Is.Zero);
        ulong full = stand.During(ShootdownCounter.FullFlushes, () => batch.TryToUnmapFlush(stand.Self));
        Assert.That((stand.Count(ShootdownCounter.IpisSent), full), Is.EqualTo((2UL, 2UL)));
        foreach (Pfn frame in frames)
            stand.Pages.Put(frame);
        Assert.That((stand.Read(1, ShootdownStand.Base), stand.Read(2, ShootdownStand.Base)), Is.EqualTo((false, false)));
        Assert.That(stand.Findings, Is.Empty);
        Assert.That(stand.During(ShootdownCounter.IpisSent, () => batch.TryToUnmapFlush(stand.Self)), Is.Zero, "it is paid");
    }

    [Test]
    public void Freeing_before_the_batch_is_flushed_is_found()
    {
        using var stand = new ShootdownStand(vcpus: 2, check: true);
        AddressSpace mm = stand.Create();
        stand.Load(1, mm);
        stand.ReadPages(1, 1);
        var batch = new TlbBatch(stand.Tlb);
        stand.Pages.Put(Unmap(stand, mm, batch, 0, 1)[0]);
        stand.Read(1, ShootdownStand.Base);
        Assert.That(stand.Rules, Is.EqualTo(CheckerRules.FreedFrame));
        batch.TryToUnmapFlush(stand.Self);
    }

    [Test]
    public void Only_dirty_pages_must_be_flushed_before_they_are_written_out([Values] bool dirty)
    {
        using var stand = new ShootdownStand(vcpus: 2);
        AddressSpace mm = stand.Create();
        stand.Load(1, mm);
        var batch = new TlbBatch(stand.Tlb);
        batch.AddPending(stand.Self, mm, ShootdownStand.Base, dirty);
        Assert.That(stand.During(ShootdownCounter.IpisSent, () => batch.TryToUnmapFlushDirty(stand.Self)), Is.EqualTo(dirty ? 1 : 0));
        Assert.That(batch.FlushRequired, Is.Not.EqualTo(dirty));
    }

    [Test]
    public void Devices_are_told_of_everything_at_once_when_a_page_is_added()
    {
        using var stand = new ShootdownStand(vcpus: 2);
        AddressSpace mm = stand.Create();
        stand.Load(1, mm);
        var told = new List<(ulong, ulong)>();
        var probe = new Probe { Flush = (_, start, end) => told.Add((start, end)) };
        Assert.That(probe.Register(null, mm), Is.Zero);
        var batch = new TlbBatch(stand.Tlb);
        batch.AddPending(stand.Self, mm, ShootdownStand.Base, dirty: false);
        Assert.That(told, Is.EqualTo(((ulong, ulong)[])[(0, ulong.MaxValue)]));
        batch.TryToUnmapFlush(stand.Self);
        Assert.That(told, Has.Count.EqualTo(1), "and not again when the CPUs are flushed");
        probe.Unregister(null);
    }

    [Test]
    public void Who_finds_entries_empty_flushes_what_is_owed_for_them_once()
    {
        using var stand = new ShootdownStand(vcpus: 2, check: true);
        AddressSpace mm = stand.Create();
        stand.Load(1, mm);
        stand.ReadPages(1, 8);
        var batch = new TlbBatch(stand.Tlb);
        List<Pfn> frames = Unmap(stand, mm, batch, 0, 4);
        // munmap of the pages that reclaim has cleared: it sees nothing, and must not believe that nobody uses them.
        mm.Munmap(null, ShootdownStand.Base, 4 << 12);
        Assert.That(stand.Read(1, ShootdownStand.Base), Is.False);
        Assert.That(stand.During(ShootdownCounter.Requests, () => mm.FlushTlbBatchedPending(null)), Is.Zero, "it was paid by munmap");
        batch.AddPending(stand.Self, mm, ShootdownStand.Base, dirty: false);
        Assert.That(stand.During(ShootdownCounter.Requests, () => mm.FlushTlbBatchedPending(null)), Is.EqualTo(1));
        Assert.That(stand.During(ShootdownCounter.Requests, () => mm.FlushTlbBatchedPending(null)), Is.Zero);
        foreach (Pfn frame in frames)
            stand.Pages.Put(frame);
        Assert.That(stand.Findings, Is.Empty);
    }

    [Test]
    public void The_count_of_flushes_put_off_starts_anew_before_it_overflows()
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create();
        for (int i = 0; i < 70_000; i++)
        {
            mm.CountBatchedFlush();
            if (i % 1000 != 999)
                continue;
            Assert.That(stand.During(ShootdownCounter.Requests, () => mm.FlushTlbBatchedPending(null)), Is.EqualTo(1));
            Assert.That(stand.During(ShootdownCounter.Requests, () => mm.FlushTlbBatchedPending(null)), Is.Zero);
        }
    }
}
