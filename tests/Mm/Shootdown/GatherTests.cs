using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using Emulator.Tests.Notifiers;
using static Emulator.Kernel.Memory.MmanAbi;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>How much an unmapping collects before it must flush, and what is still there at that moment (mm/mmu_gather.c).</summary>
public sealed unsafe class GatherTests
{
    private const int Room612 = (MmuGather.Bundle - 1) + MmuGather.MaxBatches * (MmuGather.BatchEntries - 1);
    private const int Room61 = MmuGather.Bundle + MmuGather.MaxBatches * MmuGather.BatchEntries;

    [Test]
    public void The_limits_are_Linux_s() => Assert.That((MmuGather.Bundle, MmuGather.BatchEntries, MmuGather.MaxBatches, Room612, Room61), Is.EqualTo((8, 510, 19, 9678, 9698)));

    [TestCase(KernelProfile.V6_12, Room612 - 1, 0)]
    [TestCase(KernelProfile.V6_12, Room612, 1)]
    [TestCase(KernelProfile.V6_1, Room612, 0)]
    [TestCase(KernelProfile.V6_1, Room61 - 1, 0)]
    [TestCase(KernelProfile.V6_1, Room61, 1)]
    public void A_gather_that_is_full_flushes_before_its_end(KernelProfile profile, int pages, int full)
    {
        using var stand = new ShootdownStand();
        stand.Tlb.Profile = profile;
        AddressSpace mm = stand.Create(pages);
        long used = stand.Pages.UsedFrames;
        Assert.That(mm.Munmap(null, ShootdownStand.Base, (ulong)pages << 12), Is.Zero);
        Assert.That((stand.Count(ShootdownCounter.GatherFull), stand.Count(ShootdownCounter.GatherForced)), Is.EqualTo(((ulong)full, (ulong)full)));
        Assert.That(used - stand.Pages.UsedFrames, Is.GreaterThanOrEqualTo(pages), "all pages are free");
    }

    /// <summary>What is there at each flush of an address space: called under whatever lock the flush is sent under.</summary>
    private static List<T> AtEachFlush<T>(AddressSpace mm, Func<T> look, Action act)
    {
        var seen = new List<T>();
        var probe = new Probe { Flush = (_, _, _) => seen.Add(look()) };
        Assert.That(probe.Register(null, mm), Is.Zero);
        act();
        probe.Unregister(null);
        return seen;
    }

    private static Pfn FrameAt(AddressSpace mm, ulong address) => PageTables.FrameOf(*mm.Tables.Find(address));

    [Test]
    public void Anonymous_pages_are_flushed_outside_the_lock_and_freed_after_the_flush()
    {
        using var stand = new ShootdownStand();
        AddressSpace mm = stand.Create();
        Pfn frame = FrameAt(mm, ShootdownStand.Base);
        var seen = AtEachFlush(mm, () => (mm.PageTableLock.IsHeld, stand.Pages[frame].RefCount, stand.Pages[frame].MapCount),
            () => mm.Munmap(null, ShootdownStand.Base, 4096));
        Assert.That(seen, Is.EqualTo(((bool, int, int)[])[(false, 1, 0)]));
        Assert.That(stand.Pages[frame].RefCount, Is.Zero);
    }

    [TestCase(KernelProfile.V6_12, true, 1)]
    [TestCase(KernelProfile.V6_1, true, 0)]
    [TestCase(KernelProfile.V6_12, false, 0)]
    public void A_dirty_page_of_a_file_is_flushed_under_the_lock_and_since_6_2_unmapped_after_it(KernelProfile profile, bool dirty, int mapCount)
    {
        using var stand = new ShootdownStand();
        stand.Tlb.Profile = profile;
        AddressSpace mm = stand.Create(pages: 1);
        var cache = new ShmemPageCache(stand.Pages);
        cache.Truncate(null, 4 * 4096);
        var file = new CacheFile(cache);
        const ulong at = ShootdownStand.Base + 0x100_0000;
        Assert.That(mm.Mmap(null, at, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0), Is.EqualTo((long)at));
        Assert.That(mm.HandleFault(null, at, FaultFlags.Read), Is.EqualTo(FaultOutcome.Done));
        if (dirty)
            stand.Write(mm, at);
        Pfn frame = FrameAt(mm, at);
        var seen = AtEachFlush(mm, () => (mm.PageTableLock.IsHeld, stand.Pages[frame].MapCount), () => mm.Munmap(null, at, 4096));
        Assert.That(seen[0], Is.EqualTo((dirty, mapCount)));
        Assert.That(stand.Count(ShootdownCounter.GatherForced), Is.EqualTo(dirty ? 1 : 0));
        Assert.That(stand.Pages[frame].MapCount, Is.Zero, "in the end");
        mm.Munmap(null, at, 4 * 4096);
        file.Put();
    }

    [Test]
    public void Tables_are_freed_after_a_flush_that_says_so()
    {
        using var stand = new ShootdownStand(vcpus: 2);
        AddressSpace mm = stand.Create(pages: 4);
        stand.Load(0, mm);
        stand.Idle(1, mm);
        long tables = stand.Pages.TableFrames;
        var seen = AtEachFlush(mm, () => stand.Pages.TableFrames, () => mm.Munmap(null, ShootdownStand.Base, 4 << 12));
        Assert.That(seen, Is.EqualTo((long[])[tables]), "still there when it is flushed");
        Assert.That(stand.Pages.TableFrames, Is.LessThan(tables));
        Assert.That(stand.Count(ShootdownCounter.NothingLazy, 1), Is.EqualTo(1), "and a lazy vCPU was told");
    }

    [TestCase(KernelProfile.V6_12, 0UL, ulong.MaxValue)]
    [TestCase(KernelProfile.V6_1, ulong.MaxValue, ulong.MaxValue)]
    public void A_gather_beside_another_flushes_everything(KernelProfile profile, ulong start, ulong end)
    {
        using var stand = new ShootdownStand();
        stand.Tlb.Profile = profile;
        AddressSpace mm = stand.Create();
        stand.Load(0, mm);
        stand.ReadPages(0, 8);
        (ulong, ulong) last = default;
        var probe = new Probe { Flush = (_, from, to) => last = (from, to) };
        Assert.That(probe.Register(null, mm), Is.Zero);
        var other = new MmuGather(mm, null);
        ulong full = stand.During(ShootdownCounter.FullFlushes, () => mm.Munmap(null, ShootdownStand.Base, 4096));
        Assert.That(full, Is.EqualTo(1), "one page would have been one INVLPG");
        Assert.That(last, Is.EqualTo((start, end)), "until 6.5 devices were told nothing useful");
        other.Finish();
        probe.Unregister(null);
    }
}
