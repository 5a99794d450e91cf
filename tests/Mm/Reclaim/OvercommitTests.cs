using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm.Reclaim;

/// <summary>
/// What is promised and what is refused when the administrator wants no more promised than there is (vm.overcommit_memory=2). What Linux refuses
/// by default is compared with a host by tests/Guests/c/mappings_commit.c.
/// </summary>
public sealed class OvercommitTests
{
    private const int Private = MAP_PRIVATE | MAP_ANONYMOUS, Shared = MAP_SHARED | MAP_ANONYMOUS, ReadWrite = PROT_READ | PROT_WRITE;

    private const ulong Page = 4096;

    /// <summary>Memory of 64 MiB, of which a tenth may be promised: 1638 pages, none kept back.</summary>
    private static void Run(int mode, Action<Machine, Task> test)
    {
        string[] sysctls = [$"vm.overcommit_memory={mode}", "vm.overcommit_ratio=10", "vm.admin_reserve_kbytes=0", "vm.user_reserve_kbytes=0"];
        using var machine = new Machine(new MachineOptions { MemoryBytes = 64 << 20, Sysctls = sysctls });
        long before = 0;
        machine.Run(task =>
        {
            before = Committed(machine);
            test(machine, task);
        });
        Assert.That(Committed(machine), Is.EqualTo(before), "all promises are given back");
    }

    private static long Committed(Machine machine) => machine.MemorySystem.Overcommit.Committed;

    private static long Map(Task task, ulong pages, int prot, int flags) => task.Mm.Mmap(task, 0, pages * Page, prot, flags, null, 0);

    private static void AssertCosts(Machine machine, long pages, Action action)
    {
        long before = Committed(machine);
        action();
        Assert.That(Committed(machine) - before, Is.EqualTo(pages));
    }

    [TestCase(ReadWrite, Private, 100)]
    [TestCase(PROT_READ, Private, 0)]
    [TestCase(PROT_NONE, Private, 0)]
    [TestCase(ReadWrite, Shared, 100)]
    [TestCase(PROT_READ, Shared, 100)]
    [TestCase(ReadWrite, Private | MAP_NORESERVE, 0)]
    [TestCase(ReadWrite, Shared | MAP_NORESERVE, 0)]
    public void Mappings_are_promised_when_they_are_made(int prot, int flags, long promised) => Run(0, (machine, task) =>
    {
        long address = 0;
        AssertCosts(machine, promised, () => address = Map(task, 100, prot, flags));
        AssertCosts(machine, -promised, () => task.Mm.Munmap(task, (ulong)address, 100 * Page));
    });

    [Test]
    public void Nothing_goes_without_a_promise_when_none_is_to_be_broken() => Run(2, static (machine, task) =>
    {
        AssertCosts(machine, 100, () => Map(task, 100, ReadWrite, Private | MAP_NORESERVE));
        AssertCosts(machine, 0, () => Assert.That(Map(task, 2000, ReadWrite, Private | MAP_NORESERVE), Is.EqualTo(-Errno.ENOMEM)));
        AssertCosts(machine, 0, () => Assert.That(Map(task, 2000, ReadWrite, Shared), Is.EqualTo(-Errno.ENOMEM)));
        Assert.That(Map(task, 2000, PROT_READ, Private), Is.Positive);
    });

    [Test]
    public void Promises_follow_what_becomes_of_a_mapping() => Run(2, static (machine, task) =>
    {
        Kernel.Memory.Mm mm = task.Mm;
        ulong address = (ulong)Map(task, 2000, PROT_NONE, Private);
        AssertCosts(machine, 10, () => mm.Mprotect(task, address, 10 * Page, ReadWrite));
        AssertCosts(machine, -10, () => mm.Mprotect(task, address, 10 * Page, PROT_READ));
        AssertCosts(machine, 10, () => mm.Mprotect(task, address, 10 * Page, ReadWrite));
        Assert.That(mm.WriteMemory(task, address, [1]), Is.EqualTo(1));
        AssertCosts(machine, 0, () => mm.Mprotect(task, address, 10 * Page, PROT_READ));
        AssertCosts(machine, 0, () => Assert.That(mm.Mprotect(task, address, 2000 * Page, ReadWrite), Is.EqualTo(-Errno.ENOMEM)));

        ulong grown = (ulong)Map(task, 10, ReadWrite, Private);
        AssertCosts(machine, 90, () => grown = (ulong)mm.Mremap(task, grown, 10 * Page, 100 * Page, MREMAP_MAYMOVE, 0));
        AssertCosts(machine, 0, () => Assert.That(mm.Mremap(task, grown, 100 * Page, 2000 * Page, MREMAP_MAYMOVE, 0), Is.EqualTo(-Errno.ENOMEM)));
        AssertCosts(machine, -50, () => mm.Mremap(task, grown, 100 * Page, 50 * Page, 0, 0));
        // What replaces promised memory asks for no more than it was.
        ulong large = (ulong)Map(task, 1000, ReadWrite, Private);
        AssertCosts(machine, 0, () => Assert.That(mm.Mmap(task, large, 1000 * Page, ReadWrite, Private | MAP_FIXED, null, 0), Is.EqualTo((long)large)));
        // A child is promised all of it once more.
        Assert.That(mm.Fork(task), Is.Null);
        mm.Munmap(task, large, 1000 * Page);
        Kernel.Memory.Mm? child = null;
        AssertCosts(machine, 60, () => child = mm.Fork(task));
        AssertCosts(machine, -60, () => child!.Put(task));
    });

    [Test]
    public void A_stack_grows_as_far_as_is_promised() => Run(2, static (machine, task) =>
    {
        ulong stack = (ulong)Map(task, 1, ReadWrite, Private | MAP_GROWSDOWN);
        AssertCosts(machine, 10, () => Assert.That(task.Mm.HandleFault(task, stack - 10 * Page, FaultFlags.Write), Is.EqualTo(FaultOutcome.Done)));
        Map(task, 1600, ReadWrite, Private);
        AssertCosts(machine, 0, () => Assert.That(task.Mm.HandleFault(task, stack - 100 * Page, FaultFlags.Write), Is.EqualTo(FaultOutcome.NotMapped)));
    });

    [Test]
    public void A_file_in_memory_is_promised_page_by_page() => Run(2, static (machine, task) =>
    {
        OpenFile file = machine.CreateMemoryFile(task, 2000 * Page);
        PageCache cache = file.Mapping!;
        AssertCosts(machine, 0, () => Assert.That(task.Mm.Mmap(task, 0, 2000 * Page, ReadWrite, MAP_SHARED, file, 0), Is.Positive));
        AssertCosts(machine, 2, () => cache.Write(100, new byte[8000], task));
        AssertCosts(machine, 0, () => cache.Write(0, new byte[8000], task));
        AssertCosts(machine, -1, () => cache.Truncate(task, Page));
        Map(task, 1600, ReadWrite, Private);
        Assert.That(cache.Write(0, new byte[1000 * Page], task), Is.LessThan(50 * (long)Page));
        Assert.That(cache.Write(500 * Page, new byte[1], task), Is.EqualTo(-Errno.ENOSPC));
        file.Put();
    });
}
