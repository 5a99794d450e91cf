using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Notifiers;

/// <summary>The sequence numbers of mm/mmu_notifier.c's interval notifiers, step by step.</summary>
public sealed class IntervalNotifierTests
{
    private const ulong Page = 0x1000;

    public static IEnumerable<TestCaseData> Machines()
    {
        yield return new TestCaseData(new MachineOptions { Vcpus = 4, LockDep = true }).SetArgDisplayNames("parallel");
        for (ulong seed = 1; seed <= 5; seed++)
            yield return new TestCaseData(new MachineOptions { Vcpus = 4, LockDep = true, Deterministic = true, Seed = seed }).SetArgDisplayNames($"seed_{seed}");
    }

    private static void Run(Action<Task> body, MachineOptions? options = null)
    {
        using var machine = new Machine((options ?? new MachineOptions { LockDep = true }) with { MemoryBytes = 64 << 20, Timeout = TimeSpan.FromSeconds(60) });
        machine.Run(body);
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static MmuNotifierRange Range(Task task, ulong first, ulong last, bool blockable = true) =>
        new(task.Mm, first * Page, last * Page, MmuNotifyEvent.Clear, blockable);

    private static IntervalSubscriptions Of(Task task) => task.Mm.Notifiers!.Intervals!;

    private static void Change(Task task, in MmuNotifierRange range)
    {
        Assert.That(task.Mm.InvalidateRangeStart(task, range), Is.Zero);
        task.Mm.InvalidateRangeEnd(task, range);
    }

    [Test]
    public void The_number_is_odd_while_a_mirrored_range_changes() => Run(task =>
    {
        var mirror = new IntervalProbe();
        Assert.That(mirror.Insert(task, task.Mm, 10 * Page, 10 * Page), Is.Zero);
        IntervalSubscriptions all = Of(task);
        Assert.That((all.Sequence, mirror.Sequence), Is.EqualTo((2UL, 1UL)));
        Change(task, Range(task, 0, 10));
        Assert.That((all.Sequence, mirror.Sequence), Is.EqualTo((2UL, 1UL)), "a change beside it is nobody's business");
        MmuNotifierRange range = Range(task, 19, 30);
        task.Mm.InvalidateRangeStart(task, range);
        Assert.That((all.Sequence, mirror.Sequence), Is.EqualTo((3UL, 3UL)));
        task.Mm.InvalidateRangeEnd(task, range);
        Assert.That((all.Sequence, mirror.Sequence), Is.EqualTo((4UL, 3UL)));
        Assert.That(mirror.Seen, Is.EqualTo(((MmuNotifyEvent, ulong)[])[(MmuNotifyEvent.Clear, 3UL)]));
        mirror.Remove(task);
        Assert.That(all.Count, Is.Zero);
    });

    [Test]
    public void It_stays_odd_until_all_active_changes_end() => Run(task =>
    {
        var mirror = new IntervalProbe();
        mirror.Insert(task, task.Mm, 0, Page);
        IntervalSubscriptions all = Of(task);
        MmuNotifierRange beside = Range(task, 5, 6), of = Range(task, 0, 1);
        task.Mm.InvalidateRangeStart(task, beside);
        Assert.That(all.Sequence, Is.EqualTo(2));
        task.Mm.InvalidateRangeStart(task, of);
        Assert.That(all.Sequence, Is.EqualTo(3));
        task.Mm.InvalidateRangeEnd(task, of);
        Assert.That((all.Sequence, all.ActiveRanges), Is.EqualTo((3UL, 1L)), "the other one is still active");
        task.Mm.InvalidateRangeEnd(task, beside);
        Assert.That((all.Sequence, all.ActiveRanges), Is.EqualTo((4UL, 0L)));
        mirror.Remove(task);
    });

    [Test]
    public void What_is_inserted_during_a_change_reads_only_after_it() => Run(task =>
    {
        IntervalProbe first = new(), early = new(), late = new();
        first.Insert(task, task.Mm, 0, Page);
        IntervalSubscriptions all = Of(task);
        MmuNotifierRange beside = Range(task, 5, 6), of = Range(task, 0, 1);
        task.Mm.InvalidateRangeStart(task, beside);
        early.Insert(task, task.Mm, 5 * Page, Page);
        Assert.That((all.Sequence, early.Sequence, all.Count), Is.EqualTo((3UL, 3UL, 2)), "active and even: entered, and the number made odd");
        late.Insert(task, task.Mm, 0, Page);
        Assert.That((late.Sequence, all.Count), Is.EqualTo((3UL, 2)), "active and odd: waits outside");
        task.Mm.InvalidateRangeStart(task, of);
        Assert.That(late.Seen, Is.Empty);
        task.Mm.InvalidateRangeEnd(task, of);
        task.Mm.InvalidateRangeEnd(task, beside);
        Assert.That((all.Sequence, all.Count), Is.EqualTo((4UL, 3)), "now it is in");
        Change(task, of);
        Assert.That(late.Seen, Has.Count.EqualTo(1));
        foreach (IntervalProbe probe in (IntervalProbe[])[first, early, late])
            probe.Remove(task);
        Assert.That(all.Count, Is.Zero);
    });

    [Test]
    public void Removal_of_what_still_waits_outside_is_immediate() => Run(task =>
    {
        IntervalProbe first = new(), late = new();
        first.Insert(task, task.Mm, 0, Page);
        MmuNotifierRange of = Range(task, 0, 1);
        task.Mm.InvalidateRangeStart(task, of);
        late.Insert(task, task.Mm, 0, Page);
        late.Remove(task);
        task.Mm.InvalidateRangeEnd(task, of);
        Assert.That(Of(task).Count, Is.EqualTo(1));
        first.Remove(task);
    });

    [Test]
    public void Ranges_that_are_empty_or_wrap_are_refused() => Run(task =>
    {
        var probe = new IntervalProbe();
        Assert.That(probe.Insert(task, task.Mm, Page, 0), Is.EqualTo(-Errno.EOVERFLOW));
        Assert.That(probe.Insert(task, task.Mm, ulong.MaxValue, 2), Is.EqualTo(-Errno.EOVERFLOW));
        Assert.That(probe.Insert(task, task.Mm, 0, ulong.MaxValue), Is.Zero);
        probe.Remove(task);
    });

    [Test]
    public void A_refused_change_leaves_no_trace_and_later_mirrors_are_not_asked() => Run(task =>
    {
        IntervalProbe first = new(), second = new() { On = static (_, r, _) => r.Blockable }, third = new();
        first.Insert(task, task.Mm, 0, Page);
        second.Insert(task, task.Mm, Page, Page);
        third.Insert(task, task.Mm, 2 * Page, Page);
        Assert.That(task.Mm.InvalidateRangeStart(task, Range(task, 0, 3, blockable: false)), Is.EqualTo(-Errno.EAGAIN));
        IntervalSubscriptions all = Of(task);
        Assert.That((all.ActiveRanges, all.Sequence & 1), Is.EqualTo((0L, 0UL)));
        Assert.That((first.Seen.Count, second.Seen.Count, third.Seen.Count), Is.EqualTo((1, 1, 0)));
        foreach (IntervalProbe probe in (IntervalProbe[])[first, second, third])
            probe.Remove(task);
    });

    [TestCaseSource(nameof(Machines))]
    public void Read_begin_sleeps_until_the_change_ends(MachineOptions options) => Run(task =>
    {
        var mirror = new IntervalProbe();
        mirror.Insert(task, task.Mm, 0, Page);
        MmuNotifierRange range = Range(task, 0, 1);
        bool began = false, ended = false;
        KernelThread reader = task.Machine.Spawn(other =>
        {
            ulong before = mirror.ReadBegin(other);
            Assert.That(mirror.ReadRetry(before), Is.False);
            Volatile.Write(ref began, true);
            while (!mirror.CheckRetry(before))
                other.SpinOnce();
            ulong after = mirror.ReadBegin(other);
            Assert.That(Volatile.Read(ref ended), Is.True);
            Assert.That(mirror.ReadRetry(after), Is.False);
        });
        while (!Volatile.Read(ref began))
            task.SpinOnce();
        task.Mm.InvalidateRangeStart(task, range);
        for (int i = 0; i < 50; i++)
            task.SpinOnce();
        Volatile.Write(ref ended, true);
        task.Mm.InvalidateRangeEnd(task, range);
        reader.Join(task);
        mirror.Remove(task);
    }, options);

    [TestCaseSource(nameof(Machines))]
    public void Remove_returns_when_no_callback_can_come_any_more(MachineOptions options) => Run(task =>
    {
        for (int round = 0; round < 20; round++)
        {
            int inside = 0;
            bool removed = false;
            IntervalProbe? mirror = null;
            mirror = new IntervalProbe
            {
                On = (current, _, sequence) =>
                {
                    Interlocked.Increment(ref inside);
                    Assert.That(Volatile.Read(ref removed), Is.False);
                    mirror!.SetSequence(sequence);
                    current!.PreemptionPoint();
                    Interlocked.Decrement(ref inside);
                    return true;
                },
            };
            mirror.Insert(task, task.Mm, 0, Page);
            KernelThread[] changers = [.. Enumerable.Range(0, 3).Select(_ => task.Machine.Spawn(other =>
            {
                for (int i = 0; i < 10; i++)
                    Change(other, new MmuNotifierRange(task.Mm, 0, Page, MmuNotifyEvent.Clear));
            }))];
            for (int i = 0; i < round; i++)
                task.SpinOnce();
            mirror.Remove(task);
            Volatile.Write(ref removed, true);
            Assert.That(Volatile.Read(ref inside), Is.Zero);
            foreach (KernelThread changer in changers)
                changer.Join(task);
        }
        Assert.That((Of(task).ActiveRanges, Of(task).Sequence & 1), Is.EqualTo((0L, 0UL)));
    }, options);

    [Test]
    public void The_end_of_the_address_space_is_told_for_everything_and_then_its_unmapping() => Run(task =>
    {
        var mirror = new IntervalProbe();
        Kernel.Memory.Mm? mm = null;
        task.Machine.Spawn(other =>
        {
            mm = other.Mm;
            mirror.Insert(other, mm, 0x10000, Page);
        }).Join(task);
        Assert.That(mirror.Seen.Select(static s => s.Event), Is.EqualTo((MmuNotifyEvent[])[MmuNotifyEvent.Release, MmuNotifyEvent.Unmap]));
        mirror.Remove(task);
    });

    [Test]
    public void The_tree_finds_exactly_what_overlaps()
    {
        var random = new Random(20);
        var tree = new IntervalTree();
        var model = new List<IntervalProbe>();
        for (int step = 0; step < 4000; step++)
        {
            if (model.Count == 0 || random.Next(5) < 3)
            {
                ulong start = (ulong)random.Next(1000);
                var probe = new IntervalProbe { Start = start, Last = start + (ulong)random.Next(random.Next(2) == 0 ? 5 : 300) };
                tree.Insert(probe);
                model.Add(probe);
            }
            else
            {
                int at = random.Next(model.Count);
                tree.Remove(model[at]);
                model.RemoveAt(at);
            }
            ulong from = (ulong)random.Next(1100), to = from + (ulong)random.Next(100);
            var found = new Collector([]);
            tree.Visit(from, to, ref found);
            IntervalProbe[] expected = [.. model.Where(p => p.Start <= to && p.Last >= from)];
            Assert.That(found.Found.ToHashSet().SetEquals(expected), Is.True);
            Assert.That(found.Found.Zip(found.Found.Skip(1)).All(static pair => pair.First.Start <= pair.Second.Start), Is.True);
            Assert.That(tree.Overlaps(from, to), Is.EqualTo(expected.Length != 0));
        }
        Assert.That(tree.Count, Is.EqualTo(model.Count));
    }

    [TestCase(1 << 10, 15)]
    [TestCase(1 << 17, 25)]
    public void The_tree_stays_low(int count, int height)
    {
        var tree = new IntervalTree();
        IntervalProbe[] probes = [.. Enumerable.Range(0, count).Select(static i => new IntervalProbe { Start = (ulong)i * 10, Last = (ulong)i * 10 + 15 })];
        foreach (IntervalProbe probe in probes)
            tree.Insert(probe);
        Assert.That(tree.Height, Is.LessThanOrEqualTo(height));
        foreach (IntervalProbe probe in probes.Where(static (_, i) => i % 3 != 0))
            tree.Remove(probe);
        Assert.That(tree.Height, Is.LessThanOrEqualTo(height));
    }

    private struct Collector(List<MmuIntervalNotifier> found) : IntervalTree.IVisitor
    {
        public readonly List<MmuIntervalNotifier> Found => found;

        public readonly void Visit(MmuIntervalNotifier notifier) => found.Add(notifier);
    }
}
