using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Notifiers;

/// <summary>What notifiers are told, event by event: where the announcement, the change of entries, the flush and the freeing come (mm/memory.c and its callers).</summary>
public sealed class TimelineTests
{
    private static void Run(Action<Task, Recorder> body, MachineOptions? options = null)
    {
        using var machine = new Machine((options ?? new MachineOptions()) with { LockDep = true, MemoryBytes = 256 << 20, Timeout = TimeSpan.FromSeconds(60) });
        machine.Run(task =>
        {
            var recorder = new Recorder(task, task.Mm);
            body(task, recorder);
            recorder.Stop(task);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static ulong Map(Task task, Recorder recorder, int pages, int flags = MAP_PRIVATE | MAP_ANONYMOUS, bool touch = true)
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, (ulong)pages << 12, PROT_READ | PROT_WRITE, flags, null, 0);
        recorder.Base = at;
        for (int i = 0; i < pages && touch; i++)
            Assert.That(task.TryWrite(at + ((ulong)i << 12), (byte)1), Is.True);
        recorder.Take();
        return at;
    }

    [Test]
    public void A_small_munmap_ends_before_the_flush_and_frees_after_it() => Run((task, recorder) =>
    {
        // A second mapping beside it keeps the tables.
        ulong at = Map(task, recorder, 4);
        recorder.Watch(at);
        task.Mm.Munmap(task, at, 0x2000);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Unmap 0-2: mapped", "end Unmap 0-2: empty", "flush 0-2: empty"]));
        Assert.That(task.Machine.Pages.FreeFrames, Is.Positive);
    });

    [Test]
    public void A_munmap_that_frees_tables_flushes_them_in_the_same_flush() => Run((task, recorder) =>
    {
        ulong at = Map(task, recorder, 1);
        recorder.Watch(at);
        task.Mm.Munmap(task, at, 0x1000);
        string[] events = recorder.Take();
        Assert.That(events, Has.Length.EqualTo(3));
        Assert.That(events[..2], Is.EqualTo((string[])["start Unmap 0-1: mapped", "end Unmap 0-1: empty"]));
        Assert.That(events[2], Does.StartWith("flush").And.EndWith(": empty"));
    });

    [Test]
    public void A_large_munmap_frees_pages_before_its_end() => Run((task, recorder) =>
    {
        task.Machine.MemorySystem.HugePages.Policy = HugePagePolicy.Never;
        ulong at = Map(task, recorder, 10000);
        recorder.Watch(at);
        task.Mm.Munmap(task, at, 10000 << 12);
        string[] events = recorder.Take();
        Assert.That(events[0], Is.EqualTo("start Unmap 0-10000: mapped"));
        Assert.That(events[1], Does.StartWith("flush ").And.EndWith(": empty"), "the early flush");
        Assert.That(events, Has.Some.EqualTo("end Unmap 0-10000: empty, freed"), "the gather was full");
        Assert.That(events[^1], Does.StartWith("flush "), "what was left");
    });

    [Test]
    public void A_copy_on_write_flushes_between_start_and_end_while_the_entry_is_empty() => Run((task, recorder) =>
    {
        ulong at = Map(task, recorder, 1);
        KernelThread child = task.Machine.Fork(task, static _ => { });
        // The child keeps nothing, but a read of the page of zeroes is copied from in the same way.
        child.Join(task);
        task.Mm.Munmap(task, at, 0x1000);
        at = Map(task, recorder, 1, touch: false);
        Assert.That(task.TryRead(at, out byte _), Is.True);
        recorder.Watch(at);
        recorder.Take();
        Assert.That(task.TryWrite(at, (byte)2), Is.True);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Clear 0-1: mapped", "flush 0-1: empty", "end Clear 0-1: other"]));
    });

    [Test]
    public void Mprotect_announces_what_has_tables_and_flushes_after_the_end() => Run((task, recorder) =>
    {
        ulong at = Map(task, recorder, 8);
        Assert.That(task.Mm.Mprotect(task, at + 0x1000, 0x3000, PROT_READ), Is.Zero);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start ProtectionVma 1-4", "end ProtectionVma 1-4", "flush 1-4"]));
        ulong empty = Map(task, recorder, 1, touch: false);
        // Far from everything, so that there is no table.
        empty = (ulong)task.Mm.Mmap(task, 0x10_0000_0000, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        Assert.That(task.Mm.Mprotect(task, empty, 0x1000, PROT_READ), Is.Zero);
        Assert.That(recorder.Take(), Is.Empty);
    });

    [Test]
    public void Fork_announces_private_writable_mappings_of_the_parent_only_and_flushes_once() => Run((task, recorder) =>
    {
        ulong at = Map(task, recorder, 2);
        recorder.Watch(at);
        ulong shared = (ulong)task.Mm.Mmap(task, 0, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, null, 0);
        task.TryWrite(shared, 1);
        recorder.Take();
        KernelThread child = task.Machine.Fork(task, static _ => { });
        child.Join(task);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start ProtectionPage 0-2: mapped", "end ProtectionPage 0-2: mapped", "flush all: mapped"]));
    });

    [Test]
    public void Mremap_announces_the_old_place_and_flushes_inside() => Run((task, recorder) =>
    {
        ulong at = Map(task, recorder, 2);
        ulong target = at + (64UL << 20);
        recorder.Watch(at);
        Assert.That(task.Mm.Mremap(task, at, 0x2000, 0x2000, MREMAP_MAYMOVE | MREMAP_FIXED, target), Is.EqualTo((long)target));
        string[] events = recorder.Take();
        Assert.That(events[0], Is.EqualTo("start Unmap 0-2: mapped"));
        Assert.That(events[1], Does.StartWith("flush ").And.EndWith(": empty"));
        Assert.That(events[2], Is.EqualTo("end Unmap 0-2: empty"));
    });

    [Test]
    public void Madvise_DONTNEED_announces_CLEAR_and_frees_after_the_end() => Run((task, recorder) =>
    {
        ulong at = Map(task, recorder, 2);
        recorder.Watch(at);
        Assert.That(task.Mm.Madvise(task, at, 0x2000, MADV_DONTNEED), Is.Zero);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Clear 0-2: mapped", "end Clear 0-2: empty", "flush 0-2: empty"]));
    });

    [Test]
    public void A_hole_in_a_memory_file_announces_CLEAR_to_each_mapping_and_takes_no_mmap_lock() => Run((task, recorder) =>
    {
        Machine machine = task.Machine;
        Kernel.Files.OpenFile file = machine.CreateMemoryFile(task, 8 << 12);
        ulong at = (ulong)task.Mm.Mmap(task, 0, 8 << 12, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        recorder.Base = at;
        for (ulong i = 0; i < 8; i++)
            task.TryRead(at + (i << 12), out byte _);
        recorder.Watch(at + 0x3000);
        recorder.Take();
        Assert.That(((ShmemPageCache)file.Mapping!).PunchHole(task, 0x2800, 0x3000), Is.Zero);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Clear 3-5: mapped", "end Clear 3-5: empty", "flush 3-5: empty"]), "whole pages only");
        Assert.That(machine.Violations.All, Is.Empty);
    });

    [Test]
    public void Dirty_pages_of_a_file_are_flushed_before_the_end() => Run((task, recorder) =>
    {
        Kernel.Files.OpenFile file = task.Machine.CreateMemoryFile(task, 2 << 12);
        ulong at = (ulong)task.Mm.Mmap(task, 0, 2 << 12, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        Map(task, recorder, 1); // Keeps the tables.
        recorder.Base = at;
        task.TryWrite(at, (byte)1);
        recorder.Watch(at);
        recorder.Take();
        task.Mm.Madvise(task, at, 0x1000, MADV_DONTNEED);
        string[] events = recorder.Take();
        Assert.That(events, Is.EqualTo((string[])["start Clear 0-1: mapped", "flush 0-1: empty", "end Clear 0-1: empty"]));
    });

    [Test]
    public void Exit_releases_first_and_then_announces_nothing_to_those_it_released()
    {
        using var machine = new Machine(new MachineOptions { LockDep = true });
        string[] events = [];
        machine.Run(task =>
        {
            Recorder? recorder = null;
            KernelThread dying = machine.Spawn(other =>
            {
                recorder = new Recorder(other, other.Mm);
                recorder.Watch(Map(other, recorder, 2));
            });
            dying.Join(task);
            events = recorder!.Take();
            recorder.Stop(task);
        });
        Assert.That(events, Is.EqualTo((string[])["release: mapped"]));
        Assert.That(machine.Violations.All, Is.Empty);
    }

    [Test]
    public void Reclaim_tells_secondary_TLBs_when_it_clears_an_entry_and_flushes_CPUs_later() => Run(static (task, recorder) =>
    {
        Machine machine = task.Machine;
        Kernel.Files.OpenFile file = machine.CreateMemoryFile(task, 0x2000);
        ulong at = (ulong)task.Mm.Mmap(task, 0, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        recorder.Base = at;
        Assert.That(task.TryRead(at, out byte _), Is.True);
        Assert.That(task.Mm.TryWalk(at, write: false, out Pfn frame), Is.True);
        // Another vCPU runs in the address space, or there is nothing to put off.
        bool running = false, done = false;
        KernelThread other = machine.Spawn(
            t =>
            {
                t.TryRead(at, out byte _);
                Volatile.Write(ref running, true);
                while (!Volatile.Read(ref done))
                    t.SpinOnce();
            },
            task.Mm);
        while (!Volatile.Read(ref running))
            task.SpinOnce();
        recorder.Watch(at);
        recorder.Take();
        PageLocks locks = machine.MemorySystem.PageLocks;
        machine.Pages.Get(frame);
        locks.Lock(task, frame);
        machine.MemorySystem.Rmap.TryToUnmap(task, frame, TtuFlags.BatchFlush);
        locks.Unlock(frame);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Clear 0-1: mapped", "flush all: empty", "end Clear 0-1: empty"]));
        Assert.That(task.TlbBatch.FlushRequired, Is.True, "the CPUs are not flushed yet");
        task.TlbBatch.TryToUnmapFlush(task.Vcpu);
        Assert.That(recorder.Take(), Is.Empty, "the second half tells nobody");
        machine.Pages.Put(frame);
        Volatile.Write(ref done, true);
        other.Join(task);
        task.Mm.Munmap(task, at, 0x2000);
        file.Put();
    }, new MachineOptions { Vcpus = 2 });

    [Test]
    public void A_huge_page_is_announced_as_a_whole() => Run(static (task, recorder) =>
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, null, 0);
        Assert.That((long)at, Is.Positive);
        recorder.Base = at;
        task.TryWrite(at, (byte)1);
        recorder.Take();
        recorder.Watch(at);
        Kernel.Memory.Mm child = task.Mm.Fork(task)!;
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start ProtectionPage 0-512: mapped", "end ProtectionPage 0-512: mapped", "flush all: mapped"]));
        task.TryWrite(at, (byte)2);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Clear 0-512: mapped", "flush 0-512: empty", "end Clear 0-512: other"]));
        child.Put(task);
        task.Mm.Munmap(task, at, 2 << 20);
    }, new MachineOptions { HugePages = 4 });

    [Test]
    public void Paging_out_clears_and_flushes_between_start_and_end() => Run(static (task, recorder) =>
    {
        ulong at = Map(task, recorder, 1);
        recorder.Watch(at);
        Assert.That(task.Mm.Madvise(task, at, 0x1000, MADV_PAGEOUT), Is.Zero);
        string[] events = recorder.Take();
        Assert.That(events[0], Is.EqualTo("start Clear 0-1: mapped"));
        Assert.That(events[1], Does.StartWith("flush ").And.EndsWith(": empty"));
        Assert.That(events[2], Is.EqualTo("end Clear 0-1: empty"));
        Assert.That(task.TryRead(at, out byte seen) ? seen : -1, Is.EqualTo(1));
        Assert.That(recorder.Take(), Is.Empty, "coming back from the swap area fills an empty entry");
    }, new MachineOptions { SwapBytes = 1 << 20 });

    [Test]
    public void The_OOM_reaper_announces_what_must_not_block_and_leaves_what_is_refused() => Run(static (task, recorder) =>
    {
        ulong at = Map(task, recorder, 2);
        Kernel.Memory.Mm victim = task.Mm.Fork(task)!;
        var watched = new Recorder(task, victim) { Base = at };
        var refusing = new Probe { Start = static (_, range) => range.Blockable ? 0 : -Errno.EAGAIN };
        refusing.Register(task, victim);
        Assert.That(victim.ReapByOom(task), Is.False);
        Assert.That(victim.TryWalk(at, write: false, out _), Is.True, "a mirror would have had to wait");
        Assert.That(watched.Take(), Is.EqualTo((string[])["start Unmap 0-2 nonblock", "end Unmap 0-2"]), "told at once that it is over");
        refusing.Unregister(task);
        watched.Watch(at);
        Assert.That(victim.ReapByOom(task), Is.True);
        Assert.That(watched.Take(), Is.EqualTo((string[])["start Unmap 0-2 nonblock: mapped", "end Unmap 0-2: empty", "flush 0-2: empty"]));
        watched.Stop(task);
        victim.Put(task);
    });

    private static readonly MachineOptions Old = new() { Profile = KernelProfile.V6_1 };

    [Test]
    public void Linux_6_1_calls_the_callback_for_secondary_TLBs_beside_the_flush_and_again_at_the_end() => Run(static (task, recorder) =>
    {
        ulong at = Map(task, recorder, 4);
        recorder.Watch(at);
        task.Mm.Munmap(task, at, 0x2000);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Unmap 0-2: mapped", "flush 0-2: empty", "end Unmap 0-2: empty", "flush 0-2: empty"]));
    }, Old);

    [Test]
    public void Linux_6_1_says_nothing_to_secondary_TLBs_at_forks_flush() => Run(static (task, recorder) =>
    {
        Map(task, recorder, 2);
        task.Mm.Fork(task)!.Put(task);
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start ProtectionPage 0-2", "flush 0-2", "end ProtectionPage 0-2"]), "but at the end");
    }, Old);

    [Test]
    public void Linux_6_1_hands_a_shadow_the_new_entry_of_a_copy() => Run(static (task, recorder) =>
    {
        ulong at = Map(task, recorder, 1, touch: false);
        task.TryRead(at, out byte _);
        List<(ulong, bool)> changes = [];
        var shadow = new Probe { Change = (address, _, writable) => changes.Add((address, writable)) };
        shadow.Register(task, task.Mm);
        task.TryWrite(at, (byte)1);
        shadow.Unregister(task);
        Assert.That(changes, Is.EqualTo(((ulong, bool)[])[(at, true)]));
        Assert.That(recorder.Take(), Is.EqualTo((string[])["start Clear 0-1", "flush 0-1", "flush 0-1", "end Clear 0-1"]));
    }, Old);

    [Test]
    public void A_fault_on_an_empty_entry_announces_nothing() => Run((task, recorder) =>
    {
        ulong at = Map(task, recorder, 2, touch: false);
        task.TryRead(at, out byte _);
        task.TryWrite(at + 0x1000, (byte)1);
        Assert.That(recorder.Take(), Is.Empty);
    });
}
