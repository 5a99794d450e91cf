using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Tests.Notifiers;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

/// <summary>Transparent huge pages: fault, split, and every walk that meets a leaf.</summary>
public sealed unsafe class HugePageTests
{
    private const ulong Huge = PageTables.HugeSize;
    private const ulong At = 0x4000_0000;

    private static ulong MapHuge(MemoryStand stand, Kernel.Memory.Mm mm, ulong pages = 1)
    {
        long at = mm.Mmap(null, At, pages * Huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        Assert.That(at, Is.EqualTo((long)At));
        Assert.That(mm.Madvise(null, At, pages * Huge, MADV_HUGEPAGE), Is.Zero);
        for (ulong i = 0; i < pages; i++)
            Write(stand, mm, At + i * Huge + 0x1234, (byte)(i + 1));
        return At;
    }

    private static void Write(MemoryStand stand, Kernel.Memory.Mm mm, ulong address, byte value)
    {
        Assert.That(stand.Access(mm, address, true, out byte* host), Is.EqualTo(FaultOutcome.Done));
        *host = value;
    }

    private static byte Read(MemoryStand stand, Kernel.Memory.Mm mm, ulong address)
    {
        Assert.That(stand.Access(mm, address, false, out byte* host), Is.EqualTo(FaultOutcome.Done));
        return *host;
    }

    private static void AssertNothingIsLeft(MemoryStand stand, Kernel.Memory.Mm mm, long before)
    {
        stand.System.Shootdown.SwitchToKernel(stand.Vcpu);
        mm.Put(null);
        Assert.That(stand.Pages.UsedFrames, Is.EqualTo(before), "frames in use");
        Assert.That(stand.System.HugePages.Mapped, Is.Zero, "huge pages mapped");
    }

    [Test]
    public void One_fault_maps_two_megabytes()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm, 2);
        Assert.That(mm.AnonPages, Is.EqualTo(1024));
        Assert.That(stand.System.Faults[FaultKind.Huge], Is.EqualTo(2));
        Assert.That(Read(stand, mm, At + Huge + 0x1234), Is.EqualTo(2));
        Assert.That(Read(stand, mm, At + Huge - 1), Is.Zero);
        Assert.That(mm.Tables.Find(At, out int level) is not null && level == 1);
        Assert.That(mm.Munmap(null, At, 2 * Huge), Is.Zero);
        Assert.That(mm.AnonPages, Is.Zero);
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void By_default_every_mapping_that_holds_a_huge_page_gets_one_unless_it_is_a_stack_or_refuses()
    {
        using var machine = new Machine(new MachineOptions { MemoryBytes = 64 << 20 });
        machine.Run(task =>
        {
            long PagesOf(ulong bytes, int flags, int advice = 0)
            {
                Assert.That(task.Mm.Mmap(task, At, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, null, 0), Is.EqualTo((long)At));
                if (advice != 0)
                    task.Mm.Madvise(task, At, bytes, advice);
                long before = task.Mm.AnonPages;
                Assert.That(task.TryWrite(At + 0x5000, (byte)1), Is.True);
                long pages = task.Mm.AnonPages - before;
                task.Mm.Munmap(task, At, bytes);
                return pages;
            }
            using (Assert.EnterMultipleScope())
            {
                Assert.That(PagesOf(Huge, 0), Is.EqualTo(512));
                Assert.That(PagesOf(Huge - 0x1000, 0), Is.EqualTo(1), "too small");
                Assert.That(PagesOf(Huge, MAP_STACK), Is.EqualTo(1));
                Assert.That(PagesOf(Huge, MAP_STACK, MADV_HUGEPAGE), Is.EqualTo(512), "advice counts more");
                Assert.That(PagesOf(Huge, 0, MADV_NOHUGEPAGE), Is.EqualTo(1));
            }
        });
    }

    [Test]
    public void A_mapping_without_advice_or_too_small_gets_single_pages()
    {
        using var stand = new MemoryStand();
        var mm = stand.Create();
        mm.Mmap(null, At, Huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        Write(stand, mm, At, 1);
        Assert.That(mm.AnonPages, Is.EqualTo(1));
        mm.Mmap(null, At + 0x1000_0000, Huge - 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        mm.Madvise(null, At + 0x1000_0000, Huge - 0x1000, MADV_HUGEPAGE);
        Write(stand, mm, At + 0x1000_0000, 1);
        Assert.That(mm.AnonPages, Is.EqualTo(2));
        mm.Put(null);
    }

    [Test]
    public void Mprotect_reaches_the_pages_of_a_leaf_that_somebody_splits_while_the_change_is_announced()
    {
        using var stand = new MemoryStand();
        var mm = stand.Create();
        MapHuge(stand, mm);
        Pfn head = PageTables.FrameOf(*mm.Tables.Find(At, out _));
        bool split = false;
        var probe = new Probe
        {
            Start = (_, range) =>
            {
                if (range.Event == MmuNotifyEvent.ProtectionVma && !split)
                {
                    split = true;
                    Assert.That(stand.System.HugePages.SplitPage(null, head), Is.Zero);
                }
                return 0;
            },
        };
        Assert.That(probe.Register(null, mm), Is.Zero);
        Assert.That(mm.Mprotect(null, At, Huge, PROT_READ), Is.Zero);
        Assert.That(split);
        for (ulong at = At; at < At + Huge; at += Pfn.Size)
            Assert.That(*mm.Tables.Find(at) & (ulong)Pte.Writable, Is.Zero, $"{at:x}");
        probe.Unregister(null);
        mm.Put(null);
    }

    [Test]
    public void Unmapping_a_part_splits_the_leaf_and_keeps_the_rest()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        Write(stand, mm, At + Huge - 1, 7);
        Assert.That(mm.Munmap(null, At + 0x1000, 0x3000), Is.Zero);
        Assert.That(mm.AnonPages, Is.EqualTo(509));
        Assert.That(stand.System.Events[VmEvent.ThpDeferredSplitPage], Is.EqualTo(1));
        Assert.That(Read(stand, mm, At + Huge - 1), Is.EqualTo(7));
        Assert.That(stand.Access(mm, At + 0x1234, false, out _), Is.EqualTo(FaultOutcome.NotMapped));
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void Dontneed_of_a_part_reads_as_zeroes_afterwards()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        Write(stand, mm, At, 3);
        Assert.That(mm.Madvise(null, At + 0x1000, 0x1000, MADV_DONTNEED), Is.Zero);
        Assert.That(Read(stand, mm, At + 0x1234), Is.Zero);
        Assert.That(Read(stand, mm, At), Is.EqualTo(3));
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void Mprotect_of_the_whole_keeps_the_leaf_and_of_a_part_splits_it()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        Assert.That(mm.Mprotect(null, At, Huge, PROT_NONE), Is.Zero);
        Assert.That(stand.Access(mm, At + 0x1234, false, out _), Is.EqualTo(FaultOutcome.Forbidden));
        Assert.That(mm.Mprotect(null, At, Huge, PROT_READ | PROT_WRITE), Is.Zero);
        Write(stand, mm, At + 0x1235, 9);
        Assert.That(stand.System.HugePages.Mapped, Is.EqualTo(1));
        Assert.That(mm.Mprotect(null, At + 0x1000, 0x1000, PROT_READ), Is.Zero);
        Assert.That(stand.System.HugePages.Mapped, Is.Zero);
        Assert.That(stand.Access(mm, At + 0x1234, true, out _), Is.EqualTo(FaultOutcome.Forbidden));
        Assert.That(Read(stand, mm, At + 0x1235), Is.EqualTo(9));
        Write(stand, mm, At + 0x2000, 1);
        AssertNothingIsLeft(stand, mm, before);
    }

    [TestCase(0UL)]
    [TestCase(0x1000UL)]
    public void Mremap_moves_contents_whether_the_new_place_is_aligned_or_not(ulong offset)
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        ulong to = 0x8000_0000 + offset;
        Assert.That(mm.Mremap(null, At, Huge, Huge, MREMAP_MAYMOVE | MREMAP_FIXED, to), Is.EqualTo((long)to));
        Assert.That(stand.System.HugePages.Mapped, Is.EqualTo(offset == 0 ? 1 : 0));
        Assert.That(Read(stand, mm, to + 0x1234), Is.EqualTo(1));
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void Fork_shares_the_page_and_a_write_splits_the_writers_leaf_only()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        var child = mm.Fork(null)!;
        Assert.That(child.AnonPages, Is.EqualTo(512));
        Write(stand, mm, At + 0x1234, 55);
        Assert.That(Read(stand, child, At + 0x1234), Is.EqualTo(1));
        Assert.That(mm.Tables.Find(At, out int level) is not null && level == 0);
        Assert.That(child.Tables.Find(At, out level) is not null && level == 1);
        stand.System.Shootdown.SwitchToKernel(stand.Vcpu);
        child.Put(null);
        Assert.That(Read(stand, mm, At + 0x1234), Is.EqualTo(55));
        Write(stand, mm, At + 0x2000, 5);
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void A_page_that_the_other_side_has_let_go_of_is_taken_over_whole()
    {
        using var stand = new MemoryStand();
        var mm = stand.Create();
        MapHuge(stand, mm);
        var child = mm.Fork(null)!;
        stand.System.Shootdown.SwitchToKernel(stand.Vcpu);
        child.Put(null);
        Write(stand, mm, At + 0x1234, 2);
        Assert.That(mm.Tables.Find(At, out int level) is not null && level == 1);
        mm.Put(null);
    }

    private static ulong MapSmall(MemoryStand stand, Kernel.Memory.Mm mm, params ReadOnlySpan<int> pages)
    {
        mm.Mmap(null, At, Huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        foreach (int page in pages)
            Write(stand, mm, At + ((ulong)page << 12) + 7, (byte)(page + 1));
        return At;
    }

    [Test]
    public void Collapse_gathers_single_pages_and_fills_the_gaps_with_zeroes()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapSmall(stand, mm, 0, 3, 200);
        Assert.That(Read(stand, mm, At + 0x5000), Is.Zero, "the page of zeroes is mapped here");
        Assert.That(mm.Madvise(null, At, Huge, MADV_COLLAPSE), Is.Zero);
        Assert.That(mm.Tables.Find(At, out int level) is not null && level == 1);
        Assert.That(mm.AnonPages, Is.EqualTo(512));
        Assert.That(stand.Pages.UsedFrames - before, Is.LessThan(512 + 10), "the single pages are free");
        foreach (int page in (int[])[0, 3, 200])
            Assert.That(Read(stand, mm, At + ((ulong)page << 12) + 7), Is.EqualTo(page + 1));
        Assert.That(Read(stand, mm, At + 0x5000), Is.Zero);
        Write(stand, mm, At + 0x6000, 1);
        Assert.That(mm.Madvise(null, At, Huge, MADV_COLLAPSE), Is.Zero, "it is one already");
        Assert.That(mm.Munmap(null, At, 0x1000), Is.Zero);
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void Collapse_refuses_with_Linuxs_errors()
    {
        using var stand = new MemoryStand();
        var mm = stand.Create();
        MapSmall(stand, mm);
        Assert.That(mm.Madvise(null, At, Huge, MADV_COLLAPSE), Is.EqualTo(-Errno.EINVAL), "never touched");
        Write(stand, mm, At, 1);
        Assert.That(mm.Madvise(null, At + 0x1000, 0x2000, MADV_COLLAPSE), Is.EqualTo(-Errno.EINVAL), "no whole huge page");
        Span<Pfn> taken = stackalloc Pfn[1];
        Assert.That(mm.GetUserPages(null, At, FollFlags.None, taken), Is.EqualTo(1));
        Assert.That(mm.Madvise(null, At, Huge, MADV_COLLAPSE), Is.EqualTo(-Errno.EAGAIN), "somebody holds a page");
        stand.Pages.Put(taken[0]);
        mm.Mprotect(null, At, Huge, PROT_READ);
        Assert.That(mm.Madvise(null, At, Huge, MADV_COLLAPSE), Is.EqualTo(-Errno.EINVAL), "nothing is writable");
        mm.Mprotect(null, At, Huge, PROT_READ | PROT_WRITE);
        Write(stand, mm, At, 1);
        mm.Madvise(null, At, Huge, MADV_NOHUGEPAGE);
        Assert.That(mm.Madvise(null, At, Huge, MADV_COLLAPSE), Is.EqualTo(-Errno.EINVAL), "MADV_NOHUGEPAGE");
        mm.Put(null);
    }

    [Test]
    public void Splitting_a_page_makes_single_ones_and_frees_those_that_nobody_maps()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        Write(stand, mm, At + Huge - 1, 9);
        var child = mm.Fork(null)!;
        mm.Munmap(null, At + 0x10_0000, 0x8_0000);
        stand.System.Shootdown.SwitchToKernel(stand.Vcpu);
        child.Munmap(null, At + 0x10_0000, 0x4_0000);
        Pfn head = stand.Pages.HeadOf(PageTables.FrameOf(*mm.Tables.Find(At)));
        long used = stand.Pages.UsedFrames;
        Assert.That(stand.System.HugePages.SplitPage(null, head), Is.Zero);
        Assert.That(used - stand.Pages.UsedFrames, Is.EqualTo(64), "frames that neither maps");
        Assert.That((stand.Pages[head].Flags & PageFlags.Head) == 0 && stand.Pages[head].RefCount == 2 && stand.Pages[head].MapCount == 2);
        Assert.That(stand.System.Events[VmEvent.ThpSplitPage], Is.EqualTo(1));
        foreach (var side in (Kernel.Memory.Mm[])[mm, child])
        {
            Assert.That(Read(stand, side, At + 0x1234), Is.EqualTo(1));
            Assert.That(Read(stand, side, At + Huge - 1), Is.EqualTo(9));
        }
        Write(stand, mm, At + 0x1234, 77);
        Assert.That(Read(stand, child, At + 0x1234), Is.EqualTo(1));
        stand.System.Shootdown.SwitchToKernel(stand.Vcpu);
        child.Put(null);
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void A_held_page_is_not_split_and_a_leaf_of_one_owner_is()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        Span<Pfn> taken = stackalloc Pfn[1];
        Assert.That(mm.PinUserPages(null, At + 0x3000, FollFlags.Write, taken), Is.EqualTo(1));
        Assert.That(stand.System.HugePages.SplitPage(null, taken[0]), Is.EqualTo(-Errno.EAGAIN));
        Write(stand, mm, At + 0x3000, 5);
        mm.UnpinUserPages(taken, dirty: true);
        Assert.That(stand.System.HugePages.SplitPage(null, taken[0]), Is.Zero);
        Assert.That(stand.System.HugePages.SplitPage(null, taken[0]), Is.EqualTo(-Errno.EBUSY));
        Assert.That(Read(stand, mm, At + 0x3000), Is.EqualTo(5));
        Write(stand, mm, At + 0x1234, 6);
        Assert.That(mm.Madvise(null, At, Huge, MADV_COLLAPSE), Is.Zero);
        Assert.That(Read(stand, mm, At + 0x1234), Is.EqualTo(6));
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void A_huge_page_moves_as_a_whole_and_TLBs_follow()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        Write(stand, mm, At + Huge - 1, 9);
        Pfn head = PageTables.FrameOf(*mm.Tables.Find(At, out _));
        Assert.That(Migrate(stand, head), Is.Zero);
        ulong* leaf = mm.Tables.Find(At, out int level);
        Assert.That(level, Is.EqualTo(1), "still a leaf");
        Assert.That(PageTables.FrameOf(*leaf), Is.Not.EqualTo(head));
        Assert.That(stand.Pages[head].Flags & PageFlags.Free, Is.EqualTo(PageFlags.Free), "the old page");
        Assert.That(Read(stand, mm, At + 0x1234), Is.EqualTo(1));
        Write(stand, mm, At + Huge - 1, 10);
        Assert.That(stand.Pages.Memory.BytesOf(new Pfn(PageTables.FrameOf(*leaf).Value + 511))[4095], Is.EqualTo(10));
        Assert.That(stand.System.Events[VmEvent.ThpMigrationSuccess], Is.EqualTo(1));
        Assert.That(new MmChecker(stand.System).Check(), Is.Empty);
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void A_huge_page_that_two_map_or_that_finds_no_other_one_is_split_to_be_moved([Values] bool shared)
    {
        using var stand = new MemoryStand(bytes: 8 << 20);
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        var child = shared ? mm.Fork(null) : null;
        var taken = new List<Pfn>();
        while (!shared && stand.Pages.TryAllocate(PageAllocator.HugeOrder, PageFlags.None, zero: false, out Pfn other))
            taken.Add(other);
        Assert.That(Migrate(stand, PageTables.FrameOf(*mm.Tables.Find(At, out _))), Is.Zero);
        Assert.That(mm.Tables.Find(At) is not null, "single pages");
        Assert.That(stand.System.Events[VmEvent.ThpMigrationSplit], Is.EqualTo(1));
        Assert.That(Read(stand, mm, At + 0x1234), Is.EqualTo(1));
        foreach (Pfn frame in taken)
            stand.Pages.Put(frame);
        stand.System.Shootdown.SwitchToKernel(stand.Vcpu);
        child?.Put(null);
        Assert.That(new MmChecker(stand.System).Check(), Is.Empty);
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void A_pinned_huge_page_stays_where_it_is()
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        Span<Pfn> taken = stackalloc Pfn[1];
        Assert.That(mm.PinUserPages(null, At + 0x3000, FollFlags.Write, taken), Is.EqualTo(1));
        Pfn head = stand.Pages.HeadOf(taken[0]);
        Assert.That(Migrate(stand, head), Is.EqualTo(-Errno.EAGAIN));
        Assert.That(PageTables.FrameOf(*mm.Tables.Find(At, out int level)), Is.EqualTo(head));
        Assert.That(level, Is.EqualTo(1));
        mm.UnpinUserPages(taken, dirty: true);
        AssertNothingIsLeft(stand, mm, before);
    }

    [Test]
    public void Freeing_lazily_keeps_the_leaf_of_a_whole_range_and_splits_the_page_of_a_part([Values] bool whole)
    {
        using var stand = new MemoryStand();
        long before = stand.Pages.UsedFrames;
        var mm = stand.Create();
        MapHuge(stand, mm);
        Assert.That(mm.Madvise(null, At, whole ? Huge : Huge / 2, MADV_FREE), Is.Zero);
        ulong* entry = mm.Tables.Find(At, out int level);
        Assert.That(level, Is.EqualTo(whole ? 1 : 0));
        Assert.That((stand.Pages[PageTables.FrameOf(*entry)].Flags & PageFlags.LazyFree) != 0);
        Assert.That(*entry & (ulong)Pte.Dirty, Is.Zero);
        Assert.That(stand.System.Events[VmEvent.LazyFree], Is.EqualTo(whole ? 512 : 256));
        // Written again, the page is not to be dropped.
        Write(stand, mm, At + 0x1234, 3);
        Pfn head = stand.Pages.HeadOf(PageTables.FrameOf(*entry));
        stand.Pages.Get(head);
        stand.System.Reclaim.Reclaim(null, [head]);
        Assert.That(Read(stand, mm, At + 0x1234), Is.EqualTo(3));
        AssertNothingIsLeft(stand, mm, before);
    }

    private static int Migrate(MemoryStand stand, Pfn head)
    {
        Assert.That(stand.System.Migration.TryIsolate(head), Is.True);
        Span<int> result = stackalloc int[1];
        stand.System.Migration.MigratePages(null, [head], result, MigrateReason.Compaction);
        return result[0];
    }
}
