using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Microsoft.Win32.SafeHandles;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

/// <summary>What get_user_pages and pin_user_pages promise (Documentation/core-api/pin_user_pages.rst).</summary>
public sealed unsafe class PinTests : AddressSpaceFixture
{
    private const ulong Base = 0x2000_0000;

    private void Map(int prot, int flags = MAP_PRIVATE, PageCache? cache = null, int openFlags = Kernel.Files.FileAbi.O_RDWR)
    {
        long at = Mm.Mmap(null, Base, 0x4000, prot, flags | MAP_FIXED | (cache is null ? MAP_ANONYMOUS : 0),
            cache is null ? null : new CacheFile(cache, openFlags), 0);
        Assert.That(at, Is.EqualTo((long)Base));
    }

    private byte* Host(Kernel.Memory.Mm mm, bool write)
    {
        Assert.That(Stand.Access(mm, Base, write, out byte* host), Is.EqualTo(FaultOutcome.Done));
        return host;
    }

    private byte* DataOf(Pfn frame) => Stand.Pages.Memory.Pointer(frame);

    private int Pin(FollFlags flags, out Pfn frame)
    {
        Span<Pfn> frames = stackalloc Pfn[1];
        int taken = Mm.PinUserPages(null, Base, flags, frames);
        frame = frames[0];
        return taken;
    }

    private void Unpin(Pfn frame) => Mm.UnpinUserPages([frame], dirty: false);

    [Test]
    public void A_pinned_page_stays_the_parent_s_over_fork_and_write()
    {
        Map(PROT_READ | PROT_WRITE);
        *Host(Mm, write: true) = 1;
        Assert.That(Pin(FollFlags.Write, out Pfn pinned), Is.EqualTo(1));
        Kernel.Memory.Mm child = Mm.Fork(null)!;
        *Host(Mm, write: true) = 2;
        *DataOf(pinned) = 3;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(*Host(Mm, write: false), Is.EqualTo(3), "the device writes to the parent's memory");
            Assert.That(*Host(child, write: false), Is.EqualTo(1), "the child has what was there at the fork");
        }
        Unpin(pinned);
        child.Put(null);
    }

    [Test]
    public void A_reference_alone_does_not_keep_a_page_in_its_place()
    {
        Map(PROT_READ | PROT_WRITE);
        *Host(Mm, write: true) = 1;
        Span<Pfn> taken = stackalloc Pfn[1];
        Assert.That(Mm.GetUserPages(null, Base, FollFlags.Write, taken), Is.EqualTo(1));
        Kernel.Memory.Mm child = Mm.Fork(null)!;
        *Host(Mm, write: true) = 2;
        Assert.That(*DataOf(taken[0]), Is.EqualTo(1));
        Stand.Pages.Put(taken[0]);
        child.Put(null);
    }

    [Test]
    public void A_read_only_pin_of_a_shared_page_makes_it_exclusive_first()
    {
        Map(PROT_READ | PROT_WRITE);
        *Host(Mm, write: true) = 1;
        Kernel.Memory.Mm child = Mm.Fork(null)!;
        long copies = Stand.System.Faults[FaultKind.Copy];
        Assert.That(Pin(FollFlags.None, out Pfn pinned), Is.EqualTo(1));
        Assert.That(Stand.System.Faults[FaultKind.Copy], Is.EqualTo(copies + 1));
        *Host(Mm, write: true) = 2;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(*DataOf(pinned), Is.EqualTo(2), "the device sees what the program writes later");
            Assert.That(*Host(child, write: false), Is.EqualTo(1));
        }
        Unpin(pinned);
        child.Put(null);
    }

    [Test]
    public void A_long_read_only_pin_takes_no_page_that_a_write_would_replace([Values] bool ofFile)
    {
        var cache = new ShmemPageCache(Stand.Pages);
        cache.Truncate(null, 0x4000);
        Map(PROT_READ | PROT_WRITE, MAP_PRIVATE, ofFile ? cache : null);
        Assert.That(*Host(Mm, write: false), Is.Zero);
        Assert.That(Pin(FollFlags.Longterm, out Pfn pinned), Is.EqualTo(1));
        *Host(Mm, write: true) = 9;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(pinned, Is.Not.EqualTo(Stand.Pages.Zero));
            Assert.That(*DataOf(pinned), Is.EqualTo(9));
        }
        Unpin(pinned);
        if (!ofFile)
            cache.Free();
    }

    [Test]
    public void A_short_read_only_pin_may_take_the_page_of_zeroes()
    {
        Map(PROT_READ | PROT_WRITE);
        Assert.That(Pin(FollFlags.None, out Pfn pinned), Is.EqualTo(1));
        Assert.That(pinned, Is.EqualTo(Stand.Pages.Zero));
        Unpin(pinned);
        Assert.That(Stand.Pages[Stand.Pages.Zero].RefCount, Is.EqualTo(1));
    }

    [Test]
    public void A_long_pin_for_writing_is_refused_where_a_file_must_notice_writes()
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, new byte[0x4000]);
            SafeFileHandle handle = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
            Map(PROT_READ | PROT_WRITE, MAP_SHARED, new HostPageCache(Stand.Pages, handle));
            using (Assert.EnterMultipleScope())
            {
                Assert.That(Pin(FollFlags.Write | FollFlags.Longterm, out _), Is.EqualTo(-Errno.EFAULT));
                Assert.That(Pin(FollFlags.Write, out Pfn shortly), Is.EqualTo(1));
                Unpin(shortly);
            }
        }
        finally
        {
            Mm.Munmap(null, Base, 0x4000);
            File.Delete(path);
        }
    }

    [Test]
    public void A_forced_write_to_read_only_private_memory_makes_a_copy_that_stays_read_only()
    {
        var cache = new ShmemPageCache(Stand.Pages);
        cache.Truncate(null, 0x4000);
        cache.Write(0, [1], task: null);
        Map(PROT_READ, MAP_PRIVATE, cache);
        Assert.That(Mm.WriteMemory(null, Base, [5]), Is.Zero);
        Assert.That(Mm.WriteMemory(null, Base, [5], force: true), Is.EqualTo(1));
        Span<byte> inFile = stackalloc byte[1];
        cache.Read(0, inFile, task: null);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(*Host(Mm, write: false), Is.EqualTo(5));
            Assert.That(inFile[0], Is.EqualTo(1));
            Assert.That(Stand.Access(Mm, Base, write: true, out _), Is.EqualTo(FaultOutcome.Forbidden));
        }
    }

    [Test]
    public void Nothing_is_forced_through_a_shared_mapping_that_may_not_write()
    {
        var cache = new ShmemPageCache(Stand.Pages);
        cache.Truncate(null, 0x4000);
        Map(PROT_READ, MAP_SHARED, cache);
        Assert.That(Mm.WriteMemory(null, Base, [5], force: true), Is.Zero);
    }

    [Test]
    public void Pages_are_taken_up_to_the_first_that_cannot_be()
    {
        Map(PROT_READ | PROT_WRITE);
        Assert.That(Mm.Munmap(null, Base + 0x2000, 0x1000), Is.Zero);
        Span<Pfn> frames = stackalloc Pfn[4];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Mm.PinUserPages(null, Base, FollFlags.Write, frames), Is.EqualTo(2));
            Assert.That(Mm.PinUserPages(null, Base + 0x2000, FollFlags.Write, frames[2..]), Is.EqualTo(-Errno.EFAULT));
            Assert.That(Mm.PinUserPages(null, Base + 0x3000, FollFlags.Write | FollFlags.NoFault, frames[3..]), Is.EqualTo(-Errno.EFAULT));
            Assert.That(Stand.Pages[frames[0]].MaybePinned);
        }
        Mm.UnpinUserPages(frames[..2], dirty: true);
        Assert.That(Stand.Pages[frames[0]].MaybePinned, Is.False);
    }

    [Test]
    public void A_pinned_page_does_not_move_until_it_is_given_back()
    {
        Map(PROT_READ | PROT_WRITE);
        *Host(Mm, write: true) = 1;
        Assert.That(Pin(FollFlags.Write | FollFlags.Longterm, out Pfn pinned), Is.EqualTo(1));
        Assert.That(Stand.System.Migration.Compact(null), Is.Zero);
        Unpin(pinned);
        Assert.That(Stand.System.Migration.Compact(null), Is.EqualTo(1));
    }
}
