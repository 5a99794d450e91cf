using Emulator.Hardware.Memory;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using Access = Emulator.Hardware.Memory.Access;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>
/// Stale is what a flush has left behind that was declared done. Each flush is played twice: as it is, and with a vCPU that the kernel has
/// lost sight of, which is the planted fault.
/// </summary>
public sealed unsafe class StaleTests
{
    private static readonly ulong _page = ShootdownStand.Base;

    /// <summary>Two vCPUs run the address space, and vCPU 1 has translations of two pages for all accesses.</summary>
    private static ShootdownStand Warm(out AddressSpace mm)
    {
        var stand = new ShootdownStand(vcpus: 2, check: true);
        mm = stand.Create();
        stand.Load(0, mm);
        stand.Load(1, mm);
        Assert.That(Touch(stand, ShootdownStand.Base, Access.Write) && Touch(stand, ShootdownStand.Page(1), Access.Write));
        Assert.That(stand.Findings, Is.Empty);
        return stand;
    }

    private static bool Touch(ShootdownStand stand, ulong address, Access access)
    {
        bool translated = false;
        stand.On(1, v => translated = Mmu.Translate(v.State, address, access, user: true, out _));
        return translated;
    }

    /// <summary>The flush does not reach vCPU 1, as if its bit in mm_cpumask had been lost.</summary>
    private static void Lose(AddressSpace mm, bool fault)
    {
        if (fault)
            mm.Context.Cpus.RemoveAtomic(1);
    }

    private static void ExpectStale(ShootdownStand stand, bool fault) =>
        Assert.That(stand.Rules, Is.EqualTo(fault ? CheckerRules.Stale : ""));

    [Test]
    public void A_cleared_entry_is_stale_from_the_end_of_the_flush_on([Values] bool fault)
    {
        using ShootdownStand stand = Warm(out AddressSpace mm);
        PageTables.Clear(mm.Tables.Find(_page), out ulong old);
        Assert.That(Touch(stand, _page, Access.Read), "the flush is owed, and nobody may complain");
        Assert.That(stand.Findings, Is.Empty);
        Lose(mm, fault);
        stand.Tlb.FlushPage(stand.Self, mm, _page);
        Assert.That(Touch(stand, _page, Access.Read), Is.EqualTo(fault));
        ExpectStale(stand, fault);
        stand.Pages.Put(PageTables.FrameOf(old));
    }

    [Test]
    public void An_entry_with_another_frame_is_stale([Values] bool fault)
    {
        using ShootdownStand stand = Warm(out AddressSpace mm);
        ulong* one = mm.Tables.Find(_page), other = mm.Tables.Find(ShootdownStand.Page(2));
        (*one, *other) = (*other, *one);
        Lose(mm, fault);
        stand.Tlb.FlushMmRange(stand.Self, mm, _page, ShootdownStand.Page(3), Pfn.Shift, freedTables: false);
        Touch(stand, _page, Access.Read);
        ExpectStale(stand, fault);
        (*one, *other) = (*other, *one);
    }

    [TestCase(Access.Write, true, true)]
    [TestCase(Access.Write, false, false)]
    [TestCase(Access.Read, true, false)]
    public void A_right_that_was_taken_away_is_missed_by_who_uses_it(Access access, bool fault, bool stale)
    {
        using ShootdownStand stand = Warm(out AddressSpace mm);
        PageTables.Modify(mm.Tables.Find(_page), Pte.Writable, Pte.None);
        Lose(mm, fault);
        stand.Tlb.FlushPage(stand.Self, mm, _page);
        Touch(stand, _page, access);
        ExpectStale(stand, stale);
    }

    [Test]
    public void A_store_that_would_not_set_the_dirty_flag_again_is_stale([Values] bool fault)
    {
        // page_mkclean: what is stored now would never be written back.
        using ShootdownStand stand = Warm(out AddressSpace mm);
        PageTables.Modify(mm.Tables.Find(_page), Pte.Dirty, Pte.None);
        Lose(mm, fault);
        stand.Tlb.FlushPage(stand.Self, mm, _page);
        Touch(stand, _page, Access.Write);
        ExpectStale(stand, fault);
    }

    [Test]
    public void A_right_that_was_given_is_no_difference()
    {
        using var stand = new ShootdownStand(vcpus: 2, check: true);
        AddressSpace mm = stand.Create();
        stand.Load(1, mm);
        PageTables.Modify(mm.Tables.Find(_page), Pte.Writable, Pte.None);
        Assert.That(Touch(stand, _page, Access.Read));
        PageTables.Modify(mm.Tables.Find(_page), Pte.None, Pte.Writable);
        Lose(mm, fault: true);
        stand.Tlb.FlushPage(stand.Self, mm, _page);
        Assert.That(Touch(stand, _page, Access.Read));
        ExpectStale(stand, fault: false);
    }

    [Test]
    public void A_flush_beside_the_page_says_nothing_of_it()
    {
        using ShootdownStand stand = Warm(out AddressSpace mm);
        PageTables.Clear(mm.Tables.Find(_page), out ulong old);
        Lose(mm, fault: true);
        stand.Tlb.FlushPage(stand.Self, mm, ShootdownStand.Page(1));
        Assert.That(Touch(stand, _page, Access.Read));
        ExpectStale(stand, fault: false);
        *mm.Tables.Find(_page) = old;
    }

    [Test]
    public void A_batch_is_done_when_it_is_paid([Values] bool fault)
    {
        using ShootdownStand stand = Warm(out AddressSpace mm);
        var batch = new TlbBatch(stand.Tlb);
        PageTables.Clear(mm.Tables.Find(_page), out ulong old);
        Lose(mm, fault);
        batch.AddPending(stand.Self, mm, _page, dirty: true);
        Assert.That(Touch(stand, _page, Access.Write), "put off");
        Assert.That(stand.Findings, Is.Empty);
        batch.TryToUnmapFlush(stand.Self);
        Touch(stand, _page, Access.Write);
        ExpectStale(stand, fault);
        stand.Pages.Put(PageTables.FrameOf(old));
    }

    [Test]
    public void A_slot_that_is_thought_to_be_up_to_date_is_stale_after_the_switch([Values] bool fault)
    {
        using ShootdownStand stand = Warm(out AddressSpace mm);
        AddressSpace other = stand.Create();
        stand.Load(1, other);
        PageTables.Clear(mm.Tables.Find(_page), out ulong old);
        stand.Tlb.FlushPage(stand.Self, mm, _page);
        if (fault)
        {
            foreach (ref CpuTlbState.Slot slot in stand.Tlb.StateOf(1).Slots.AsSpan())
                slot.Generation = slot.ContextId == mm.Context.Id ? mm.Context.Generation : slot.Generation;
        }
        stand.Load(1, mm);
        Touch(stand, _page, Access.Read);
        ExpectStale(stand, fault);
        stand.Pages.Put(PageTables.FrameOf(old));
    }

    [Test]
    public void What_a_cached_table_still_leads_to_is_stale([Values] bool fault)
    {
        // The table is unhooked but lives on, as one does that others share.
        using ShootdownStand stand = Warm(out AddressSpace mm);
        Pfn table = mm.Tables.UnhookTable(_page);
        Lose(mm, fault);
        stand.Tlb.FlushMmRange(stand.Self, mm, _page, _page + PageTables.HugeSize, PageTable.Shift(1), freedTables: true);
        Touch(stand, ShootdownStand.Page(5), Access.Read);
        Touch(stand, ShootdownStand.Page(5), Access.Read);
        ExpectStale(stand, fault);
        if (fault)
            Assert.That(stand.Findings[0].Text, Does.Contain("by way of a table cached earlier"));
        mm.Tables.HookTable(_page, table);
    }

    [Test]
    public void A_report_says_who_cached_it_what_was_flushed_since_and_who_was_asked()
    {
        using ShootdownStand stand = Warm(out AddressSpace mm);
        PageTables.Clear(mm.Tables.Find(_page), out ulong old);
        Lose(mm, fault: true);
        stand.Tlb.FlushPage(stand.Self, mm, _page);
        Touch(stand, _page, Access.Write);
        string[] lines = stand.Findings[0].Text.Split('\n');
        Assert.That(lines[0], Does.Match(@"^#\d+ \(time \d+ ns\): vCPU 1 writes 0x20000000 as frame 0x\w+ \(Writable, User, Dirty.*\), where the tables have nothing by now"));
        Assert.That(lines[1], Does.Match(@"#\d+ .*: cached by the kernel"));
        Assert.That(lines[2], Does.Contain("flushes since that cover it"));
        Assert.That(lines[3], Does.Match($@"#\d+ to #\d+: 20000000-20001000 of address space {mm.Context.Id}, by the kernel on vCPU 0"));
        Assert.That(lines[4], Does.Match(@"vCPU 0: asked, dropped page 20000000 of PCID \d"));
        Assert.That(lines[5], Does.Contain("oldest event first"));
        Touch(stand, _page, Access.Write);
        Assert.That(stand.Findings, Has.Count.EqualTo(1), "once for each translation");
        stand.Pages.Put(PageTables.FrameOf(old));
    }
}
