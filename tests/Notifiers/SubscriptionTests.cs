using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Notifiers;

/// <summary>Registration, lifetime and delivery of mmu_notifiers.</summary>
public sealed class SubscriptionTests
{
    private static void Run(Action<Task> body, MachineOptions? options = null)
    {
        using var machine = new Machine((options ?? new MachineOptions { Vcpus = 2, LockDep = true }) with { MemoryBytes = 64 << 20, Timeout = TimeSpan.FromSeconds(60) });
        machine.Run(body);
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static MmuNotifierRange Range(Task task, bool blockable = true) => new(task.Mm, 0x1000, 0x2000, MmuNotifyEvent.Clear, blockable);

    [Test]
    public void The_last_registered_is_told_first() => Run(task =>
    {
        List<int> order = [];
        Probe[] probes = [.. Enumerable.Range(0, 4).Select(i => new Probe { End = (_, _) => order.Add(i) })];
        foreach (Probe probe in probes)
            probe.Register(task, task.Mm);
        task.Mm.InvalidateRangeStart(task, Range(task));
        task.Mm.InvalidateRangeEnd(task, Range(task));
        Assert.That(order, Is.EqualTo((int[])[3, 2, 1, 0]));
        foreach (Probe probe in probes)
            probe.Unregister(task);
    });

    [Test]
    public void When_one_refuses_what_must_not_block_those_that_have_an_end_are_told_it() => Run(task =>
    {
        int starts = 0, ends = 0;
        var pair = new Probe { Start = (_, _) => 0 * ++starts, End = (_, _) => ends++ };
        var refusing = new Probe { Start = static (_, r) => r.Blockable ? 0 : -Errno.EAGAIN };
        var other = new Probe { Start = (_, _) => 0 * ++starts, End = (_, _) => ends++ };
        var interval = new IntervalProbe();
        foreach (Probe probe in (Probe[])[pair, refusing, other])
            probe.Register(task, task.Mm);
        interval.Insert(task, task.Mm, 0x1000, 0x1000);
        Assert.That(task.Mm.InvalidateRangeStart(task, Range(task, blockable: false)), Is.EqualTo(-Errno.EAGAIN));
        Assert.That((starts, ends), Is.EqualTo((2, 2)));
        Assert.That((task.Mm.Notifiers!.Intervals!.ActiveRanges, task.Mm.Notifiers.Intervals.Sequence), Is.EqualTo((0L, 4UL)));
        interval.Remove(task);
        foreach (Probe probe in (Probe[])[pair, refusing, other])
            probe.Unregister(task);
    });

    [Test]
    public void Unregister_calls_release_once_and_waits_for_callbacks() => Run(task =>
    {
        var queue = new WaitQueue();
        bool inside = false, go = false, left = false;
        int released = 0;
        var probe = new Probe
        {
            End = (current, _) =>
            {
                Volatile.Write(ref inside, true);
                queue.WakeAll();
                queue.Wait(current!, () => Volatile.Read(ref go), interruptible: false);
                Volatile.Write(ref left, true);
            },
            Released = (_, _) => released++,
        };
        probe.Register(task, task.Mm);
        KernelThread changer = task.Machine.Spawn(other =>
        {
            other.Mm.InvalidateRangeStart(other, Range(other));
            other.Mm.InvalidateRangeEnd(other, Range(other));
        }, task.Mm);
        queue.Wait(task, () => Volatile.Read(ref inside), interruptible: false);
        KernelThread opener = task.Machine.Spawn(other =>
        {
            for (int i = 0; i < 100; i++)
                other.SpinOnce();
            Volatile.Write(ref go, true);
            queue.WakeAll();
        });
        probe.Unregister(task);
        Assert.That((Volatile.Read(ref left), released), Is.EqualTo((true, 1)));
        Assert.That(probe.Mm, Is.Null);
        changer.Join(task);
        opener.Join(task);
    });

    [Test]
    public void The_end_of_the_address_space_releases_once_and_unregister_does_not_again() => Run(task =>
    {
        int released = 0;
        bool pagesWereThere = false;
        var probe = new Probe
        {
            Released = (_, mm) =>
            {
                released++;
                pagesWereThere = mm.ResidentPages != 0;
            },
        };
        task.Machine.Spawn(other =>
        {
            ulong at = (ulong)other.Mm.Mmap(other, 0, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, null, 0);
            other.TryWrite(at, 1);
            probe.Register(other, other.Mm);
        }).Join(task);
        Assert.That((released, pagesWereThere, probe.IsListed), Is.EqualTo((1, true, false)));
        probe.Unregister(task);
        Assert.That(released, Is.EqualTo(1));
    });

    [Test]
    public void Get_finds_what_is_there_and_put_frees_it_without_release() => Run(task =>
    {
        int freed = 0;
        Assert.That(MmuNotifier.Get(task, task.Mm, () => new Probe { Freed = () => freed++, Released = static (_, _) => Assert.Fail("released") }, out Probe? first), Is.Zero);
        Assert.That(MmuNotifier.Get(task, task.Mm, static () => new Probe(), out Probe? second), Is.Zero);
        Assert.That(second, Is.SameAs(first));
        first!.Put(task);
        Assert.That((freed, first.IsListed), Is.EqualTo((0, true)));
        first.Put(task);
        Assert.That((freed, first.IsListed), Is.EqualTo((1, false)));
    });

    [Test]
    public void Put_inside_a_callback_frees_when_the_callback_has_returned() => Run(task =>
    {
        bool inside = false, freedInside = false, freed = false;
        Probe? probe = null;
        probe = new Probe
        {
            End = (current, _) =>
            {
                inside = true;
                probe!.Put(current);
                inside = false;
            },
            Freed = () =>
            {
                freed = true;
                freedInside = inside;
            },
        };
        probe.Register(task, task.Mm);
        task.Mm.InvalidateRangeStart(task, Range(task));
        task.Mm.InvalidateRangeEnd(task, Range(task));
        Assert.That((freed, freedInside), Is.EqualTo((true, false)));
    });

    [Test]
    public void Young_is_the_sum_of_all_answers_and_the_first_yes_ends_a_test() => Run(task =>
    {
        List<string> asked = [];
        Probe Make(bool young) => new()
        {
            Young = (start, end, what) =>
            {
                asked.Add($"{what} {start:x}-{end:x}");
                return young;
            },
        };
        Probe[] probes = [Make(false), Make(true), Make(false)];
        foreach (Probe probe in probes)
            probe.Register(task, task.Mm);
        Assert.That(task.Mm.ClearFlushYoungNotify(task, 0x1000, 0x3000), Is.True);
        Assert.That(asked, Is.EqualTo((string[])["clear_flush_young 1000-3000", "clear_flush_young 1000-3000", "clear_flush_young 1000-3000"]));
        asked.Clear();
        Assert.That(task.Mm.TestYoungNotify(task, 0x1000), Is.True);
        Assert.That(asked, Has.Count.EqualTo(2));
        probes[1].Unregister(task);
        Assert.That(task.Mm.ClearYoungNotify(task, 0x1000, 0x2000), Is.False);
        probes[0].Unregister(task);
        probes[2].Unregister(task);
    });

    [Test]
    public void A_registration_waits_for_changes_that_only_the_reverse_map_announces() => Run(task =>
    {
        // A truncation holds the file's lock from start to end, and no mmap lock: who registers meanwhile must not be told the end alone.
        Kernel.Files.OpenFile file = task.Machine.CreateMemoryFile(task, 0x2000);
        ulong at = (ulong)task.Mm.Mmap(task, 0, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        task.TryWrite(at, 1);
        var queue = new WaitQueue();
        bool inside = false, go = false;
        var slow = new Probe
        {
            Start = (current, _) =>
            {
                Volatile.Write(ref inside, true);
                queue.WakeAll();
                queue.Wait(current!, () => Volatile.Read(ref go), interruptible: false);
                return 0;
            },
        };
        slow.Register(task, task.Mm);
        KernelThread truncater = task.Machine.Spawn(other => file.Mapping!.Truncate(other, 0));
        queue.Wait(task, () => Volatile.Read(ref inside), interruptible: false);
        int starts = 0, ends = 0;
        var late = new Probe { Start = (_, _) => 0 * ++starts, End = (_, _) => ends++ };
        KernelThread registrar = task.Machine.Spawn(other => late.Register(other, task.Mm));
        for (int i = 0; i < 100; i++)
            task.SpinOnce();
        Assert.That(registrar.HasEnded, Is.False);
        Volatile.Write(ref go, true);
        queue.WakeAll();
        truncater.Join(task);
        registrar.Join(task);
        Assert.That(ends, Is.EqualTo(starts), "each end has its start");
        slow.Unregister(task);
        late.Unregister(task);
        task.Mm.Munmap(task, at, 0x2000);
        file.Put();
    });

    [Test]
    public void An_address_space_without_subscribers_says_nothing_and_allocates_nothing() => Run(static task =>
    {
        MmuNotifierRange range = Range(task);
        void Change()
        {
            task.Mm.InvalidateRangeStart(task, range);
            task.Mm.InvalidateRangeEnd(task, range);
            task.Mm.InvalidateSecondaryTlbs(task, 0, ulong.MaxValue);
        }
        Change();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
            Change();
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        Assert.That(task.Mm.Notifiers, Is.Null);
    }, new MachineOptions());
}
