using Emulator.Hardware.Memory;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

/// <summary>Which anon_vma a page belongs to, and that the checker would say so if a count were wrong.</summary>
public sealed unsafe class ReverseMapTests
{
    private const ulong Base = 0x2000_0000;

    private MemoryStand _stand = null!;
    private Kernel.Memory.Mm _mm = null!;

    [SetUp]
    public void Make_an_address_space()
    {
        _stand = new MemoryStand();
        _mm = _stand.Create();
        Assert.That(_mm.Mmap(null, Base, 0x8000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0), Is.EqualTo((long)Base));
    }

    [TearDown]
    public void Nothing_is_left()
    {
        _mm.Put(null);
        int left = _stand.System.AnonVmas.Count;
        _stand.Dispose();
        Assert.That(left, Is.Zero);
    }

    private void Write(Kernel.Memory.Mm mm, ulong address, byte value)
    {
        Assert.That(_stand.Access(mm, address, write: true, out byte* host), Is.EqualTo(FaultOutcome.Done));
        *host = value;
    }

    private static Pfn FrameAt(Kernel.Memory.Mm mm, ulong address) => PageTables.FrameOf(*mm.Tables.Find(address));

    [Test]
    public void A_read_of_untouched_memory_needs_no_anon_vma()
    {
        _stand.Access(_mm, Base, write: false, out _);
        Assert.That(_mm.Vmas.Find(Base)!.AnonVma, Is.Null);
    }

    [Test]
    public void A_child_s_new_pages_are_looked_for_in_the_child_only()
    {
        Write(_mm, Base, 1);
        Kernel.Memory.Mm child = _mm.Fork(null)!;
        Write(child, Base, 2);
        Vma ours = _mm.Vmas.Find(Base)!, theirs = child.Vmas.Find(Base)!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(theirs.AnonVma!.Parent, Is.SameAs(ours.AnonVma));
            Assert.That(theirs.AnonVma.Root, Is.SameAs(ours.AnonVma));
            Assert.That(_stand.Pages[FrameAt(child, Base)].Owner, Is.EqualTo(theirs.AnonVma.Number));
            Assert.That(_stand.Pages[FrameAt(_mm, Base)].Owner, Is.EqualTo(ours.AnonVma!.Number));
        }
        child.Put(null);
    }

    [Test]
    public void A_line_of_forks_whose_parents_exit_does_not_grow_a_line_of_anon_vmas()
    {
        Write(_mm, Base, 1);
        for (int i = 0; i < 50; i++)
        {
            Kernel.Memory.Mm child = _mm.Fork(null)!;
            _mm.Put(null);
            _mm = child;
            Write(_mm, Base + ((ulong)(i % 8) << 12), (byte)i);
            Assert.That(_stand.System.AnonVmas.Count, Is.LessThanOrEqualTo(3));
        }
    }

    [Test]
    public void Neighbours_that_mprotect_made_share_one_anon_vma_and_join_again()
    {
        Assert.That(_mm.Mprotect(null, Base + 0x4000, 0x4000, PROT_READ), Is.Zero);
        Write(_mm, Base, 1);
        Assert.That(_mm.Mprotect(null, Base + 0x4000, 0x2000, PROT_READ | PROT_WRITE), Is.Zero);
        Write(_mm, Base + 0x4000, 1);
        Assert.That(_mm.Mprotect(null, Base + 0x6000, 0x2000, PROT_READ | PROT_WRITE), Is.Zero);
        Assert.That(_mm.MapCount, Is.EqualTo(1));
    }

    [Test]
    public void Mappings_with_pages_of_different_anon_vmas_stay_apart()
    {
        Assert.That(_mm.Munmap(null, Base + 0x2000, 0x2000), Is.Zero);
        Write(_mm, Base, 1);
        Write(_mm, Base + 0x5000, 1);
        Assert.That(_mm.Mmap(null, Base + 0x2000, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0), Is.EqualTo((long)Base + 0x2000));
        Assert.That(_mm.MapCount, Is.EqualTo(2), "the new mapping joins one of them");
    }

    [Test]
    public void The_last_owner_takes_a_page_over_and_it_is_found_with_it()
    {
        Write(_mm, Base, 1);
        Kernel.Memory.Mm child = _mm.Fork(null)!;
        Pfn frame = FrameAt(child, Base);
        _mm.Put(null);
        _mm = child;
        Write(child, Base, 2);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(FrameAt(child, Base), Is.EqualTo(frame), "nobody else has it, so it is not copied");
            Assert.That(_stand.Pages[frame].IsAnonExclusive);
            Assert.That(_stand.Pages[frame].Owner, Is.EqualTo(child.Vmas.Find(Base)!.AnonVma!.Number));
            Assert.That(new MmChecker(_stand.System).Check(), Is.Empty);
        }
    }

    [Test]
    public void The_checker_sees_wrong_counts_and_wrong_owners()
    {
        Write(_mm, Base, 1);
        ref Page page = ref _stand.Pages[FrameAt(_mm, Base)];
        page.RefCount++;
        Assert.That(new MmChecker(_stand.System).Check(), Has.One.Contains("references of"));
        page.RefCount--;
        page.MapCount++;
        Assert.That(new MmChecker(_stand.System).Check(), Has.One.Contains("map count of"));
        page.MapCount--;
        page.Index++;
        Assert.That(new MmChecker(_stand.System).Check(), Has.One.Contains("the reverse map of"));
        page.Index--;
        page.Flags &= ~PageFlags.AnonExclusive;
        Assert.That(new MmChecker(_stand.System).Check(), Has.One.Contains("not exclusive"));
        page.Flags |= PageFlags.AnonExclusive;
        Assert.That(new MmChecker(_stand.System).Check(), Is.Empty);
    }
}
