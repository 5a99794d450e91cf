using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Access = Emulator.Hardware.Memory.Access;

namespace Emulator.Tests.Memory;

/// <summary>Stale entries, page crossings, bad addresses: what the slow path must get right one by one.</summary>
internal sealed unsafe class MmuAccessTests
{
    private const ulong Page = 0x7F00_1234_5000;
    private const Pte UserWritable = Pte.Present | Pte.Writable | Pte.User;

    [Test]
    public void An_entry_outlives_a_change_of_its_page_table_entry_until_INVLPG([Values] Access access)
    {
        using var guest = new GuestTables();
        guest.Map(Page, new Pfn(100));
        Assert.That(GuestTables.Touch(guest.State, Page, access), Is.EqualTo(100UL << 12));
        *guest.Slot(Page) = 0;
        Assert.That(GuestTables.Touch(guest.State, Page, access), Is.EqualTo(100UL << 12), "stale, and still used");
        Mmu.InvalidatePage(guest.State, Page);
        Assert.That(GuestTables.Touch(guest.State, Page, access), Is.Null);
    }

    [Test]
    public void An_entry_keeps_its_rights_when_the_tables_lose_them()
    {
        using var guest = new GuestTables();
        guest.Map(Page, new Pfn(100));
        GuestTables.Touch(guest.State, Page, Access.Write);
        *guest.Slot(Page) &= ~(ulong)Pte.Writable;
        Assert.That(GuestTables.Touch(guest.State, Page, Access.Write), Is.Not.Null);
        Mmu.InvalidatePage(guest.State, Page);
        Assert.That(GuestTables.Touch(guest.State, Page, Access.Write), Is.Null);
        Assert.That(guest.State->ErrorCode, Is.EqualTo(7));
    }

    [Test]
    public void A_right_that_the_tables_gained_needs_no_flush()
    {
        using var guest = new GuestTables();
        guest.Map(Page, new Pfn(100), Pte.Present | Pte.User);
        GuestTables.Touch(guest.State, Page, Access.Read);
        guest.Map(Page, new Pfn(101));
        Assert.That(GuestTables.Touch(guest.State, Page, Access.Write), Is.EqualTo(101UL << 12));
        Assert.That(GuestTables.Touch(guest.State, Page, Access.Read), Is.EqualTo(101UL << 12), "the walk replaced the entry");
    }

    [Test]
    public void The_jump_cache_loses_a_page_with_its_translation([Values] bool byUpgrade)
    {
        using var guest = new GuestTables();
        guest.Map(Page, new Pfn(100), Pte.Present | Pte.User);
        Assert.That(Mmu.FetchTranslate(guest.State, Page + 0x123, out _));
        var jump = JumpCache.Slot(guest.State, Page + 0x123);
        jump->Rip = Page + 0x123;
        guest.Map(Page, new Pfn(101));
        if (byUpgrade)
            GuestTables.Touch(guest.State, Page, Access.Write);
        else
            Mmu.InvalidatePage(guest.State, Page);
        Assert.That(jump->Rip, Is.Not.EqualTo(Page + 0x123));
    }

    [Test]
    public void The_jump_cache_loses_a_page_when_both_levels_have_evicted_it()
    {
        using var guest = new GuestTables(geometry: new TlbGeometry(new TlbLevel(4, 4), new TlbLevel(8, 8)));
        for (ulong page = 0; page < 16; page++)
            guest.Map(Page + page * 0x1000, new Pfn(100 + page));
        Assert.That(Mmu.FetchTranslate(guest.State, Page, out _));
        var jump = JumpCache.Slot(guest.State, Page);
        jump->Rip = Page;
        for (ulong page = 1; page <= 8; page++)
        {
            Assert.That(jump->Rip, Is.EqualTo(Page), $"before the fill number {page}");
            GuestTables.Touch(guest.State, Page + page * 0x1000, Access.Read);
        }
        Assert.That(jump->Rip, Is.Not.EqualTo(Page));
    }

    [Test]
    public void The_dirty_flag_is_set_by_the_first_store_through_a_clean_entry_only()
    {
        using var guest = new GuestTables();
        guest.Map(Page, new Pfn(100));
        GuestTables.Touch(guest.State, Page, Access.Read);
        Assert.That(*guest.Slot(Page) & (ulong)Pte.Dirty, Is.Zero);
        GuestTables.Touch(guest.State, Page, Access.Write);
        Assert.That(*guest.Slot(Page) & (ulong)Pte.Dirty, Is.Not.Zero);
        *guest.Slot(Page) &= ~(ulong)(Pte.Dirty | Pte.Accessed);
        GuestTables.Touch(guest.State, Page, Access.Write);
        Assert.That(*guest.Slot(Page) & (ulong)(Pte.Dirty | Pte.Accessed), Is.Zero, "the entry says dirty: no walk");
    }

    [Test]
    public void A_freed_page_table_is_still_walked_until_the_paging_structure_cache_is_flushed()
    {
        using var guest = new GuestTables();
        guest.Map(Page, new Pfn(100));
        guest.Map(Page + 0x1000, new Pfn(101));
        GuestTables.Touch(guest.State, Page, Access.Read);
        var oldTable = guest.Slot(Page);
        *guest.Slot(Page, level: 1) = guest.NewFrame().Address | 7;
        guest.Map(Page + 0x1000, new Pfn(201));
        Assert.That(GuestTables.Touch(guest.State, Page + 0x1000, Access.Read), Is.EqualTo(101UL << 12), "the cached PDE leads to the old table");
        Assert.That(oldTable[1] & (ulong)Pte.Accessed, Is.Not.Zero, "and the walker writes to it");
        Mmu.InvalidatePage(guest.State, 0x1000);
        Mmu.InvalidatePage(guest.State, Page + 0x1000);
        Assert.That(GuestTables.Touch(guest.State, Page + 0x1000, Access.Read), Is.EqualTo(201UL << 12), "INVLPG of any address drops it");
    }

    [Test]
    public void INVLPG_inside_a_large_page_drops_all_of_it()
    {
        using var guest = new GuestTables();
        guest.Map(0x4000_0000, new Pfn(0x4_0000), level: 2);
        GuestTables.Touch(guest.State, 0x4000_0000, Access.Write);
        GuestTables.Touch(guest.State, 0x5234_5678, Access.Write);
        *guest.Slot(0x4000_0000, 2) = 0;
        Assert.That(GuestTables.Touch(guest.State, 0x5234_5678, Access.Write), Is.EqualTo(0x5234_5678UL));
        Mmu.InvalidatePage(guest.State, 0x7FFF_F000);
        Assert.That(GuestTables.Touch(guest.State, 0x4000_0000, Access.Write), Is.Null);
        Assert.That(GuestTables.Touch(guest.State, 0x5234_5678, Access.Write), Is.Null);
    }

    [Test]
    public void Global_entries_survive_a_load_of_CR3_and_serve_every_PCID()
    {
        using var guest = new GuestTables();
        var other = guest.NewFrame();
        guest.Map(Page, new Pfn(100), UserWritable | Pte.Global);
        guest.Map(Page + 0x1000, new Pfn(101));
        GuestTables.Touch(guest.State, Page, Access.Read);
        GuestTables.Touch(guest.State, Page + 0x1000, Access.Read);
        Mmu.LoadCr3(guest.State, other, 5, noFlush: false);
        Assert.That(GuestTables.Touch(guest.State, Page, Access.Read), Is.EqualTo(100UL << 12));
        Assert.That(GuestTables.Touch(guest.State, Page + 0x1000, Access.Read), Is.Null, "another PCID's");
        Mmu.LoadCr3(guest.State, other, 0, noFlush: true);
        Assert.That(GuestTables.Touch(guest.State, Page + 0x1000, Access.Read), Is.EqualTo(101UL << 12), "kept by the no-flush bit");
    }

    [TestCase(2)]
    [TestCase(8)]
    [TestCase(16)]
    [TestCase(64)]
    public void A_page_crossing_access_moves_both_parts(int size)
    {
        using var guest = new GuestTables();
        guest.Map(Page, new Pfn(300));
        guest.Map(Page + 0x1000, new Pfn(200));
        var data = stackalloc byte[64];
        for (int split = 1; split < size; split++)
        {
            ulong address = Page + 0x1000 - (ulong)split;
            for (int i = 0; i < size; i++)
                data[i] = (byte)(split * 7 + i + 1);
            Assert.That(Mmu.WriteSlow(guest.State, address, data, size));
            byte* back = Mmu.ReadSlow(guest.State, address, size);
            Assert.That(new Span<byte>(back, size).SequenceEqual(new Span<byte>(data, size)));
            Assert.That(*(guest.Platform.Memory.Pointer(new Pfn(300)) + 4096 - split), Is.EqualTo(data[0]));
            Assert.That(*(guest.Platform.Memory.Pointer(new Pfn(200)) + size - split - 1), Is.EqualTo(data[size - 1]));
            byte* both = Mmu.ModifySlow(guest.State, address, size);
            Assert.That(new Span<byte>(both, size).SequenceEqual(new Span<byte>(data, size)));
            both[0]++;
            both[size - 1]++;
            Mmu.CommitModify(guest.State, address, both, size);
            Assert.That(*(guest.Platform.Memory.Pointer(new Pfn(300)) + 4096 - split), Is.EqualTo((byte)(data[0] + 1)));
            Assert.That(*(guest.Platform.Memory.Pointer(new Pfn(200)) + size - split - 1), Is.EqualTo((byte)(data[size - 1] + 1)));
        }
    }

    [Test]
    public void A_crossing_store_whose_second_page_faults_writes_nothing_and_names_the_second_page()
    {
        using var guest = new GuestTables();
        guest.Map(Page, new Pfn(300));
        guest.Map(Page + 0x1000, new Pfn(200), Pte.Present | Pte.User);
        ulong data = ulong.MaxValue;
        Assert.That(Mmu.WriteSlow(guest.State, Page + 0xFFC, (byte*)&data, 8), Is.False);
        Assert.That(guest.State->Vector, Is.EqualTo(14));
        Assert.That(guest.State->FaultAddress, Is.EqualTo(Page + 0x1000));
        Assert.That(guest.State->ErrorCode, Is.EqualTo(7));
        Assert.That(*(uint*)(guest.Platform.Memory.Pointer(new Pfn(300)) + 0xFFC), Is.Zero);
        *guest.Slot(Page) = 0;
        Mmu.InvalidatePage(guest.State, Page);
        Assert.That(Mmu.WriteSlow(guest.State, Page + 0xFFC, (byte*)&data, 8), Is.False);
        Assert.That(guest.State->FaultAddress, Is.EqualTo(Page + 0xFFC), "the first page is checked first");
    }

    [TestCase(0x0000_8000_0000_0000UL, 1)]
    [TestCase(0x0000_7FFF_FFFF_FFFCUL, 8)]
    [TestCase(0xFFFF_7FFF_FFFF_FFFFUL, 1)]
    [TestCase(0x8000_0000_0000_0000UL, 4)]
    [TestCase(0x4000_0000_0000_1000UL, 4)]
    public void A_non_canonical_address_is_no_page_fault(ulong address, int size)
    {
        using var guest = new GuestTables();
        ulong data = 0;
        guest.Map(0x7FFF_FFFF_F000, new Pfn(300));
        Assert.That(Mmu.ReadSlow(guest.State, address, size) is null);
        Assert.That(guest.State->Vector, Is.EqualTo(VcpuState.NonCanonical));
        guest.State->Vector = 0;
        Assert.That(Mmu.WriteSlow(guest.State, address, (byte*)&data, size), Is.False);
        Assert.That(guest.State->Vector, Is.EqualTo(VcpuState.NonCanonical));
    }

    [TestCase(ulong.MaxValue, 1)]
    [TestCase(ulong.MaxValue - 3, 8)]
    [TestCase(0UL, 8)]
    public void Unmapped_edges_of_the_address_space_fault_at_their_first_byte(ulong address, int size)
    {
        using var guest = new GuestTables();
        Assert.That(Mmu.ReadSlow(guest.State, address, size) is null);
        Assert.That(guest.State->Vector, Is.EqualTo(14));
        Assert.That(guest.State->FaultAddress, Is.EqualTo(address));
        Assert.That(guest.State->ErrorCode, Is.EqualTo(4));
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    public void An_entry_that_points_outside_memory_faults_as_reserved(int level)
    {
        using var guest = new GuestTables(bytes: 1UL << 24);
        guest.Map(Page, new Pfn(100));
        *guest.Slot(Page, level) = 0x0000_1000_0000_0000 | (ulong)UserWritable;
        Assert.That(Mmu.ReadSlow(guest.State, Page, 1) is null);
        Assert.That(guest.State->ErrorCode, Is.EqualTo(0xD));
    }

    [Test]
    public void A_terabyte_of_memory_costs_nothing_until_it_is_touched()
    {
        using var memory = new PhysicalMemory(1UL << 40);
        byte* last = memory.Pointer(new Pfn(memory.FrameCount - 1));
        last[4095] = 1;
        Assert.That(last[4095], Is.EqualTo(1));
        memory.Discard(new Pfn(memory.FrameCount - 1), 1);
        Assert.That(last[4095], Is.Zero);
    }
}
