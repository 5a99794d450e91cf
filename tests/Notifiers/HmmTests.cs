using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Notifiers;

/// <summary>hmm_range_fault, case by case (mm/hmm.c): what each kind of entry answers without a request, with one to read, with one to write.</summary>
public sealed unsafe class HmmTests
{
    private const HmmPfn Read = HmmPfn.Valid, Write = HmmPfn.Valid | HmmPfn.Write, WantRead = HmmPfn.ReqFault, WantWrite = HmmPfn.ReqFault | HmmPfn.ReqWrite;

    private static void Run(Action<Task> body, MachineOptions? options = null)
    {
        using var machine = new Machine((options ?? new MachineOptions { Vcpus = 2, LockDep = true }) with { MemoryBytes = 256 << 20, Timeout = TimeSpan.FromSeconds(60) });
        machine.Run(body);
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static ulong Map(Task task, int pages, int prot = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE | MAP_ANONYMOUS) =>
        (ulong)task.Mm.Mmap(task, 0, (ulong)pages << 12, prot, flags, null, 0);

    /// <summary>Asks, and returns the error and the flags of each page.</summary>
    private static (int Error, HmmPfn[] Flags, ulong[] Pfns) Ask(Task task, ulong start, int pages, HmmPfn flags = HmmPfn.None, object? owner = null)
    {
        ulong[] pfns = new ulong[pages];
        var range = new HmmRange(task.Mm, start, start + ((ulong)pages << 12), pfns) { DefaultFlags = flags, DevicePrivateOwner = owner };
        int error;
        using (task.Mm.EnterRead(task))
            error = Hmm.RangeFault(task, range);
        return (error, [.. pfns.Select(static p => (HmmPfn)p & HmmPfn.Flags)], pfns);
    }

    private static ulong* EntryOf(Task task, ulong address) => task.Mm.Tables.Find(address);

    [Test]
    public void Without_a_request_everything_is_answered_and_nothing_faulted() => Run(task =>
    {
        ulong at = Map(task, 6);
        task.TryWrite(at, 1);
        task.TryRead(at + 0x1000, out byte _);
        task.TryWrite(at + 0x2000, 1);
        task.Mm.Mprotect(task, at + 0x2000, 0x1000, PROT_READ);
        task.TryWrite(at + 0x3000, 1);
        task.Mm.Mprotect(task, at + 0x3000, 0x1000, PROT_NONE);
        task.Mm.Munmap(task, at + 0x5000, 0x1000);
        (int error, HmmPfn[] flags, ulong[] pfns) = Ask(task, at, 6);
        Assert.That(error, Is.Zero);
        Assert.That(flags, Is.EqualTo((HmmPfn[])[Write, Read, Read, HmmPfn.Error, HmmPfn.None, HmmPfn.Error]));
        Assert.That(HmmRange.FrameOf(pfns[1]), Is.EqualTo(task.Machine.Pages.Zero), "the page of zeroes is a page like others");
        Assert.That(task.Mm.TryWalk(at, write: false, out Pfn frame), Is.True);
        Assert.That(HmmRange.FrameOf(pfns[0]), Is.EqualTo(frame));
        Assert.That(EntryOf(task, at + 0x4000) is null || *EntryOf(task, at + 0x4000) == 0, Is.True);
    });

    [TestCase(WantRead, 0, Read)]
    [TestCase(WantWrite, 0, Write)]
    [TestCase(HmmPfn.ReqWrite, 0, HmmPfn.None, TestName = "A_request_to_write_alone_is_none")]
    public void A_hole_is_filled_as_requested(HmmPfn request, int error, HmmPfn flags) => Run(task =>
    {
        ulong at = Map(task, 700);
        (int seen, HmmPfn[] all, _) = Ask(task, at, 700, request);
        Assert.That(seen, Is.EqualTo(error));
        Assert.That(all, Is.All.EqualTo(flags));
    });

    [Test]
    public void A_request_to_write_replaces_the_page_of_zeroes() => Run(task =>
    {
        ulong at = Map(task, 1);
        task.TryRead(at, out byte _);
        (int error, HmmPfn[] flags, ulong[] pfns) = Ask(task, at, 1, WantWrite);
        Assert.That((error, flags[0]), Is.EqualTo((0, Write)));
        Assert.That(HmmRange.FrameOf(pfns[0]), Is.Not.EqualTo(task.Machine.Pages.Zero));
    });

    [Test]
    public void A_request_to_write_breaks_sharing_with_a_child() => Run(task =>
    {
        ulong at = Map(task, 1);
        task.TryWrite(at, 7);
        Kernel.Memory.Mm child = task.Mm.Fork(task)!;
        (_, HmmPfn[] before, ulong[] shared) = Ask(task, at, 1, WantRead);
        (int error, HmmPfn[] after, ulong[] own) = Ask(task, at, 1, WantWrite);
        Assert.That((before[0], error, after[0]), Is.EqualTo((Read, 0, Write)));
        Assert.That(own[0] & ~(ulong)HmmPfn.Flags, Is.Not.EqualTo(shared[0] & ~(ulong)HmmPfn.Flags));
        child.Put(task);
    });

    [Test]
    public void What_cannot_be_had_is_an_error_when_it_is_asked_for() => Run(task =>
    {
        ulong at = Map(task, 4);
        task.Mm.Munmap(task, at + 0x1000, 0x1000);
        Assert.That(Ask(task, at, 4, WantRead).Error, Is.EqualTo(-Errno.EFAULT), "an unmapped page");
        ulong none = Map(task, 1, PROT_NONE);
        Assert.That(Ask(task, none, 1, WantRead).Error, Is.EqualTo(-Errno.EFAULT), "a mapping that is not readable");
        ulong writeOnly = Map(task, 1, PROT_WRITE);
        Assert.That(Ask(task, writeOnly, 1).Flags[0], Is.EqualTo(HmmPfn.Error), "lacks VM_READ");
        ulong readOnly = Map(task, 1, PROT_READ);
        Assert.That(Ask(task, readOnly, 1, WantWrite).Error, Is.EqualTo(-Errno.EPERM), "a mapping that is not writable");
        Assert.That(Ask(task, readOnly, 1, WantRead).Error, Is.Zero);
    });

    [Test]
    public void Beyond_the_end_of_a_file_is_EFAULT() => Run(task =>
    {
        Kernel.Files.OpenFile file = task.Machine.CreateMemoryFile(task, 0x1000);
        ulong at = (ulong)task.Mm.Mmap(task, 0, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        Assert.That(Ask(task, at, 1, WantWrite).Error, Is.Zero);
        Assert.That(Ask(task, at, 2, WantRead).Error, Is.EqualTo(-Errno.EFAULT));
        Assert.That(Ask(task, at, 2).Flags, Is.EqualTo((HmmPfn[])[Write, HmmPfn.None]));
        task.Mm.Munmap(task, at, 0x2000);
        file.Put();
    });

    [Test]
    public void A_mapping_of_bare_frames_is_an_error() => Run(task =>
    {
        ulong at = Map(task, 2);
        task.TryWrite(at, 1);
        Vma vma = task.Mm.SnapshotVmas().Single(v => v.Start <= at && v.End > at);
        vma.Flags |= VmFlags.PfnMap;
        Assert.That(Ask(task, at, 2).Flags, Is.All.EqualTo(HmmPfn.Error));
        Assert.That(Ask(task, at, 2, WantRead).Error, Is.EqualTo(-Errno.EFAULT));
        vma.Flags &= ~VmFlags.PfnMap;
    });

    [Test]
    public void Ranges_must_be_whole_and_have_entries() => Run(task =>
    {
        ulong at = Map(task, 2);
        using (task.Mm.EnterRead(task))
        {
            Assert.That(Hmm.RangeFault(task, new HmmRange(task.Mm, at, at, new ulong[1])), Is.EqualTo(-Errno.EINVAL));
            Assert.That(Hmm.RangeFault(task, new HmmRange(task.Mm, at + 0x1000, at, new ulong[1])), Is.EqualTo(-Errno.EINVAL));
            Assert.That(Hmm.RangeFault(task, new HmmRange(task.Mm, at, at + 0x2000, new ulong[1])), Is.EqualTo(-Errno.EINVAL));
            Assert.That(Hmm.RangeFault(task, new HmmRange(task.Mm, at + 1, at + 0x1001, new ulong[1])), Is.EqualTo(-Errno.EINVAL));
        }
    });

    [Test]
    public void Entries_ask_for_themselves_where_the_mask_lets_them() => Run(task =>
    {
        // One request in a table's range is a request for all of it that follows, up to the end of the hole or of the table.
        ulong at = Map(task, 4);
        task.TryWrite(at, 1);
        ulong[] pfns = [0, 0, (ulong)WantWrite, 0];
        HmmRange With(HmmPfn mask) => new(task.Mm, at, at + 0x4000, pfns) { PfnFlagsMask = mask };
        using (task.Mm.EnterRead(task))
        {
            Assert.That(Hmm.RangeFault(task, With(HmmPfn.None)), Is.Zero);
            Assert.That(pfns[1..], Is.All.Zero, "the mask hides the request");
            pfns[2] = (ulong)WantWrite;
            Assert.That(Hmm.RangeFault(task, With(HmmPfn.ReqFault)), Is.Zero);
            Assert.That(((HmmPfn)pfns[1], (HmmPfn)pfns[2] & HmmPfn.Flags, (HmmPfn)pfns[3] & HmmPfn.Flags), Is.EqualTo((HmmPfn.None, Read, Read)), "and half of it");
        }
        task.Mm.Madvise(task, at, 0x4000, MADV_DONTNEED);
        using (task.Mm.EnterRead(task))
        {
            Assert.That(Hmm.RangeFault(task, With(WantWrite)), Is.Zero);
            Assert.That((HmmPfn)pfns[3] & HmmPfn.Flags, Is.Not.EqualTo(HmmPfn.None), "an old answer is a new request");
        }
    });

    [Test]
    public void A_sequence_from_before_a_change_is_EBUSY() => Run(task =>
    {
        ulong at = Map(task, 2);
        task.TryWrite(at, 1);
        var mirror = new IntervalProbe();
        mirror.Insert(task, task.Mm, at, 0x2000);
        var range = new HmmRange(task.Mm, at, at + 0x2000, new ulong[2]) { Notifier = mirror, NotifierSequence = mirror.ReadBegin(task), DefaultFlags = WantRead };
        task.Mm.Madvise(task, at, 0x1000, MADV_DONTNEED);
        using (task.Mm.EnterRead(task))
            Assert.That(Hmm.RangeFault(task, range), Is.EqualTo(-Errno.EBUSY));
        range.NotifierSequence = mirror.ReadBegin(task);
        using (task.Mm.EnterRead(task))
            Assert.That(Hmm.RangeFault(task, range), Is.Zero);
        Assert.That(mirror.ReadRetry(range.NotifierSequence), Is.False);
        mirror.Remove(task);
    });

    [Test]
    public void A_copy_made_by_the_request_itself_is_a_change_and_so_EBUSY_the_first_time() => Run(task =>
    {
        ulong at = Map(task, 1);
        task.TryRead(at, out byte _);
        var mirror = new IntervalProbe();
        mirror.Insert(task, task.Mm, at, 0x1000);
        var range = new HmmRange(task.Mm, at, at + 0x1000, new ulong[1]) { Notifier = mirror, NotifierSequence = mirror.ReadBegin(task), DefaultFlags = WantWrite };
        using (task.Mm.EnterRead(task))
            Assert.That(Hmm.RangeFault(task, range), Is.EqualTo(-Errno.EBUSY));
        range.NotifierSequence = mirror.ReadBegin(task);
        using (task.Mm.EnterRead(task))
            Assert.That(Hmm.RangeFault(task, range), Is.Zero);
        mirror.Remove(task);
    });

    /// <summary>A device's memory that nothing comes back from.</summary>
    private sealed class Memory(object owner) : DevPagemap(owner)
    {
        public override void PageFree(Pfn frame)
        {
        }

        public override FaultOutcome MigrateToRam(Task? task, Vma vma, ulong address, Pfn frame) => FaultOutcome.BusError;
    }

    // Entries that map nothing: no request; a request; as the device's owner.
    [TestCase(SwapKind.DevicePrivateRead, HmmPfn.None, Read)]
    [TestCase(SwapKind.DevicePrivateWrite, HmmPfn.None, Write)]
    [TestCase(SwapKind.DeviceExclusiveWrite, HmmPfn.None, HmmPfn.None)]
    [TestCase(SwapKind.MigrationWrite, HmmPfn.None, HmmPfn.None)]
    [TestCase(SwapKind.Marker, HmmPfn.None, HmmPfn.None)]
    public void Special_entries_without_a_request(SwapKind kind, HmmPfn other, HmmPfn own) => Run(task =>
    {
        ulong at = Map(task, 1);
        task.TryWrite(at, 1);
        ulong* entry = EntryOf(task, at);
        ulong mapped = *entry;
        object owner = new();
        var device = new Memory(owner);
        Assert.That(task.Machine.Pages.Devices.Add(device, 16), Is.True);
        Pfn frame = new(device.First.Value + 7);
        *entry = new SwapEntry(kind, frame.Value).Encode();
        Assert.That(Ask(task, at, 1).Flags[0], Is.EqualTo(other));
        Assert.That(Ask(task, at, 1, owner: new object()).Flags[0], Is.EqualTo(other), "another device's");
        (int error, HmmPfn[] flags, ulong[] pfns) = Ask(task, at, 1, WantWriteIf(kind), owner);
        Assert.That((error, flags[0]), Is.EqualTo((0, own)));
        if (own != HmmPfn.None)
            Assert.That(HmmRange.FrameOf(pfns[0]), Is.EqualTo(frame));
        *entry = mapped;
    });

    /// <summary>The owner's device pages are answered even to a request to write; for the rest there is none here.</summary>
    private static HmmPfn WantWriteIf(SwapKind kind) => kind is SwapKind.DevicePrivateRead or SwapKind.DevicePrivateWrite ? WantWrite : HmmPfn.None;

    [Test]
    public void A_page_that_is_being_moved_is_waited_for() => Run(task =>
    {
        ulong at = Map(task, 1);
        task.TryWrite(at, 1);
        ulong* entry = EntryOf(task, at);
        ulong mapped = *entry;
        Pfn frame = PageTables.FrameOf(mapped);
        PageLocks locks = task.Machine.MemorySystem.PageLocks;
        locks.Lock(task, frame);
        *entry = new SwapEntry(SwapKind.MigrationWrite, frame.Value).Encode();
        (int Error, HmmPfn[] Flags, ulong[] Pfns) answer = (0, [], []);
        KernelThread asker = task.Machine.Spawn(other => answer = Ask(other, at, 1, WantWrite), task.Mm);
        for (int i = 0; i < 100; i++)
            task.SpinOnce();
        Assert.That(asker.HasEnded, Is.False);
        *entry = mapped;
        locks.Unlock(frame);
        asker.Join(task);
        Assert.That((answer.Error, answer.Flags[0]), Is.EqualTo((0, Write)));
    });

    [TestCase(0, 512)]
    [TestCase(100, 50)]
    public void Pages_of_a_huge_page_carry_its_order(int first, int pages) => Run(task =>
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0x4000_0000, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        Assert.That(task.Mm.Madvise(task, at, 4 << 20, MADV_HUGEPAGE), Is.Zero);
        task.TryWrite(at + 5, (byte)1);
        (int error, HmmPfn[] flags, ulong[] pfns) = Ask(task, at + ((ulong)first << 12), pages, WantWrite);
        Assert.That(error, Is.Zero);
        Assert.That(flags, Is.All.EqualTo(Write | (HmmPfn)(9UL << 56)));
        Assert.That(pfns.Select(HmmRange.OrderOf), Is.All.EqualTo(9));
        Assert.That(task.Mm.TryWalk(at + ((ulong)first << 12), write: true, out Pfn frame), Is.True);
        Assert.That(pfns.Select(static p => HmmRange.FrameOf(p).Value), Is.EqualTo(Enumerable.Range(0, pages).Select(i => frame.Value + (ulong)i)));
        Assert.That(Ask(task, at + (2 << 20), 512, WantRead).Pfns.Select(HmmRange.OrderOf), Is.All.EqualTo(9), "a hole is filled by a huge page");
    });

    [Test]
    public void A_page_in_the_swap_area_is_fetched_when_it_is_asked_for() => Run(static task =>
    {
        ulong at = Map(task, 2);
        task.TryWrite(at, 1234);
        Assert.That(task.Mm.Madvise(task, at, 0x2000, MADV_PAGEOUT), Is.Zero);
        Assert.That(SwapEntry.TryDecode(*EntryOf(task, at), out SwapEntry swap) && swap.Kind == SwapKind.Swap, Is.True);
        Assert.That(Ask(task, at, 1).Flags[0], Is.EqualTo(HmmPfn.None));
        (int error, HmmPfn[] flags, ulong[] pfns) = Ask(task, at, 1, WantWrite);
        Assert.That((error, flags[0]), Is.EqualTo((0, Write)));
        Assert.That(BitConverter.ToInt32(task.Machine.Memory.BytesOf(HmmRange.FrameOf(pfns[0]))), Is.EqualTo(1234));
    }, new MachineOptions { SwapBytes = 1 << 20, LockDep = true });

    private static readonly MachineOptions WithPool = new() { HugePages = 8, LockDep = true };

    [Test]
    public void Pages_of_the_hugetlb_pool_carry_the_order_even_where_there_is_none() => Run(static task =>
    {
        const ulong huge = 2 << 20;
        ulong at = (ulong)task.Mm.Mmap(task, 0, 3 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, null, 0);
        Assert.That((long)at, Is.Positive);
        task.TryWrite(at + huge + 8, (byte)1);
        HmmPfn order = (HmmPfn)(9UL << 56);
        (int error, HmmPfn[] flags, ulong[] pfns) = Ask(task, at + huge - 0x2000, 2 + 512 + 2);
        Assert.That(error, Is.Zero);
        Assert.That(flags[..2], Is.All.EqualTo(order), "a quirk: order bits and an offset, not valid");
        Assert.That(pfns[..2].Select(static p => HmmRange.FrameOf(p).Value), Is.EqualTo((ulong[])[510, 511]));
        Assert.That(flags[2..514], Is.All.EqualTo(Write | order));
        Assert.That(flags[514..], Is.All.EqualTo(order));
        Assert.That(task.Mm.TryWalk(at + huge, write: false, out Pfn frame), Is.True);
        Assert.That(HmmRange.FrameOf(pfns[2]), Is.EqualTo(frame));

        Assert.That(task.Mm.Mprotect(task, at + huge, huge, PROT_READ), Is.Zero);
        Assert.That(Ask(task, at + huge, 512).Flags, Is.All.EqualTo(Read | order));
        Assert.That(Ask(task, at + huge, 1, WantWrite).Error, Is.EqualTo(-Errno.EPERM));
        Assert.That(Ask(task, at, 512, WantWrite).Flags, Is.All.EqualTo(Write | order), "faulted from the pool");
        task.Mm.Munmap(task, at, 3 * huge);
    }, WithPool);

    [Test]
    public void Of_a_hugetlb_page_only_the_first_entrys_request_counts() => Run(static task =>
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, null, 0);
        task.TryWrite(at, (byte)1);
        ulong second = at + (2 << 20);
        ulong[] pfns = new ulong[512];
        pfns[1] = (ulong)WantWrite;
        var range = new HmmRange(task.Mm, second, second + (2 << 20), pfns) { PfnFlagsMask = WantWrite };
        using (task.Mm.EnterRead(task))
            Assert.That(Hmm.RangeFault(task, range), Is.Zero);
        Assert.That(pfns.Select(HmmRange.IsValid), Is.All.False);
        pfns[0] = (ulong)WantWrite;
        using (task.Mm.EnterRead(task))
            Assert.That(Hmm.RangeFault(task, range), Is.Zero);
        Assert.That(pfns.Select(HmmRange.IsWritable), Is.All.True);
        task.Mm.Munmap(task, at, 4 << 20);
    }, WithPool);

    [Test]
    public void A_call_allocates_nothing() => Run(static task =>
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, 512 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, null, 0);
        var range = new HmmRange(task.Mm, at, at + (512 << 12), new ulong[512]) { DefaultFlags = WantWrite };
        using (task.Mm.EnterRead(task))
        {
            Assert.That(Hmm.RangeFault(task, range), Is.Zero);
            long before = GC.GetAllocatedBytesForCurrentThread();
            int errors = 0;
            for (int i = 0; i < 10; i++)
                errors |= Hmm.RangeFault(task, range);
            Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
            Assert.That(errors, Is.Zero);
        }
    }, new MachineOptions());
}
