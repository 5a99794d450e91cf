using Emulator.Hardware.Memory;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>The checker finds each order that Linux forbids, played by hand, and nothing in the orders that Linux has.</summary>
public sealed unsafe class CoherenceTests
{
    /// <summary>Takes a page out of the tables as an unmapping does, and nothing more.</summary>
    private static Pfn Unhook(AddressSpace mm, ulong address)
    {
        PageTables.Clear(mm.Tables.Find(address), out ulong old);
        return PageTables.FrameOf(old);
    }

    [Test]
    public void Unhook_flush_free_is_right()
    {
        using var stand = new ShootdownStand(vcpus: 2, check: true);
        AddressSpace mm = stand.Create();
        stand.Load(1, mm);
        stand.ReadPages(1, 4);
        Assert.That(mm.Munmap(null, ShootdownStand.Base, 2 << 12), Is.Zero);
        Assert.That(stand.Read(1, ShootdownStand.Base), Is.False);
        Assert.That(stand.Read(1, ShootdownStand.Page(2)));
        Assert.That(stand.Findings, Is.Empty);
    }

    [Test]
    public void A_stale_translation_of_a_frame_that_still_has_its_owner_is_no_corruption()
    {
        using var stand = new ShootdownStand(check: true);
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        stand.ReadPages(0, 1);
        Pfn frame = Unhook(mm, ShootdownStand.Base);
        Assert.That(stand.Read(0, ShootdownStand.Base), "the TLB still has it");
        Assert.That(stand.Findings, Is.Empty);
        stand.Tlb.FlushPage(stand.Self, mm, ShootdownStand.Base);
        stand.Pages.Put(frame);
    }

    [Test]
    public void A_forgotten_flush_is_found([Values] bool reused)
    {
        using var stand = new ShootdownStand(vcpus: 2, check: true);
        AddressSpace mm = stand.Create();
        stand.Load(1, mm);
        stand.ReadPages(1, 1);
        Pfn frame = Unhook(mm, ShootdownStand.Base);
        stand.Pages.Put(frame);
        if (reused)
            Assert.That(stand.Pages.TryAllocate(PageFlags.Anon, zero: true, out Pfn again) && again == frame, "the frame has a new owner");
        stand.Read(1, ShootdownStand.Base);
        Assert.That(stand.Rules, Is.EqualTo(CheckerRules.FreedFrame));
        Assert.That(stand.Findings[0].Text, Does.Contain("vCPU 1 reads 0x20000000").And.Contain("allocated as Anon").And.Contain("freed, was Anon"));
        if (!reused)
            return;
        Assert.That(stand.Findings[0].Text.Split('\n'), Has.Length.EqualTo(7), "who cached it, no flush, allocated, freed, allocated again");
        stand.Pages.Put(frame);
    }

    [Test]
    public void A_free_before_the_flush_is_found_if_somebody_looks_between()
    {
        using var stand = new ShootdownStand(vcpus: 2, check: true);
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        stand.Load(1, mm);
        stand.ReadPages(1, 1);
        stand.Pages.Put(Unhook(mm, ShootdownStand.Base));
        stand.Read(1, ShootdownStand.Base);
        stand.Tlb.FlushPage(stand.Self, mm, ShootdownStand.Base);
        stand.Read(1, ShootdownStand.Base);
        Assert.That(stand.Findings, Has.Count.EqualTo(1));
    }

    [Test]
    public void A_flush_of_one_processor_alone_is_found()
    {
        using var stand = new ShootdownStand(vcpus: 2, check: true);
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        stand.Load(1, mm);
        stand.ReadPages(0, 1);
        stand.ReadPages(1, 1);
        Pfn frame = Unhook(mm, ShootdownStand.Base);
        Mmu.InvalidatePage(stand.Self.State, ShootdownStand.Base);
        stand.Pages.Put(frame);
        stand.Read(0, ShootdownStand.Base);
        Assert.That(stand.Findings, Is.Empty);
        stand.Read(1, ShootdownStand.Base);
        Assert.That(stand.Findings, Has.Count.EqualTo(1));
    }

    [Test]
    public void A_slot_kept_over_a_switch_is_stale_unless_its_generation_was_raised([Values] bool raised)
    {
        using var stand = new ShootdownStand(check: true);
        AddressSpace mm = stand.Create(), other = stand.Create();
        stand.Load(0, mm);
        stand.ReadPages(0, 1);
        stand.Load(0, other);
        Pfn frame = Unhook(mm, ShootdownStand.Base);
        if (raised)
            mm.Context.RaiseGeneration();
        stand.Pages.Put(frame);
        stand.Load(0, mm);
        stand.Read(0, ShootdownStand.Base);
        Assert.That(stand.Findings, Has.Count.EqualTo(raised ? 0 : 1));
    }

    [Test]
    public void A_lazy_vcpu_may_walk_freed_tables_unless_it_was_told([Values] bool told)
    {
        // freed_tables: a processor may walk whatever CR3 names at any time, also while it has nothing to run.
        using var stand = new ShootdownStand(vcpus: 2, check: true);
        AddressSpace mm = stand.Create(pages: 4);
        stand.Idle(1, mm);
        stand.Load(0, mm);
        stand.ReadPages(1, 1);
        UnmapWithTable(stand, mm, told);
        stand.Read(1, ShootdownStand.Page(1));
        Assert.That(stand.Rules, Is.EqualTo(told ? "" : CheckerRules.FreedTable));
    }

    [Test]
    public void A_flush_that_leaves_the_paging_structure_cache_is_found()
    {
        using var stand = new ShootdownStand(check: true);
        AddressSpace mm = stand.Create(pages: 4);
        stand.Load(0, mm);
        stand.ReadPages(0, 1);
        // The table of level 0 goes without a word to the processor; page 1 was never translated, but the way to its table is cached.
        Pfn table = TableOf(stand, mm);
        ulong* upper = UpperEntry(stand, mm);
        ulong entry = *upper;
        *upper = 0;
        stand.Pages.Put(table);
        stand.Read(0, ShootdownStand.Page(1));
        Assert.That(stand.Rules, Is.EqualTo(CheckerRules.FreedTable));
        Assert.That(stand.Findings[0].Text, Does.Contain("paging-structure cache"));
        // Put back what the address space believes it has.
        Assert.That(stand.Pages.TryAllocate(PageFlags.Table, zero: false, out Pfn again) && again == table);
        *upper = entry;
    }

    [TestCase(false)]
    [TestCase(true)]
    [CancelAfter(60_000)]
    public void Readers_at_full_speed_find_the_wrong_order_and_nothing_else(bool freeFirst, CancellationToken cancel)
    {
        const int readers = 2, rounds = 50;
        using var stand = new ShootdownStand(vcpus: readers + 1, check: true);
        AddressSpace mm = stand.Create(pages: rounds);
        int current = 0, seen = 0;
        var actions = new List<Action>();
        for (int i = 1; i <= readers; i++)
        {
            int id = i;
            actions.Add(() => stand.On(id, vcpu =>
            {
                stand.Tlb.SwitchMm(vcpu, mm);
                for (int page; (page = Volatile.Read(ref current)) < rounds; vcpu.ServeRequests())
                {
                    if (Mmu.Translate(vcpu.State, ShootdownStand.Page(page), Hardware.Memory.Access.Read, user: true, out _))
                        Interlocked.Increment(ref seen);
                }
            }));
        }
        actions.Add(() => stand.On(0, self =>
        {
            self.Enter();
            void WaitForReader()
            {
                for (int before = Volatile.Read(ref seen); Volatile.Read(ref seen) == before && !cancel.IsCancellationRequested; Thread.Yield())
                    self.ServeRequests();
            }
            for (int page = 0; page < rounds; page++)
            {
                WaitForReader();
                if (freeFirst)
                {
                    stand.Pages.Put(Unhook(mm, ShootdownStand.Page(page)));
                    WaitForReader();
                    stand.Tlb.FlushPage(self, mm, ShootdownStand.Page(page));
                }
                else
                {
                    mm.Munmap(null, ShootdownStand.Page(page), 4096);
                }
                Volatile.Write(ref current, page + 1);
            }
            self.Leave();
        }));
        stand.Self.Leave();
        Smp.Threads.RunAll(cancel, [.. actions]);
        stand.Self.Enter();
        Assert.That(stand.Findings.Select(f => f.Rule), freeFirst ? Has.Some.EqualTo(CheckerRules.FreedFrame) : Is.Empty);
    }

    private static ulong* UpperEntry(ShootdownStand stand, AddressSpace mm)
    {
        Pfn table = mm.Root;
        for (int level = PageTable.RootLevel; level > 1; level--)
            table = PageTables.FrameOf(((ulong*)stand.Pages.Memory.Pointer(table))[PageTable.Index(ShootdownStand.Base, level)]);
        return (ulong*)stand.Pages.Memory.Pointer(table) + PageTable.Index(ShootdownStand.Base, 1);
    }

    private static Pfn TableOf(ShootdownStand stand, AddressSpace mm) => PageTables.FrameOf(*UpperEntry(stand, mm));

    /// <summary>Unmaps the four pages with their table; the flush says truly or falsely that tables go.</summary>
    private static void UnmapWithTable(ShootdownStand stand, AddressSpace mm, bool told)
    {
        Pfn[] frames = [.. Enumerable.Range(0, 4).Select(i => Unhook(mm, ShootdownStand.Page(i)))];
        Pfn table = TableOf(stand, mm);
        *UpperEntry(stand, mm) = 0;
        stand.Tlb.FlushMmRange(stand.Self, mm, ShootdownStand.Base, ShootdownStand.Page(4), 12, freedTables: told);
        foreach (Pfn frame in frames)
            stand.Pages.Put(frame);
        stand.Pages.Put(table);
    }
}
