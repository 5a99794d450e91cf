using System.Runtime.InteropServices;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

/// <summary>What memory costs the host, in counts that do not depend on its speed.</summary>
public sealed unsafe class CostTests
{
    private const ulong At = 0x1_0000_0000;

    [Test]
    public void A_page_has_at_most_32_bytes_of_metadata() => Assert.That(sizeof(Page), Is.LessThanOrEqualTo(32));

    [Test]
    public void Frames_that_nobody_has_touched_have_no_memory_of_the_hosts()
    {
        const int Pages = 4096;
        using var machine = new Machine(new MachineOptions { MemoryBytes = 1 << 30 });
        machine.Run(task =>
        {
            Map(task.Mm, Pages << 12, MAP_POPULATE);
            int present = 0, touched = 0;
            for (int i = 0; i < Pages; i++)
            {
                Assert.That(task.Mm.TryWalk(At + ((ulong)i << 12), write: false, out Pfn frame), Is.True);
                present += IsPresent(machine.Memory.Pointer(frame)) ? 1 : 0;
                // Each sixteenth page; reading does not count.
                if (i % 16 == 0)
                {
                    *machine.Memory.Pointer(frame) = 1;
                    touched += IsPresent(machine.Memory.Pointer(frame)) ? 1 : 0;
                }
            }
            Assert.That(present, Is.Zero, "populated");
            Assert.That(touched, Is.EqualTo(Pages / 16), "touched");
        });
    }

    /// <summary>Huge pages are the guest's: of each it may touch as little as it likes.</summary>
    [TestCase(1)]
    [TestCase(512)]
    public void Huge_pages_cost_the_host_what_is_touched_and_some_credit(int touchedOfEach)
    {
        const int First = 4 * HugePages.Credit, Second = 2 * HugePages.Credit;
        using var machine = new Machine(new MachineOptions { MemoryBytes = 2UL << 30 });
        machine.Run(task =>
        {
            // The second time with frames that were used before.
            foreach (int count in (int[])[First, Second])
            {
                Map(task.Mm, (ulong)count << 21, 0);
                int committed = Touch(task, 0, count, touchedOfEach);
                Assert.That(machine.MemorySystem.HugePages.Mapped, Is.EqualTo(count));
                Assert.That(committed, touchedOfEach == 512 ? Is.EqualTo(count * 512) : Is.LessThanOrEqualTo(HugePages.Credit * 512 + count));
                task.Mm.Munmap(task, At, (ulong)count << 21);
            }
        });
    }

    /// <summary>Because they were, the host was asked for huge pages.</summary>
    [Test]
    public void Huge_pages_whose_frames_were_used_all_over_cost_no_more()
    {
        const int Count = 4 * HugePages.Credit;
        using var machine = new Machine(new MachineOptions { MemoryBytes = 1UL << 30 });
        machine.Run(task =>
        {
            Map(task.Mm, (ulong)Count << 21, 0);
            Touch(task, 0, Count, 512);
            task.Mm.Munmap(task, At, (ulong)Count << 21);
            Map(task.Mm, (ulong)Count << 21, 0);
            Assert.That(Touch(task, 0, Count, 1), Is.LessThanOrEqualTo(HugePages.Credit * 512 + Count));
        });
    }

    [Test]
    public void Huge_pages_that_are_used_earn_credit_also_after_one_that_was_not()
    {
        const int Unused = HugePages.Credit + 1, Used = HugePages.Credit + 1;
        using var machine = new Machine(new MachineOptions { MemoryBytes = 1UL << 30 });
        machine.Run(task =>
        {
            Map(task.Mm, (ulong)(1 + Unused + Used + 1) << 21, 0);
            if (Touch(task, 0, 1, 1) != 512)
                Assert.Ignore("the host has no huge pages");
            Touch(task, 1, Unused, 1);
            Touch(task, 1 + Unused, Used, 512);
            Assert.That(Touch(task, 1 + Unused + Used, 1, 1), Is.EqualTo(512));
        });
    }

    /// <summary>Touches so many pages of each of some huge pages.</summary>
    /// <returns>What the host has committed for them.</returns>
    private static int Touch(Kernel.Tasks.Task task, int first, int count, int touchedOfEach)
    {
        int committed = 0;
        for (int i = first; i < first + count; i++)
        {
            ulong start = At + ((ulong)i << 21);
            for (int page = 0; page < touchedOfEach; page++)
                Assert.That(task.TryWrite(start + ((ulong)page << 12), (byte)1), Is.True);
            Assert.That(task.Mm.TryWalk(start, write: false, out Pfn frame), Is.True);
            committed += HostMemory.CountCommitted(task.Machine.Memory.Pointer(frame), 512);
        }
        return committed;
    }

    [Test]
    public void A_mapping_of_300_GiB_takes_no_frame()
    {
        using var machine = new Machine(new MachineOptions());
        machine.Run(task =>
        {
            long frames = machine.Pages.UsedFrames;
            Map(task.Mm, 300UL << 30, MAP_NORESERVE);
            Assert.That(machine.Pages.UsedFrames, Is.EqualTo(frames));
        });
    }

    [TestCase(MAP_PRIVATE)]
    [TestCase(MAP_SHARED)]
    public void A_populated_page_costs_its_entry_and_its_metadata(int sharing)
    {
        const ulong Pages = 1 << 18;
        using var machine = new Machine(new MachineOptions { MemoryBytes = 2UL << 30 });
        machine.Run(task =>
        {
            Map(task.Mm, 4096, 0);
            long frames = machine.Pages.UsedFrames, managed = GC.GetAllocatedBytesForCurrentThread();
            Assert.That(task.Mm.Mmap(null, At, Pages << 12, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, null, 0), Is.EqualTo((long)At));
            managed = GC.GetAllocatedBytesForCurrentThread() - managed;
            Assert.That(task.Mm.ResidentPages, Is.GreaterThanOrEqualTo((long)Pages));
            Assert.That(machine.Pages.UsedFrames - frames, Is.LessThanOrEqualTo((long)(Pages + (Pages / 512) + 8)));
            Assert.That(managed, Is.LessThan(8 * (long)Pages));
            int present = 0;
            for (ulong i = 0; i < Pages; i += 1021)
            {
                Assert.That(task.Mm.TryWalk(At + (i << 12), write: false, out Pfn frame), Is.True);
                present += IsPresent(machine.Memory.Pointer(frame)) ? 1 : 0;
            }
            Assert.That(present, Is.Zero);
        });
    }

    private static void Map(Kernel.Memory.Mm mm, ulong bytes, int flags) => Assert.That(
        mm.Mmap(null, At, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, null, 0), Is.EqualTo((long)At));

    /// <summary>Whether the host has given a page of its own to an address (bit 63 of its pagemap entry).</summary>
    private static bool IsPresent(byte* address)
    {
        using FileStream pagemap = File.OpenRead("/proc/self/pagemap");
        pagemap.Seek((long)address / Environment.SystemPageSize * sizeof(ulong), SeekOrigin.Begin);
        ulong entry = 0;
        pagemap.ReadExactly(MemoryMarshal.AsBytes(new Span<ulong>(ref entry)));
        return entry >> 63 != 0;
    }
}
