using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Access = Emulator.Hardware.Memory.Access;

namespace Emulator.Tests.Memory;

/// <summary>The large front answers what the slow path would, counts as it does, and nothing once the first level has lost the page. Random sequences are in <see cref="TlbModelTests"/>.</summary>
internal sealed unsafe class LargeFrontTests
{
    private const ulong Large = 0x8000_0000, LargeSize = 0x20_0000, Other = Large + 0x5000;
    private static readonly Pfn Frame = new(0x400);

    private static GuestTables Machine(Pte flags = Pte.Present | Pte.Writable | Pte.User)
    {
        var guest = new GuestTables();
        guest.Map(Large, Frame, flags, level: 1);
        return guest;
    }

    private static bool Answers(GuestTables guest, ulong address, Access access, int size = 1) => Mmu.FillFromLarge(guest.State, address, size, access == Access.Write);

    /// <summary>A page that loads and stores have used, so that the large front knows it.</summary>
    private static GuestTables Warm()
    {
        GuestTables guest = Machine();
        GuestTables.Touch(guest.State, Large, Access.Write);
        GuestTables.Touch(guest.State, Large, Access.Read);
        Assert.That(Answers(guest, Other, Access.Read) && Answers(guest, Other, Access.Write), "before");
        return guest;
    }

    [Test]
    public void One_access_makes_it_answer_for_the_whole_page_and_nothing_beside_it()
    {
        using GuestTables guest = Warm();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Answers(guest, Large, Access.Read) && Answers(guest, Large + LargeSize - 1, Access.Write));
            Assert.That(Answers(guest, Large - 1, Access.Read) || Answers(guest, Large + LargeSize, Access.Read), Is.False);
            Assert.That(Answers(guest, Large + LargeSize * FrontEntry.LargeCount, Access.Read), Is.False, "its neighbour in the array");
            Assert.That(Answers(guest, Large | 1UL << 63, Access.Read), Is.False, "not canonical");
            Assert.That(GuestTables.Touch(guest.State, Large + 0x12_3456, Access.Read), Is.EqualTo(Frame.Address + 0x12_3456));
        }
    }

    [Test]
    public void An_answer_counts_as_a_hit_of_the_first_level()
    {
        using GuestTables guest = Warm();
        CounterValues before = guest.State->Tlb.Counters;
        for (ulong page = 0; page < LargeSize; page += Pfn.Size)
            GuestTables.Touch(guest.State, Large + page, Access.Read);
        ulong Counted(Counter counter) => guest.State->Tlb.Counters[counter] - before[counter];
        using (Assert.EnterMultipleScope())
        {
            // Two pages are in the front itself.
            Assert.That(Counted(Counter.FrontMisses), Is.EqualTo(510));
            Assert.That(Counted(Counter.Level1Misses) + Counted(Counter.Walks), Is.Zero);
        }
    }

    [Test]
    public void A_page_that_is_crossed_is_for_the_slow_path()
    {
        using GuestTables guest = Warm();
        Assert.That(Answers(guest, Other + Pfn.Size - 4, Access.Read, 8) || Answers(guest, Other + Pfn.Size - 4, Access.Write, 8), Is.False);
        Assert.That(Answers(guest, Other + Pfn.Size - 8, Access.Read, 8) && Answers(guest, Other + Pfn.Size - 8, Access.Write, 8));
    }

    [TestCase(Pte.Present | Pte.User)]
    [TestCase(Pte.Present | Pte.User | Pte.Writable)]
    public void Loads_of_a_read_only_or_a_clean_page_let_no_store_through(Pte flags)
    {
        using GuestTables guest = Machine(flags);
        GuestTables.Touch(guest.State, Large, Access.Read);
        Assert.That(Answers(guest, Other, Access.Read));
        Assert.That(Answers(guest, Other, Access.Write), Is.False);
    }

    [Test]
    public void A_store_that_faults_takes_loads_along()
    {
        using GuestTables guest = Machine(Pte.Present | Pte.User);
        GuestTables.Touch(guest.State, Large, Access.Read);
        Assert.That(GuestTables.Touch(guest.State, Other, Access.Write), Is.Null);
        Assert.That(Answers(guest, Other, Access.Read), Is.False);
    }

    [Test]
    public void A_first_store_that_finds_another_frame_moves_loads_there_too()
    {
        using GuestTables guest = Machine();
        GuestTables.Touch(guest.State, Large, Access.Read);
        Pfn copy = new(Frame.Value + 512);
        guest.Map(Large, copy, level: 1);
        Assert.That(GuestTables.Touch(guest.State, Other, Access.Read), Is.EqualTo(Frame.Address + (Other - Large)), "nobody has flushed");
        Assert.That(GuestTables.Touch(guest.State, Large, Access.Write), Is.EqualTo(copy.Address));
        Assert.That(GuestTables.Touch(guest.State, Other, Access.Read), Is.EqualTo(copy.Address + (Other - Large)));
    }

    private static readonly (string Name, Action<GuestTables> Do)[] Losses =
    [
        ("INVLPG of any address in it", static guest => Mmu.InvalidatePage(guest.State, Large + 0x1F_F123)),
        ("INVPCID of an address", static guest => Mmu.InvalidatePcid(guest.State, InvpcidType.IndividualAddress, 0, Large + 0x7000)),
        ("INVPCID of the context", static guest => Mmu.InvalidatePcid(guest.State, InvpcidType.SingleContext, 0, 0)),
        ("INVPCID of all", static guest => Mmu.InvalidatePcid(guest.State, InvpcidType.AllIncludingGlobals, 0, 0)),
        ("INVPCID of all but globals", static guest => Mmu.InvalidatePcid(guest.State, InvpcidType.AllExceptGlobals, 0, 0)),
        ("MOV to CR3", static guest => Mmu.LoadCr3(guest.State, guest.Root, 0, noFlush: false)),
        ("another PCID", static guest => Mmu.LoadCr3(guest.State, guest.Root, 1, noFlush: true)),
        ("a broadcast of the page", static guest => Mmu.Broadcast(guest.State, 0, Large + 0x3000)),
        ("a broadcast of all", static guest => Mmu.Broadcast(guest.State)),
        ("eviction", static guest => Fill(guest, first: 1)),
        ("a witness, for good", static guest =>
        {
            guest.Vcpu.Witness = new Silent();
            GuestTables.Touch(guest.State, Large, Access.Read);
        }),
        ("alignment checks, for good", static guest =>
        {
            guest.State->Registers.FlagsSystem |= Flags.AlignmentCheck;
            guest.Vcpu.Enter();
            guest.State->Budget = 0;
            guest.Vcpu.Run();
            guest.Vcpu.Leave();
            GuestTables.Touch(guest.State, Large, Access.Read);
        }),
    ];

    private static IEnumerable<TestCaseData> LossCases => Losses.Select((loss, i) => new TestCaseData(i).SetArgDisplayNames(loss.Name));

    [TestCaseSource(nameof(LossCases))]
    public void It_loses_the_page_with(int loss)
    {
        using GuestTables guest = Warm();
        Losses[loss].Do(guest);
        Assert.That(Answers(guest, Other, Access.Read) || Answers(guest, Other, Access.Write), Is.False);
        guest.Vcpu.Witness = null;
    }

    [Test]
    public void A_frame_of_code_takes_no_stores_and_its_neighbours_do()
    {
        using GuestTables guest = Warm();
        guest.Vcpu.Enter();
        guest.Platform.CodeFrames.Mark(guest.Vcpu, new Pfn(Frame.Value + 5));
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Answers(guest, Other, Access.Write), Is.False);
            Assert.That(Answers(guest, Other, Access.Read));
            Assert.That(guest.State->Front[FrontEntry.Count + (int)(Other >> 12 & (FrontEntry.Count - 1))].Tag, Is.EqualTo(FrontEntry.NoTag));
            Assert.That(Answers(guest, Other + Pfn.Size, Access.Write));
        }
        guest.Vcpu.Leave();
    }

    /// <summary>Reads as many large pages as the first level holds.</summary>
    private static void Fill(GuestTables guest, ulong first)
    {
        for (ulong i = first; i < first + (ulong)TlbGeometry.Default.Level1Large.Entries; i++)
        {
            guest.Map(Large + i * LargeSize, new Pfn(Frame.Value + i * 512), level: 1);
            GuestTables.Touch(guest.State, Large + i * LargeSize, Access.Read);
        }
    }

    private sealed class Silent : TranslationWitness
    {
        public override uint OnFill(in CachedTranslation filled) => 0;

        public override void OnUse(ulong address, Access access, in CachedTranslation cached, uint stamp)
        {
        }

        public override void OnWalk(ulong address, int level, Pfn table, uint? stamp)
        {
        }

        public override void OnFlush(ulong? address, ulong? context)
        {
        }
    }
}
