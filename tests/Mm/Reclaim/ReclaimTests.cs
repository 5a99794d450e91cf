using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;
using Path = System.IO.Path;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm.Reclaim;

/// <summary>What becomes of pages of each kind when they are reclaimed, and what /proc tells of it.</summary>
public sealed class ReclaimTests
{
    private const ulong Base = 0x1000_0000_0000;

    private const int Pages = 16, Anonymous = MAP_PRIVATE | MAP_ANONYMOUS;

    private static void Run(Action<Machine, Task> test)
    {
        using var machine = new Machine(new MachineOptions { MemoryBytes = 16 << 20, SwapBytes = 64 << 20, LockDep = true, Timeout = TimeSpan.FromSeconds(120) });
        machine.Run(task =>
        {
            test(machine, task);
            Assert.That(new MmChecker(machine.MemorySystem).Check(), Is.Empty);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    /// <summary>Maps pages at <see cref="Base"/>, each with its number in its first byte.</summary>
    private static Vma MapWritten(Task task, int flags, OpenFile? file = null)
    {
        Assert.That(task.Mm.Mmap(task, Base, Pages << Pfn.Shift, PROT_READ | PROT_WRITE, flags | MAP_FIXED, file, 0), Is.EqualTo((long)Base));
        for (int i = 0; i < Pages; i++)
            Assert.That(task.Mm.WriteMemory(task, PageAt(i), [(byte)(i + 1)]), Is.EqualTo(1));
        return task.Mm.FindVma(Base)!;
    }

    private static ulong PageAt(int i) => Base + ((ulong)i << Pfn.Shift);

    private static void PageOut(Task task, int first, int count) =>
        Assert.That(task.Mm.Madvise(task, PageAt(first), (ulong)count << Pfn.Shift, MADV_PAGEOUT), Is.Zero);

    private static void AssertContents(Task task)
    {
        byte[] bytes = new byte[1];
        for (int i = 0; i < Pages; i++)
        {
            Assert.That(task.Mm.ReadMemory(task, PageAt(i), bytes), Is.EqualTo(1));
            Assert.That(bytes[0], Is.EqualTo((byte)(i + 1)), $"page {i}");
        }
    }

    private static int CountPages(Task task, PagemapEntry bits)
    {
        var entries = new PagemapEntry[Pages];
        task.Mm.DescribePages(task, Base, entries);
        return entries.Count(entry => (entry & bits) == bits);
    }

    /// <summary>Uses as much memory as there is, twice.</summary>
    private static void Press(Task task)
    {
        const ulong Other = 2 * Base, Length = 32 << 20;
        Assert.That(task.Mm.Mmap(task, Other, Length, PROT_READ | PROT_WRITE, Anonymous | MAP_FIXED, null, 0), Is.Positive);
        for (ulong at = Other; at < Other + Length; at += Pfn.Size)
            Assert.That(task.Mm.WriteMemory(task, at, [1]), Is.EqualTo(1));
        Assert.That(task.Mm.Munmap(task, Other, Length), Is.Zero);
    }

    [Test]
    public void Private_memory_is_swapped_and_proc_says_so() => Run(static (machine, task) =>
    {
        Vma vma = MapWritten(task, Anonymous);
        PageOut(task, 4, 8);
        Assert.That(CountPages(task, PagemapEntry.Swapped), Is.EqualTo(8));
        Assert.That(CountPages(task, PagemapEntry.Present), Is.EqualTo(Pages - 8));
        VmaUsage usage = task.Mm.UsageOf(task, vma);
        Assert.That(usage.Swapped, Is.EqualTo(8 * Pfn.Size));
        Assert.That(usage.SwapProportional, Is.EqualTo(8 * Pfn.Size));
        Assert.That(usage.Resident, Is.EqualTo((Pages - 8) * Pfn.Size));
        // A child names the same slots, so each has half of them.
        Kernel.Memory.Mm child = task.Mm.Fork(task)!;
        usage = child.UsageOf(task, child.FindVma(Base)!);
        Assert.That((usage.Swapped, usage.SwapProportional), Is.EqualTo((8 * Pfn.Size, 4 * Pfn.Size)));
        child.Put(task);
        AssertContents(task);
        Assert.That(CountPages(task, PagemapEntry.Present), Is.EqualTo(Pages));
        Assert.That(task.Mm.UsageOf(task, vma).Swapped, Is.Zero);
        Assert.That(task.Mm.SwapEntries, Is.Zero);
    });

    [Test]
    public void Shared_memory_is_swapped_for_its_file_and_each_mapping_says_so() => Run(static (machine, task) =>
    {
        OpenFile file = machine.CreateMemoryFile(task, Pages << Pfn.Shift);
        Vma vma = MapWritten(task, MAP_SHARED, file);
        PageOut(task, 0, 8);
        Assert.That(file.Mapping!.SwappedPages, Is.EqualTo(8));
        Assert.That(CountPages(task, PagemapEntry.Present), Is.EqualTo(Pages - 8));
        Assert.That(CountPages(task, PagemapEntry.Swapped), Is.Zero, "the entries are empty");
        VmaUsage usage = task.Mm.UsageOf(task, vma);
        Assert.That((usage.Swapped, usage.SwapProportional), Is.EqualTo((8 * Pfn.Size, 0UL)));
        Assert.That(usage.Resident, Is.EqualTo((Pages - 8) * Pfn.Size));
        // A private mapping does without what it has copied; two pages come back for that.
        const ulong Copy = 2 * Base;
        Assert.That(task.Mm.Mmap(task, Copy, 8 << Pfn.Shift, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0), Is.Positive);
        Assert.That(task.Mm.UsageOf(task, task.Mm.FindVma(Copy)!).Swapped, Is.EqualTo(8 * Pfn.Size));
        task.Mm.WriteMemory(task, Copy, new byte[0x1001]);
        Assert.That(task.Mm.UsageOf(task, task.Mm.FindVma(Copy)!).Swapped, Is.EqualTo(6 * Pfn.Size));
        AssertContents(task);
        Assert.That(file.Mapping!.SwappedPages, Is.Zero);
        file.Put();
    });

    [Test]
    public void Locked_memory_stays_whoever_needs_room() => Run(static (machine, task) =>
    {
        Vma vma = MapWritten(task, Anonymous);
        Assert.That(task.Mm.Mlock(task, Base, Pages << Pfn.Shift, onFault: false), Is.Zero);
        var frames = new Pfn[Pages];
        for (int i = 0; i < Pages; i++)
            Assert.That(task.Mm.TryWalk(PageAt(i), write: false, out frames[i]));
        Press(task);
        Assert.That(machine.MemorySystem.Events[VmEvent.SwapOut], Is.GreaterThan(1000));
        for (int i = 0; i < Pages; i++)
        {
            Assert.That(task.Mm.TryWalk(PageAt(i), write: false, out Pfn frame));
            Assert.That(frame, Is.EqualTo(frames[i]));
        }
        Assert.That(task.Mm.UsageOf(task, vma).Locked, Is.EqualTo(Pages * Pfn.Size));
        Assert.That(task.Mm.Madvise(task, Base, Pages << Pfn.Shift, MADV_PAGEOUT), Is.EqualTo(-Errno.EINVAL));
    });

    [Test]
    public void A_host_files_dirty_pages_are_written_before_they_go() => Run(static (machine, task) =>
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, new byte[Pages << Pfn.Shift]);
            var cache = new HostPageCache(machine.Pages, File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite));
            var file = new CacheFile(cache);
            MapWritten(task, MAP_SHARED, file);
            Assert.That(File.ReadAllBytes(path), Is.All.Zero, "nothing is written before it must be");
            PageOut(task, 0, Pages);
            Assert.That(cache.ResidentPages, Is.Zero);
            byte[] written = File.ReadAllBytes(path);
            for (int i = 0; i < Pages; i++)
                Assert.That(written[i << Pfn.Shift], Is.EqualTo((byte)(i + 1)));
            AssertContents(task);
            // The same when it is not asked for.
            Assert.That(task.Mm.WriteMemory(task, PageAt(3) + 1, [7]), Is.EqualTo(1));
            Press(task);
            Assert.That(cache.ResidentPages, Is.LessThan(Pages));
            AssertContents(task);
            byte[] bytes = new byte[1];
            task.Mm.ReadMemory(task, PageAt(3) + 1, bytes);
            Assert.That(bytes[0], Is.EqualTo(7));
            Assert.That(task.Mm.Munmap(task, Base, Pages << Pfn.Shift), Is.Zero);
            file.Put();
            Assert.That(File.ReadAllBytes(path)[(3 << Pfn.Shift) + 1], Is.EqualTo(7));
        }
        finally
        {
            File.Delete(path);
        }
    });
}
