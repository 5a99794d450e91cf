using System.Buffers.Binary;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm.Reclaim;

/// <summary>Each kind of allocation that a program can cause, when memory is full of what can be swapped: reclaim makes room, and nothing is lost.</summary>
public sealed class AllocationTests
{
    private const int Memory = 16 << 20, Swap = 64 << 20;

    private const ulong Full = 14 << 20, Base = 0x1000_0000_0000, Apart = 2 << 20;

    private static void Run(Action<Machine, Task> test)
    {
        using var machine = new Machine(new MachineOptions { MemoryBytes = Memory, SwapBytes = Swap, LockDep = true, Timeout = TimeSpan.FromSeconds(120) });
        machine.Run(task =>
        {
            Map(task, Base, Full);
            Fill(task, Base, Full, 1);
            test(machine, task);
            Check(task.Mm, Base, Full, 1);
            Assert.That(new MmChecker(machine.MemorySystem).Check(), Is.Empty);
            Assert.That(task.Mm.Munmap(task, Base, Full), Is.Zero);
        });
        Assert.That(machine.Violations.All, Is.Empty);
        Assert.That(machine.MemorySystem.Events[VmEvent.OomKill], Is.Zero);
    }

    private static void Map(Task task, ulong address, ulong length) =>
        Assert.That(task.Mm.Mmap(task, address, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, null, 0), Is.EqualTo((long)address));

    private static byte[] Word(ulong value)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return bytes;
    }

    private static void Fill(Task task, ulong start, ulong length, ulong seed, ulong step = Pfn.Size)
    {
        for (ulong at = start; at < start + length; at += step)
            Assert.That(task.Mm.WriteMemory(task, at, Word(at ^ seed)), Is.EqualTo(8));
    }

    private static void Check(Kernel.Memory.Mm mm, ulong start, ulong length, ulong seed, ulong step = Pfn.Size)
    {
        byte[] bytes = new byte[8];
        for (ulong at = start; at < start + length; at += step)
        {
            Assert.That(mm.ReadMemory(null, at, bytes), Is.EqualTo(8));
            Assert.That(BinaryPrimitives.ReadUInt64LittleEndian(bytes), Is.EqualTo(at ^ seed), $"{at:x}");
        }
    }

    [Test]
    public void Fork_reclaims_for_the_tables_of_the_child() => Run(static (_, task) =>
    {
        const ulong Sparse = 2 * Base, Length = 1200 * Apart;
        Map(task, Sparse, Length);
        Fill(task, Sparse, Length, 2, Apart);
        Kernel.Memory.Mm? child = task.Mm.Fork(task);
        Assert.That(child, Is.Not.Null);
        Check(child!, Sparse, Length, 2, Apart);
        Check(child!, Base, Full, 1);
        child!.Put(task);
        Check(task.Mm, Sparse, Length, 2, Apart);
        Assert.That(task.Mm.Munmap(task, Sparse, Length), Is.Zero);
    });

    [Test]
    public void Mremap_reclaims_for_the_tables_at_the_new_place() => Run(static (_, task) =>
    {
        const ulong Sparse = 2 * Base, Length = 1200 * Apart, To = 3 * Base + 0x1000;
        Map(task, Sparse, Length);
        Fill(task, Sparse, Length, 2, Apart);
        Assert.That(task.Mm.Mremap(task, Sparse, Length, Length, 3, To), Is.EqualTo((long)To));
        byte[] bytes = new byte[8];
        for (ulong at = 0; at < Length; at += Apart)
        {
            Assert.That(task.Mm.ReadMemory(task, To + at, bytes), Is.EqualTo(8));
            Assert.That(BinaryPrimitives.ReadUInt64LittleEndian(bytes), Is.EqualTo((Sparse + at) ^ 2));
        }
        Assert.That(task.Mm.Munmap(task, To, Length), Is.Zero);
    });

    [Test]
    public void Writes_to_a_file_in_memory_reclaim_and_what_was_swapped_is_read_again() => Run(static (machine, task) =>
    {
        const int Pages = 5000;
        OpenFile file = machine.CreateMemoryFile(task, 0);
        PageCache cache = file.Mapping!;
        byte[] page = new byte[4096];
        for (int i = 0; i < Pages; i++)
        {
            page.AsSpan().Fill((byte)(i % 251));
            Assert.That(cache.Write((ulong)i << 12, page, task), Is.EqualTo(4096));
        }
        for (int i = 0; i < Pages; i++)
        {
            Assert.That(cache.Read((ulong)i << 12, page, task), Is.EqualTo(4096));
            Assert.That(page, Is.All.EqualTo((byte)(i % 251)));
        }
        Assert.That(cache.SwappedPages, Is.GreaterThan(500));
        // Parts of pages that are in the swap area are cleared there, too.
        Assert.That(cache.Truncate(task, 100), Is.Zero);
        Assert.That(cache.Truncate(task, 4096), Is.Zero);
        Assert.That(cache.Read(0, page, task), Is.EqualTo(4096));
        Assert.That(page[..100], Is.All.Zero);
        Assert.That(page[100..], Is.All.Zero);
        file.Put();
    });

    [Test]
    public void Those_who_take_pages_reclaim_for_them() => Run(static (machine, task) =>
    {
        const ulong Other = 2 * Base;
        Map(task, Other, Full);
        var pages = new Pfn[1024];
        Assert.That(task.Mm.PinUserPages(task, Other, FollFlags.Write | FollFlags.Longterm, pages), Is.EqualTo(pages.Length));
        // What is pinned stays where it is, whoever needs memory.
        Fill(task, Base, Full, 1);
        for (int i = 0; i < pages.Length; i++)
        {
            Assert.That(task.Mm.TryWalk(Other + ((ulong)i << Pfn.Shift), write: true, out Pfn frame));
            Assert.That(frame, Is.EqualTo(pages[i]));
        }
        task.Mm.UnpinUserPages(pages, dirty: true);
        Assert.That(task.Mm.Munmap(task, Other, Full), Is.Zero);
    });
}
