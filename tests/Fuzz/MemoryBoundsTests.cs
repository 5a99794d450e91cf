using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Tasks;
using Emulator.Tests.Mm;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Fuzz;

/// <summary>What programs, and page tables that are not to be believed, can make of frames, slots and segments: found by reading every path from their numbers to a pointer or an allocation.</summary>
[Platform("Linux")]
public sealed class MemoryBoundsTests
{
    private const int Close = 3, Mmap = 9, SharedGet = 29, SharedControl = 31, ProcessVmRead = 310, MemfdCreate = 319;

    private static readonly MachineOptions Small = new() { MemoryBytes = 64 << 20 }, Two = Small with { Vcpus = 2 };

    [Test]
    public void A_file_of_huge_pages_that_is_closed_is_gone() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        const ulong HugeTlb = 4;
        int before = machine.Pages.Caches.Count;
        for (int i = 0; i < 100; i++)
            Assert.That(calls.Call(Close, (ulong)calls.Call(MemfdCreate, calls.Pass("x\0"u8.ToArray()), HugeTlb)), Is.Zero);
        Assert.That(machine.Pages.Caches, Has.Count.EqualTo(before));
    });

    /// <summary>Under a policy that is wrong on purpose, a program may write to a page table.</summary>
    [Test]
    public void A_swap_slot_that_an_entry_names_is_looked_up_before_it_is_used()
    {
        using var stand = new MemoryStand(check: false);
        using var swap = new SwapArea(stand.Pages, new VmEvents(), 16 << Pfn.Shift);
        Assert.That(swap.TryTake(out ulong slot), Is.True);
        foreach (ulong wrong in (ulong[])[0, slot + 1, 16, 1UL << 40, ulong.MaxValue >> 12])
        {
            Assert.That(() => swap.Duplicate(wrong), Throws.InstanceOf<InvalidOperationException>());
            Assert.That(() => swap.Free(wrong), Throws.InstanceOf<InvalidOperationException>());
            Assert.That(swap.CountOf(wrong), Is.Zero);
        }
        Assert.That((swap.CountOf(slot), swap.Free(slot)), Is.EqualTo((1U, 0U)));
    }

    /// <summary>The same of an entry that names the last frame as a huge page: 2 MiB from there on are not the machine's.</summary>
    [Test]
    public unsafe void What_a_leaf_names_is_looked_at_before_it_is_copied()
    {
        using var stand = new MemoryStand(check: false);
        var last = new Pfn(stand.Pages.Memory.FrameCount - 1);
        Assert.That(() => stand.Pages.HugePointer(last), Throws.InstanceOf<InvalidOperationException>());
        Assert.That(() => stand.Pages.EntireMapCount(new Pfn(1UL << 40)), Throws.InstanceOf<InvalidOperationException>());
        Assert.That(stand.Pages.TryAllocate(PageAllocator.HugeOrder, PageFlags.Anon, zero: false, out Pfn head), Is.True);
        Assert.That(stand.Pages.HugePointer(head) == stand.Pages.Memory.Pointer(head), Is.True);
        stand.Pages.Put(head);
    }

    /// <summary>What is mapped on top of a link that was left keeps the tables it names, however often, once.</summary>
    [Test]
    public void What_keeps_shared_tables_keeps_them_once()
    {
        const ulong Base = 4 * MshareRegion.Unit;
        const int Fixed = MmanAbi.MAP_FIXED | MmanAbi.MAP_ANONYMOUS;
        using var machine = new Machine(Small with { MshareVariant = MshareVariant.RfcV3, Stdin = -1, Stdout = -1, Stderr = -1 });
        machine.Run(task =>
        {
            Kernel.Memory.Mm host = Kernel.Memory.Mm.CreateHost(machine.MemorySystem, leaky: true)!;
            var region = new MshareRegion(host.Sharing!, MshareVariant.RfcV3);
            Assert.That(region.SetSize(new MshareInfo(Base, MshareRegion.Unit)), Is.Zero);
            var file = new MshareFile(region, FileAbi.O_RDWR);
            Assert.That(host.Mmap(task, Base, 0x1000, 3, MmanAbi.MAP_SHARED | Fixed, null, 0), Is.EqualTo((long)Base));
            Assert.That(task.Mm.Mmap(task, Base, MshareRegion.Unit, 3, MmanAbi.MAP_SHARED | MmanAbi.MAP_FIXED, file, 0), Is.EqualTo((long)Base));
            task.TryWrite(Base, (byte)1);
            Assert.That(task.Mm.Munmap(task, Base, MshareRegion.Unit), Is.Zero);
            int before = host.Users;
            for (int i = 0; i < 10; i++)
            {
                Assert.That(task.Mm.Mmap(task, Base, 0x1000, 3, MmanAbi.MAP_PRIVATE | Fixed, null, 0), Is.EqualTo((long)Base));
                Assert.That(task.Mm.Munmap(task, Base, 0x1000), Is.Zero);
            }
            Assert.That(host.Users, Is.EqualTo(before + 1));
            file.Put();
            host.Put(task);
        });
    }

    /// <summary>A thread looks a segment up that another one removes; what was promised for it would be given back twice.</summary>
    [Test]
    public void A_segment_that_is_gone_is_not_attached() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        const int RemoveId = 0;
        Task task = machine.CurrentTask!;
        long before = machine.MemorySystem.Overcommit.Committed;
        int id = (int)calls.Call(SharedGet, 0, 1 << 20, 0x1FF);
        SysvSegment found = machine.MemorySystem.SysvSharedMemory.Find(id)!;
        long at = task.Mm.AttachSegment(task, found, 0, 0);
        Assert.That(calls.Call(SharedControl, (ulong)id, RemoveId, 0), Is.Zero);
        long again = task.Mm.AttachSegment(task, found, 0, 0);
        foreach (long mapped in (long[])[at, again])
            Assert.That((mapped > 0, task.Mm.Munmap(task, (ulong)mapped, 1 << 20)), Is.EqualTo((true, 0L)), "while it is mapped it can be attached");
        Assert.That(machine.MemorySystem.Overcommit.Committed, Is.EqualTo(before));
        Assert.That(task.Mm.AttachSegment(task, found, 0, 0), Is.EqualTo(-Errno.EIDRM));
        Assert.That(machine.MemorySystem.Overcommit.Committed, Is.EqualTo(before));
    });

    /// <summary>No signal ends it before all is copied.</summary>
    [Test]
    public void One_call_copies_no_more_than_any_other_between_processes() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        const ulong Size = 16 << 20;
        ulong at = (ulong)calls.Call(Mmap, 0, Size, 3, 0x22, ulong.MaxValue, 0);
        ulong vectors = calls.Pass([.. Enumerable.Range(0, 512).Select(i => i % 2 == 0 ? at : Size)]);
        Assert.That(calls.Call(ProcessVmRead, (ulong)machine.CurrentTask!.Tid, vectors, 256, vectors, 256, 0), Is.EqualTo(0x7FFF_F000));
    });

    /// <summary>One asks for the lock of a page, or for memory, without saying who it is, while the other has what it waits for and asks it for a flush.</summary>
    [TestCase(false)]
    [TestCase(true)]
    public void Who_waits_without_saying_who_it_is_serves_interrupts(bool reclaims)
    {
        using var machine = new Machine(Two with { SwapBytes = 16 << 20, Timeout = TimeSpan.FromSeconds(60), Stdin = -1, Stdout = -1, Stderr = -1 });
        machine.Run(task =>
        {
            Kernel.Memory.Mm mm = task.Mm;
            ulong at = (ulong)mm.Mmap(task, 0, 0x100_0000, 3, 0x22 | MmanAbi.MAP_POPULATE, null, 0);
            Span<Pfn> frame = stackalloc Pfn[1];
            Assert.That(mm.GetUserPages(task, at, FollFlags.None, frame), Is.EqualTo(1));
            Pfn page = frame[0];
            Hold(task, mm, page, reclaims);
            bool begun = false;
            KernelThread other = machine.Spawn(_ =>
            {
                Volatile.Write(ref begun, true);
                if (reclaims)
                    machine.MemorySystem.Reclaim.MakeRoom(null);
                else
                    machine.Pages.Locks.Lock(null, page);
            });
            while (!Volatile.Read(ref begun))
                Thread.Yield();
            for (int i = 0; i < 100; i++)
            {
                Thread.Yield();
                machine.MemorySystem.Shootdown.FlushEverything(task.Vcpu);
            }
            if (reclaims)
                mm.PageTableLock.Unlock();
            else
                machine.Pages.Locks.Unlock(page);
            other.Join(task);
            machine.Pages.Put(page);
        });
    }

    private static void Hold(Task task, Kernel.Memory.Mm mm, Pfn page, bool reclaims)
    {
        if (reclaims)
            mm.PageTableLock.Lock(task);
        else
            task.Machine.Pages.Locks.Lock(task, page);
    }

    /// <summary>A thread gets a page of a device's memory that another one takes away.</summary>
    [Test]
    public void A_devices_memory_stays_while_a_page_of_it_is_got_or_given_back() => KernelThreads.Race(Two, 40, static (task, _) =>
    {
        DmirrorDevice device = task.Machine.Dmirrors[0];
        PageAllocator pages = task.Machine.Pages;
        return (_ =>
        {
            for (int i = 0; i < 200; i++)
            {
                if (!device.TryAllocate(out Pfn frame))
                    return;
                pages.Locks.Unlock(frame);
                pages.Put(frame);
            }
        }, other =>
        {
            for (int i = 0; i < 5; i++)
                device.ReleaseMemory(other);
        }, static () => { });
    });
}
