using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

/// <summary>Pages that are brought in by the table while others take them away.</summary>
public sealed class PopulateTests
{
    private const ulong At = 0x1_0000_0000, Pages = 1100;

    [Test]
    public void Truncation_and_punches_leave_no_page_behind_that_populating_brought_in([Values] bool deterministic, [Range(1, 5)] int seed)
    {
        using var machine = new Machine(new MachineOptions
        {
            MemoryBytes = 64 << 20,
            Vcpus = 3,
            Deterministic = deterministic,
            Seed = (ulong)seed,
            LockDep = true,
            Check = true,
            Timeout = TimeSpan.FromSeconds(60),
        });
        machine.Run(task =>
        {
            OpenFile file = machine.CreateMemoryFile(task, Pages << Pfn.Shift);
            var cache = (ShmemPageCache)file.Mapping!;
            Kernel.Memory.Mm mm = task.Mm;
            Assert.That(mm.Mmap(task, At, Pages << Pfn.Shift, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0), Is.EqualTo((long)At));
            KernelThread[] threads =
            [
                machine.Spawn(other => Repeat(60, i => mm.Madvise(other, At, Pages << Pfn.Shift, i % 2 == 0 ? MADV_POPULATE_WRITE : MADV_POPULATE_READ)), mm),
                machine.Spawn(other => Repeat(60, i => cache.Truncate(other, (ulong)(i % 7 * 150) << Pfn.Shift)), mm),
                machine.Spawn(other => Repeat(60, i => cache.PunchHole(other, (ulong)(i % 5 * 200) << Pfn.Shift, 100UL << Pfn.Shift)), mm),
            ];
            foreach (KernelThread thread in threads)
                thread.Join(task);
            const ulong Left = 300;
            Assert.That(cache.Truncate(task, Left << Pfn.Shift), Is.Zero);
            Assert.That(mm.Madvise(task, At, Pages << Pfn.Shift, MADV_POPULATE_WRITE), Is.EqualTo(-Errno.EFAULT));
            Assert.That(cache.ResidentPages, Is.EqualTo((long)Left));
            Assert.That(mm.ResidentPages, Is.EqualTo((long)Left));
            Assert.That(new MmChecker(machine.MemorySystem).Check(), Is.Empty);
            file.Put();
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    [Test]
    public void A_file_of_a_full_mount_is_populated_as_far_as_it_goes()
    {
        using var machine = new Machine(new MachineOptions { MemoryBytes = 64 << 20 });
        machine.Run(task =>
        {
            var quota = new ShmemQuota(700);
            var cache = new ShmemPageCache(machine.Pages, quota: quota);
            Assert.That(cache.Truncate(task, Pages << Pfn.Shift), Is.Zero);
            var file = new CacheFile(cache);
            Assert.That(task.Mm.Mmap(task, At, Pages << Pfn.Shift, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0), Is.EqualTo((long)At));
            Assert.That(task.Mm.Madvise(task, At, Pages << Pfn.Shift, MADV_POPULATE_WRITE), Is.EqualTo(-Errno.EFAULT));
            Assert.That((task.Mm.ResidentPages, quota.UsedPages), Is.EqualTo((700L, 700L)));
            Assert.That(new MmChecker(machine.MemorySystem).Check(), Is.Empty);
            file.Put();
        });
    }

    private static void Repeat(int times, Action<int> step)
    {
        for (int i = 0; i < times; i++)
            step(i);
    }
}
