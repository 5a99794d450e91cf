using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Notifiers;

/// <summary>What notifiers are told when huge pages are split, collapsed and copied, and of holes that are punched while others fault.</summary>
public sealed class HugeTimelineTests
{
    private const ulong Huge = PageTables.HugeSize;

    private static ulong MapHuge(Task task, Recorder recorder)
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0x4000_0000, Huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        task.Mm.Madvise(task, at, Huge, MADV_HUGEPAGE);
        Assert.That(task.TryWrite(at, (byte)1), Is.True);
        recorder.Base = at;
        recorder.Take();
        return at;
    }

    private static void Run(Action<Task, Recorder> body, long hugePages = 0)
    {
        using var machine = new Machine(new MachineOptions { LockDep = true, MemoryBytes = 256 << 20, HugePages = hugePages, Timeout = TimeSpan.FromSeconds(60) });
        machine.Run(task =>
        {
            var recorder = new Recorder(task, task.Mm);
            body(task, recorder);
            recorder.Stop(task);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    [Test]
    public void Discarding_a_part_of_a_huge_page_announces_its_split_within() => Run((task, recorder) =>
    {
        ulong at = MapHuge(task, recorder);
        Assert.That(task.Mm.Madvise(task, at + 0x1000, 0x1000, MADV_DONTNEED), Is.Zero);
        Assert.That(recorder.Take(), Is.EqualTo((string[])[
            "start Clear 1-2", "start Clear 0-512", "flush all", "end Clear 0-512", "end Clear 1-2", "flush 1-2"]));
    });

    [Test]
    public void Collapsing_flushes_everything_before_its_end() => Run((task, recorder) =>
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0x4000_0000, Huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        task.Machine.MemorySystem.HugePages.Policy = HugePagePolicy.Madvise;
        task.TryWrite(at + 0x3000, (byte)7);
        recorder.Base = at;
        recorder.Take();
        Assert.That(task.Mm.Madvise(task, at, Huge, MADV_COLLAPSE), Is.Zero);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Clear 0-512", "flush all", "end Clear 0-512"]));
        Assert.That(task.TryRead(at + 0x3000, out byte value) && value == 7);
    });

    [Test]
    public void A_write_after_fork_splits_and_then_copies_one_page() => Run((task, recorder) =>
    {
        ulong at = MapHuge(task, recorder);
        Kernel.Memory.Mm child = task.Mm.Fork(task)!;
        recorder.Take();
        Assert.That(task.TryWrite(at + 0x5000, (byte)2), Is.True);
        child.Put(task);
        Assert.That(recorder.Take(), Is.EqualTo((string[])[
            "start Clear 0-512", "flush all", "end Clear 0-512", "start Clear 5-6", "flush 5-6", "end Clear 5-6"]));
    });

    [Test]
    public void A_hugetlb_page_is_copied_between_start_and_end() => Run((task, recorder) =>
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, Huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, null, 0);
        Assert.That(task.TryWrite(at, (byte)1), Is.True);
        Kernel.Memory.Mm child = task.Mm.Fork(task)!;
        recorder.Base = at;
        recorder.Take();
        Assert.That(task.TryWrite(at, (byte)2), Is.True);
        child.Put(task);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Clear 0-512", "flush 0-512", "end Clear 0-512"]));
    }, hugePages: 4);

    /// <summary>A fault on a page of the hole sleeps until the punch is over, and then finds a new page: nobody sees the old one after the event.</summary>
    [Test]
    public void A_fault_waits_for_the_punch_and_gets_a_new_page()
    {
        using var machine = new Machine(new MachineOptions { Vcpus = 2, LockDep = true, MemoryBytes = 64 << 20, Timeout = TimeSpan.FromSeconds(60) });
        machine.Run(task =>
        {
            Kernel.Files.OpenFile file = machine.CreateMemoryFile(task, 4 << 12);
            ulong at = (ulong)task.Mm.Mmap(task, 0, 4 << 12, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            for (ulong i = 0; i < 4; i++)
                task.TryWrite(at + (i << 12), (byte)(i + 1));
            KernelThread? reader = null;
            byte seen = 99;
            bool started = false, finished = false, early = false;
            var probe = new Probe
            {
                Start = (_, _) => 0,
                End = (t, _) =>
                {
                    // The pages are unmapped and still in the file: whoever faults now must not get them.
                    if (reader is not null)
                        return;
                    reader = machine.Spawn(
                        other =>
                        {
                            Volatile.Write(ref started, true);
                            other.TryRead(at + 0x2000, out seen);
                            Volatile.Write(ref finished, true);
                        },
                        task.Mm);
                    while (!Volatile.Read(ref started))
                        t!.PreemptionPoint();
                    for (int i = 0; i < 500; i++)
                        t!.PreemptionPoint();
                    early = Volatile.Read(ref finished);
                },
            };
            Assert.That(probe.Register(task, task.Mm), Is.Zero);
            Assert.That(((ShmemPageCache)file.Mapping!).PunchHole(task, 0x1000, 0x2000), Is.Zero);
            reader!.Join(task);
            probe.Unregister(task);
            Assert.That(seen, Is.Zero);
            Assert.That(early, Is.False);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    /// <summary>
    /// A callback that faults on a page of the hole that is not present waits for the punch, which waits for the callback. If every page of
    /// the hole is present nothing faults, and the mistake does not show.
    /// </summary>
    [TestCase(false)]
    [TestCase(true)]
    public void A_callback_that_faults_into_the_hole_waits_for_itself(bool hugeTlb)
    {
        using var machine = new Machine(new MachineOptions { HugePages = hugeTlb ? 4 : 0, MemoryBytes = 64 << 20, Timeout = TimeSpan.FromSeconds(60) });
        Assert.That(() => machine.Run(task =>
        {
            ulong page = hugeTlb ? Huge : 0x1000;
            int flags = MAP_SHARED | MAP_ANONYMOUS | (hugeTlb ? MAP_HUGETLB : 0);
            ulong at = (ulong)task.Mm.Mmap(task, 0, 2 * page, PROT_READ | PROT_WRITE, flags, null, 0);
            task.TryWrite(at, (byte)1);
            var probe = new Probe { Start = (t, _) => -(int)t!.Mm!.HandleFault(t, at + page, FaultFlags.Read) };
            Assert.That(probe.Register(task, task.Mm), Is.Zero);
            task.Mm.Madvise(task, at, 2 * page, MADV_REMOVE);
        }), Throws.TypeOf<MachineStoppedException>().With.Message.Contains(nameof(ExitReason.Deadlock)));
        Assert.That(machine.Violations.All, Has.Some.Matches<Violation>(v => v!.Rule == NotifierRules.NoFaultOnPunchInCallback));
    }
}
