using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Notifiers;

/// <summary>What kernel developers say about walking devices and notifiers (commits 6bbd42e2df8f and 1af5a8109904, mmu_notifier.rst), tried out.</summary>
public sealed class WalkerClaims
{
    /// <summary>What one access of the device comes to.</summary>
    public enum Verdict
    {
        /// <summary>The device has no translation and finds none.</summary>
        Fault,

        /// <summary>It reads what the CPUs read.</summary>
        Coherent,

        /// <summary>It reads a page that the tables do not map there any more, and that has not been freed.</summary>
        Stale,

        /// <summary>It reads a page that has been freed.</summary>
        Corrupt,
    }

    /// <summary>The example's device, listening where it is told to, its page size computed as it is told to.</summary>
    private sealed class Device(Machine machine, Kernel.Memory.Mm mm, MmuNotifierOps ops) : Examples.Walker(machine)
    {
        private readonly Machine _machine = machine;
        private readonly Dictionary<ulong, (Pfn Frame, uint Generation)> _filled = [];

        public override MmuNotifierOps Ops => ops;

        /// <summary>Computes the number of pages without looking for "everything" first.</summary>
        public bool Naive { get; init; }

        public override int InvalidateRangeStart(Task? task, in MmuNotifierRange range)
        {
            Forget(range.Start, range.End);
            return 0;
        }

        public override void InvalidateRangeEnd(Task? task, in MmuNotifierRange range) => Forget(range.Start, range.End);

        public override void ArchInvalidateSecondaryTlbs(Task? task, Kernel.Memory.Mm mm, ulong start, ulong end)
        {
            if (Naive)
            {
                ulong pages = unchecked(end - start + 0xFFF) >> 12;
                end = start + (pages << 12);
            }
            Forget(start, end);
        }

        public override void Forget(ulong start, ulong end)
        {
            base.Forget(start, end);
            foreach (ulong page in _filled.Keys.Where(page => page >= start && page < end))
                _filled.Remove(page);
        }

        public Verdict Access(ulong page)
        {
            bool walks = mm.TryWalk(page, write: false, out Pfn now);
            if (!TryRead(mm, page, out _))
                return Verdict.Fault;
            _filled.TryAdd(page, (now, _machine.Pages[now].Generation));
            (Pfn frame, uint generation) = _filled[page];
            return _machine.Pages[frame].Generation != generation ? Verdict.Corrupt
                : walks && now == frame ? Verdict.Coherent
                : Verdict.Stale;
        }
    }

    private static void Run(Action<Task> body)
    {
        using var machine = new Machine(new MachineOptions { Vcpus = 4, LockDep = true, MemoryBytes = 256 << 20, Timeout = TimeSpan.FromSeconds(60) });
        machine.Run(body);
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static ulong Map(Task task, int pages)
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, (ulong)pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, null, 0);
        for (int i = 0; i < pages; i++)
            Assert.That(task.TryWrite(at + ((ulong)i << 12), (byte)i), Is.True);
        return at;
    }

    /// <summary>More pages than a gather holds (8 and 19 batches of 510), so that the first are freed early.</summary>
    private const int Many = 10_500;

    private const MmuNotifierOps Start = MmuNotifierOps.InvalidateRangeStart, End = MmuNotifierOps.InvalidateRangeEnd;
    private const MmuNotifierOps Arch = MmuNotifierOps.ArchInvalidateSecondaryTlbs;

    // Claim: invalidate_range_start/end must not be used for a TLB that walks the CPUs' tables.
    // The device looks at the first of 10,500 pages, more than a gather holds, right after it was told the start, right before it is told the end, when that page is
    // free already, and when all is over.
    [TestCase(Start, Verdict.Coherent, Verdict.Corrupt, Verdict.Corrupt, TestName = "Start_only_leaves_what_the_device_fetches_before_the_entry_is_cleared")]
    [TestCase(End, Verdict.Coherent, Verdict.Corrupt, Verdict.Fault, TestName = "End_only_comes_after_pages_were_freed")]
    [TestCase(Start | End, Verdict.Coherent, Verdict.Corrupt, Verdict.Fault, TestName = "Start_and_end_leave_a_window_for_pages_freed_inside_it")]
    [TestCase(Arch, Verdict.Coherent, Verdict.Fault, Verdict.Fault, TestName = "The_arch_callback_is_clean")]
    public void Unmapping_more_than_a_gather_holds(MmuNotifierOps ops, Verdict afterStart, Verdict beforeEnd, Verdict afterwards) => Run(task =>
    {
        Kernel.Memory.Mm mm = task.Mm;
        ulong at = Map(task, Many), next = Map(task, 1);
        var device = new Device(task.Machine, mm, ops);
        Verdict seenAfterStart = default, seenBeforeEnd = default;
        // The last registered is told first.
        var behind = new Probe
        {
            Start = (_, range) =>
            {
                if (range.Start == at)
                    seenAfterStart = device.Access(at);
                return 0;
            },
        };
        var before = new Probe { End = (_, range) => seenBeforeEnd = range.Start == at ? device.Access(at) : seenBeforeEnd };
        behind.Register(task, mm);
        device.Register(task, mm);
        before.Register(task, mm);
        Assert.That(device.Access(at), Is.EqualTo(Verdict.Coherent));

        Assert.That(mm.Munmap(task, at, Many << 12), Is.Zero);
        Assert.That(mm.Mremap(task, next, 0x1000, Many << 12, MREMAP_MAYMOVE | MREMAP_FIXED, 0x10_0000_0000), Is.Positive);
        for (ulong i = 0; i < Many; i++)
            task.TryWrite(0x10_0000_0000 + (i << 12), (byte)0xFF); // Whoever gets the frames next.
        Assert.That((seenAfterStart, seenBeforeEnd, device.Access(at)), Is.EqualTo((afterStart, beforeEnd, afterwards)));
        foreach (MmuNotifier notifier in (MmuNotifier[])[behind, device, before])
            notifier.Unregister(task);
    });

    [Test]
    public void At_the_end_event_a_small_unmapping_has_not_freed_its_pages_and_a_large_one_has() => Run(task =>
    {
        // The header says that by invalidate_range_end the pages "have been freed": in the common case they are freed after it.
        Kernel.Memory.Mm mm = task.Mm;
        ulong small = Map(task, 1), large = Map(task, Many);
        Assert.That(mm.TryWalk(small, write: false, out Pfn one), Is.True);
        Assert.That(mm.TryWalk(large, write: false, out Pfn many), Is.True);
        PageAllocator pages = task.Machine.Pages;
        uint oneBefore = pages[one].Generation, manyBefore = pages[many].Generation;
        List<(bool, bool)> freed = [];
        var probe = new Probe { End = (_, _) => freed.Add((pages[one].Generation != oneBefore, pages[many].Generation != manyBefore)) };
        probe.Register(task, mm);
        mm.Munmap(task, small, 0x1000);
        Assert.That(pages[one].Generation, Is.Not.EqualTo(oneBefore), "freed in the end");
        mm.Munmap(task, large, Many << 12);
        probe.Unregister(task);
        Assert.That(freed, Is.EqualTo(((bool, bool)[])[(false, false), (true, true)]));
    });

    [TestCase(33, true, Verdict.Fault)]
    [TestCase(34, true, Verdict.Corrupt)]
    [TestCase(34, false, Verdict.Fault)]
    public void Computing_with_the_end_of_everything_flushes_nothing(int pages, bool naive, Verdict verdict) => Run(task =>
    {
        // Intel's driver did so (e7ad6c2a4b1a): more than 33 pages are flushed as (0, ULONG_MAX), and that plus a page minus one wraps.
        Kernel.Memory.Mm mm = task.Mm;
        ulong at = Map(task, pages + 1); // The last one keeps the tables.
        var device = new Device(task.Machine, mm, Arch) { Naive = naive };
        device.Register(task, mm);
        Assert.That(device.Access(at), Is.EqualTo(Verdict.Coherent));
        mm.Munmap(task, at, (ulong)pages << 12);
        Assert.That(device.Access(at), Is.EqualTo(verdict));
        device.Unregister(task);
    });

    [TestCase(End, 0, 1, TestName = "Told_at_the_end_the_device_sees_the_second_write_without_the_first")]
    [TestCase(Arch, 1, 1, TestName = "Told_under_the_page_table_lock_the_device_sees_both_writes")]
    public void Two_pages_are_copied_and_written_in_order(MmuNotifierOps ops, int first, int second) => Run(task =>
    {
        // mmu_notifier.rst: the thread that copies A is kept from its range_end; others write A and then B.
        Machine machine = task.Machine;
        Kernel.Memory.Mm mm = task.Mm;
        ulong a = Map(task, 2), b = a + 0x1000;
        task.TryWrite(a, (byte)0);
        task.TryWrite(b, (byte)0);
        var device = new Device(machine, mm, ops);
        bool held = false, release = false;
        var queue = new WaitQueue();
        var before = new Probe
        {
            End = (current, range) =>
            {
                if (range.Start != a || current is null)
                    return;
                Volatile.Write(ref held, true);
                queue.WakeAll();
                queue.Wait(current, () => Volatile.Read(ref release), interruptible: false);
            },
        };
        bool childMayGo = false;
        KernelThread child = machine.Fork(task, other => queue.Wait(other, () => Volatile.Read(ref childMayGo), interruptible: false));
        device.Register(task, mm);
        before.Register(task, mm);
        Assert.That((device.Access(a), device.Access(b)), Is.EqualTo((Verdict.Coherent, Verdict.Coherent)));

        KernelThread copier = machine.Spawn(other => other.TryWrite(a, (byte)0), mm);
        queue.Wait(task, () => Volatile.Read(ref held), interruptible: false);
        task.TryWrite(a, (byte)1);
        task.TryWrite(b, (byte)1);
        device.TryRead(mm, a, out byte seenA);
        device.TryRead(mm, b, out byte seenB);
        Volatile.Write(ref release, true);
        Volatile.Write(ref childMayGo, true);
        queue.WakeAll();
        copier.Join(task);
        child.Join(task);
        Assert.That((seenA, seenB), Is.EqualTo(((byte)first, (byte)second)));
        before.Unregister(task);
        device.Unregister(task);
    });

    [Test]
    public void A_device_that_reads_the_same_tables_still_has_to_be_told() => Run(task =>
    {
        Kernel.Memory.Mm mm = task.Mm;
        ulong at = Map(task, 2);
        var device = new Device(task.Machine, mm, MmuNotifierOps.None);
        Assert.That(device.Access(at), Is.EqualTo(Verdict.Coherent));
        Assert.That(mm.TryWalk(at, write: false, out Pfn frame), Is.True);
        mm.Munmap(task, at, 0x1000);
        Assert.That(mm.TryWalk(at, write: false, out _), Is.False, "the entry is gone");
        Assert.That(device.Access(at), Is.EqualTo(Verdict.Corrupt), $"and the device still reads frame {frame.Value}");
    });
}
