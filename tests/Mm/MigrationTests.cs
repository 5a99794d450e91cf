using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

/// <summary>Pages move to other frames, and programs do not notice.</summary>
public sealed unsafe class MigrationTests : AddressSpaceFixture
{
    private const ulong Base = 0x2000_0000;
    private const int ReadWrite = PROT_READ | PROT_WRITE;

    private void Map(ulong address, int pages, int flags = MAP_PRIVATE, PageCache? cache = null)
    {
        long at = Mm.Mmap(null, address, (ulong)pages << 12, ReadWrite, flags | MAP_FIXED | (cache is null ? MAP_ANONYMOUS : 0),
            cache is null ? null : new CacheFile(cache), 0);
        Assert.That(at, Is.EqualTo((long)address));
    }

    private void Write(Kernel.Memory.Mm mm, ulong address, byte value)
    {
        Assert.That(Stand.Access(mm, address, write: true, out byte* host), Is.EqualTo(FaultOutcome.Done));
        *host = value;
    }

    private byte Read(Kernel.Memory.Mm mm, ulong address)
    {
        Assert.That(Stand.Access(mm, address, write: false, out byte* host), Is.EqualTo(FaultOutcome.Done));
        return *host;
    }

    private Pfn FrameAt(Kernel.Memory.Mm mm, ulong address)
    {
        ulong* entry = mm.Tables.Find(address);
        return entry is not null && PageTables.IsMapped(*entry) ? PageTables.FrameOf(*entry) : default;
    }

    /// <summary>Moves one page; 0 or the reason why not.</summary>
    private int Move(Pfn frame)
    {
        Span<Pfn> frames = [frame];
        Span<int> results = stackalloc int[1];
        Stand.Pages.Get(frame);
        Stand.System.Migration.MigratePages(null, frames, results, MigrateReason.Compaction);
        return results[0];
    }

    [Test]
    public void A_private_page_moves_and_stays_writable_without_a_fault()
    {
        Map(Base, 1);
        Write(Mm, Base, 42);
        Pfn old = FrameAt(Mm, Base);
        Assert.That(Move(old), Is.Zero);
        long faults = Stand.System.Faults.Total;
        Write(Mm, Base, 43);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(FrameAt(Mm, Base), Is.Not.EqualTo(old));
            Assert.That(Read(Mm, Base), Is.EqualTo(43));
            Assert.That(Stand.System.Faults.Total, Is.EqualTo(faults));
            Assert.That(Stand.Pages[old].Flags & PageFlags.Free, Is.Not.EqualTo(PageFlags.None));
            Assert.That(Mm.AnonPages, Is.EqualTo(1));
        }
    }

    [Test]
    public void A_page_that_fork_shares_moves_for_both_and_is_still_copied_on_write()
    {
        Map(Base, 1);
        Write(Mm, Base, 1);
        Kernel.Memory.Mm child = Mm.Fork(null)!, grandchild = child.Fork(null)!;
        Assert.That(Move(FrameAt(Mm, Base)), Is.Zero);
        Pfn shared = FrameAt(Mm, Base);
        Assert.That(new[] { FrameAt(child, Base), FrameAt(grandchild, Base) }, Is.All.EqualTo(shared));
        Write(child, Base, 2);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Read(Mm, Base), Is.EqualTo(1));
            Assert.That(Read(child, Base), Is.EqualTo(2));
            Assert.That(Read(grandchild, Base), Is.EqualTo(1));
            Assert.That(new MmChecker(Stand.System).Check(), Is.Empty);
        }
        // The child's own page is found too, in the child alone.
        Assert.That(Move(FrameAt(child, Base)), Is.Zero);
        Assert.That(Read(child, Base), Is.EqualTo(2));
        grandchild.Put(null);
        child.Put(null);
    }

    [Test]
    public void A_page_of_shared_memory_moves_under_all_its_mappings_and_the_file()
    {
        var cache = new ShmemPageCache(Stand.Pages);
        cache.Truncate(null, 4 << 12);
        Map(Base, 4, MAP_SHARED, cache);
        Map(Base + 0x10000, 4, MAP_SHARED, cache);
        Write(Mm, Base + 0x1000, 7);
        Assert.That(Read(Mm, Base + 0x11000), Is.EqualTo(7));
        Pfn old = FrameAt(Mm, Base + 0x1000);
        Assert.That(Move(old), Is.Zero);
        Span<byte> bytes = stackalloc byte[1];
        Assert.That(cache.Read(0x1000, bytes, task: null), Is.EqualTo(1));
        Write(Mm, Base + 0x11000, 8);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(bytes[0], Is.EqualTo(7));
            Assert.That(FrameAt(Mm, Base + 0x1000), Is.Not.EqualTo(old));
            Assert.That(FrameAt(Mm, Base + 0x11000), Is.EqualTo(FrameAt(Mm, Base + 0x1000)));
            Assert.That(Read(Mm, Base + 0x1000), Is.EqualTo(8));
        }
    }

    [Test]
    public void Pages_are_found_where_mremap_has_put_them()
    {
        Map(Base, 8);
        for (ulong i = 0; i < 8; i++)
            Write(Mm, Base + (i << 12), (byte)(i + 1));
        Assert.That(Mm.Mremap(null, Base + 0x2000, 0x3000, 0x3000, MREMAP_MAYMOVE | MREMAP_FIXED, Base + 0x100000), Is.EqualTo((long)(Base + 0x100000)));
        Assert.That(Mm.Mprotect(null, Base + 0x6000, 0x1000, PROT_READ), Is.Zero);
        int moved = Stand.System.Migration.Compact(null);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(moved, Is.EqualTo(8));
            Assert.That(Read(Mm, Base + 0x101000), Is.EqualTo(4));
            Assert.That(Read(Mm, Base + 0x6000), Is.EqualTo(7));
            Assert.That(Stand.Access(Mm, Base + 0x6000, write: true, out _), Is.EqualTo(FaultOutcome.Forbidden));
        }
    }

    [Test]
    public void A_page_that_somebody_refers_to_stays()
    {
        Map(Base, 1);
        Write(Mm, Base, 5);
        Pfn frame = FrameAt(Mm, Base);
        Span<Pfn> taken = stackalloc Pfn[1];
        Assert.That(Mm.GetUserPages(null, Base, FollFlags.None, taken), Is.EqualTo(1));
        Assert.That(Move(frame), Is.EqualTo(-Errno.EAGAIN));
        long faults = Stand.System.Faults.Total;
        Write(Mm, Base, 6);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(FrameAt(Mm, Base), Is.EqualTo(frame));
            Assert.That(Stand.System.Faults.Total, Is.EqualTo(faults), "the way back loses no permission");
        }
        Stand.Pages.Put(frame);
        Assert.That(Move(frame), Is.Zero);
        Assert.That(Read(Mm, Base), Is.EqualTo(6));
    }

    [Test]
    public void What_is_no_program_s_page_stays()
    {
        Map(Base, 1);
        Assert.That(Read(Mm, Base), Is.Zero);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Move(Stand.Pages.Zero), Is.EqualTo(-Errno.EBUSY));
            Assert.That(Move(Mm.Root), Is.EqualTo(-Errno.EBUSY));
        }
    }

    [Test]
    public void Secondary_units_hear_of_each_mapping_once()
    {
        Map(Base, 1);
        Write(Mm, Base, 1);
        var listener = new Listener();
        Assert.That(listener.Register(null, Mm), Is.Zero);
        Assert.That(Move(FrameAt(Mm, Base)), Is.Zero);
        listener.Unregister(null);
        Assert.That(listener.Heard, Is.EqualTo(new[] { $"start Clear {Base:x}-{Base + 0x1000:x}", $"end Clear {Base:x}-{Base + 0x1000:x}" }));
    }

    private sealed class Listener : MmuNotifier
    {
        public readonly List<string> Heard = [];

        public override MmuNotifierOps Ops => MmuNotifierOps.InvalidateRangeStart | MmuNotifierOps.InvalidateRangeEnd;

        public override int InvalidateRangeStart(Kernel.Tasks.Task? task, in MmuNotifierRange range)
        {
            Heard.Add($"start {range}");
            return 0;
        }

        public override void InvalidateRangeEnd(Kernel.Tasks.Task? task, in MmuNotifierRange range) => Heard.Add($"end {range}");
    }

    [Test]
    public void Truncation_finds_what_was_moved()
    {
        var cache = new ShmemPageCache(Stand.Pages);
        cache.Truncate(null, 4 << 12);
        Map(Base, 4, MAP_PRIVATE, cache);
        Assert.That(Read(Mm, Base + 0x3000), Is.Zero);
        Write(Mm, Base + 0x2000, 3);
        Assert.That(Stand.System.Migration.Compact(null), Is.GreaterThanOrEqualTo(2));
        Assert.That(cache.Truncate(null, 2 << 12), Is.Zero);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(FrameAt(Mm, Base + 0x3000), Is.EqualTo(default(Pfn)));
            Assert.That(FrameAt(Mm, Base + 0x2000), Is.EqualTo(default(Pfn)));
            Assert.That(Stand.Access(Mm, Base + 0x2000, write: false, out _), Is.EqualTo(FaultOutcome.BusError));
        }
    }
}
