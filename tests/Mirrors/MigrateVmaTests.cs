using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using AddressSpace = Emulator.Kernel.Memory.Mm;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mirrors;

/// <summary>migrate_vma and make_device_exclusive_range as a driver uses them: what others hear, and what becomes of counts.</summary>
public sealed class MigrateVmaTests
{
    private const int Pages = 4;

    /// <summary>A device that takes pages and keeps no data; what it does at a processor's fault is said by <see cref="AtFault"/>.</summary>
    private sealed class Device() : DevPagemap(new object())
    {
        public int Freed { get; private set; }

        public FaultOutcome AtFault { get; set; } = FaultOutcome.BusError;

        public override void PageFree(Pfn frame) => Freed++;

        public override FaultOutcome MigrateToRam(Task? task, Vma vma, ulong address, Pfn frame) => AtFault == FaultOutcome.Done ? Back(task, vma, address, frame) : AtFault;

        private FaultOutcome Back(Task? task, Vma vma, ulong address, Pfn frame)
        {
            PageAllocator pages = vma.Mm.Pages;
            var args = new MigrateVma(vma, address, address + Pfn.Size) { PagemapOwner = Owner, Select = MigrateVmaSelect.DevicePrivate, FaultPage = frame };
            Assert.That(args.Setup(task), Is.Zero);
            Assert.That(pages.TryAllocate(PageFlags.Anon, zero: true, out Pfn page), Is.True);
            pages.Locks.TryLock(page);
            args.Destination[0] = new MigratePfn(page);
            args.MigratePages(task);
            args.Complete(task);
            return FaultOutcome.Done;
        }
    }

    /// <summary>Hears of everything in the address space.</summary>
    private sealed class Listener : MmuIntervalNotifier
    {
        public List<(MmuNotifyEvent Event, object? Owner)> Heard { get; } = [];

        public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
        {
            SetSequence(sequence);
            Heard.Add((range.Event, range.Owner));
            return true;
        }
    }

    private static void Run(Action<Task, ulong, Device> body)
    {
        using var machine = new Machine(new MachineOptions { Vcpus = 2, LockDep = true, Check = true });
        machine.Run(task =>
        {
            var device = new Device();
            Assert.That(machine.Pages.Devices.Add(device, 16), Is.True);
            ulong at = (ulong)task.Mm.Mmap(task, 0, Pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, null, 0);
            for (ulong i = 0; i < Pages; i++)
                task.TryWrite(at + (i << 12), i + 1);
            body(task, at, device);
            Assert.That(new MmChecker(machine.MemorySystem).Check(), Is.Empty);
            task.Mm.Munmap(task, at, Pages << 12);
            Assert.That(machine.Pages.Devices.All.Sum(map => Enumerable.Range(0, (int)map.Count).Count(i => machine.Pages[new Pfn(map.First.Value + (ulong)i)].RefCount != 0)), Is.Zero);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static Pfn FrameAt(AddressSpace mm, ulong address)
    {
        Assert.That(mm.TryWalk(address, write: false, out Pfn frame), Is.True);
        return frame;
    }

    /// <summary>Moves the pages that may move; the device's frames are taken in order.</summary>
    private static MigrateVma MoveToDevice(Task task, ulong at, Device device)
    {
        using (task.Mm.EnterRead(task))
        {
            var args = new MigrateVma(task.Mm.FindVma(at)!, at, at + (Pages << 12)) { PagemapOwner = device.Owner, Select = MigrateVmaSelect.System };
            Assert.That(args.Setup(task), Is.Zero);
            for (int i = 0; i < Pages; i++)
            {
                if (!args.Source[i].Migrate)
                    continue;
                var frame = new Pfn(device.First.Value + (ulong)i);
                task.Machine.Pages.Devices.InitializePage(frame);
                args.Destination[i] = new MigratePfn(frame);
            }
            args.MigratePages(task);
            args.Complete(task);
            return args;
        }
    }

    [Test]
    public void A_migration_is_announced_with_its_owner_and_keeps_the_resident_set() => Run((task, at, device) =>
    {
        var listener = new Listener();
        Assert.That(listener.Insert(task, task.Mm, 0, ulong.MaxValue & ~0xFFFUL), Is.Zero);
        (long resident, long used) = (task.Mm.ResidentPages, task.Machine.Pages.UsedFrames);
        MigrateVma args = MoveToDevice(task, at, device);
        listener.Remove(task);
        Assert.That(args.CollectedPages, Is.EqualTo(Pages));
        Assert.That(args.Source, Has.All.Matches<MigratePfn>(page => page is { Migrate: true, Write: true }));
        Assert.That(listener.Heard, Is.EqualTo(new[] { (MmuNotifyEvent.Migrate, device.Owner) }));
        Assert.That(task.Mm.ResidentPages, Is.EqualTo(resident));
        Assert.That(task.Machine.Pages.UsedFrames, Is.EqualTo(used - Pages), "the frames that the pages left");
        Assert.That(new MmChecker(task.Machine.MemorySystem).Check(), Is.Empty);
    });

    [Test]
    public void A_page_that_a_device_does_not_give_back_fails_the_access() => Run((task, at, device) =>
    {
        MoveToDevice(task, at, device);
        device.AtFault = FaultOutcome.BusError;
        Assert.That(task.Mm.HandleFault(task, at, FaultFlags.Read), Is.EqualTo(FaultOutcome.BusError));
        device.AtFault = FaultOutcome.Done;
        Assert.That(task.Mm.HandleFault(task, at, FaultFlags.Write), Is.EqualTo(FaultOutcome.Done));
        Assert.That(device.Freed, Is.EqualTo(1));
    });

    /// <summary>The machine has room, so neither reclaim nor the OOM killer can help: the access fails instead of being tried for ever.</summary>
    [Test]
    public void A_device_without_memory_of_its_own_fails_the_access_in_a_machine_that_has_room([Values(FaultFlags.Read, FaultFlags.Write)] FaultFlags access) => Run((task, at, device) =>
    {
        MoveToDevice(task, at, device);
        device.AtFault = FaultOutcome.OutOfMemory;
        Assert.That(task.Mm.HandleFault(task, at, access), Is.EqualTo(FaultOutcome.BusError));
        Assert.That(task.TryRead(at, out ulong _), Is.False, "the kernel's own access to the guest's memory");
        Assert.That(task.Mm.PinUserPages(task, at, FollFlags.Write, new Pfn[1]), Is.EqualTo(-Errno.EFAULT));
        Assert.That(device.Freed, Is.Zero);
        Assert.That(task.Machine.Pages[device.First].RefCount, Is.EqualTo(1));
        device.AtFault = FaultOutcome.Done;
        Assert.That(task.Mm.HandleFault(task, at, access), Is.EqualTo(FaultOutcome.Done));
    });

    [Test]
    public void A_pinned_page_and_a_page_that_somebody_holds_stay() => Run((task, at, device) =>
    {
        Pfn[] held = new Pfn[1], pinned = new Pfn[1];
        Assert.That(task.Mm.GetUserPages(task, at, FollFlags.None, held), Is.EqualTo(1));
        Assert.That(task.Mm.PinUserPages(task, at + 0x1000, FollFlags.Write, pinned), Is.EqualTo(1));
        MigrateVma args = MoveToDevice(task, at, device);
        Assert.That(string.Concat(args.Source.Select(page => page.Migrate ? 'y' : 'n')), Is.EqualTo("nnyy"));
        Assert.That(task.TryRead(at + 0x1000, out ulong value) ? value : 0, Is.EqualTo(2));
        task.Machine.Pages.Put(held[0]);
        task.Mm.UnpinUserPages(pinned, dirty: false);
    });

    [Test]
    public void A_pin_brings_a_page_back_first() => Run((task, at, device) =>
    {
        MoveToDevice(task, at, device);
        device.AtFault = FaultOutcome.Done;
        Pfn[] pinned = new Pfn[Pages];
        Assert.That(task.Mm.PinUserPages(task, at, FollFlags.Write | FollFlags.Longterm, pinned), Is.EqualTo(Pages));
        Assert.That(pinned, Has.None.Matches<Pfn>(task.Machine.Pages.IsDevice));
        Assert.That(device.Freed, Is.EqualTo(Pages));
        task.Mm.UnpinUserPages(pinned, dirty: true);
    });

    [Test]
    public void A_fork_shares_pages_in_a_device_until_one_side_writes() => Run((task, at, device) =>
    {
        MoveToDevice(task, at, device);
        device.AtFault = FaultOutcome.Done;
        AddressSpace child = task.Mm.Fork(task)!;
        Assert.That(task.Machine.Pages[device.First].MapCount, Is.EqualTo(2));
        Assert.That(new MmChecker(task.Machine.MemorySystem).Check(), Is.Empty);
        Assert.That(task.Mm.HandleFault(task, at, FaultFlags.Read), Is.EqualTo(FaultOutcome.Done));
        Assert.That(FrameAt(task.Mm, at), Is.EqualTo(FrameAt(child, at)), "both map the page that came back");
        Assert.That(task.Mm.HandleFault(task, at, FaultFlags.Write), Is.EqualTo(FaultOutcome.Done));
        Assert.That(FrameAt(task.Mm, at), Is.Not.EqualTo(FrameAt(child, at)));
        child.Put(task);
    });

    [Test]
    public void An_exclusive_page_is_announced_with_its_owner_and_given_back_without() => Run((task, at, device) =>
    {
        var listener = new Listener();
        Assert.That(listener.Insert(task, task.Mm, 0, ulong.MaxValue & ~0xFFFUL), Is.Zero);
        Pfn[] pages = new Pfn[2];
        using (task.Mm.EnterRead(task))
            Assert.That(task.Mm.MakeDeviceExclusiveRange(task, at, pages, device.Owner), Is.EqualTo(2));
        Assert.That(pages, Has.None.EqualTo(default(Pfn)));
        task.Mm.ReleaseExclusivePages(pages);
        Assert.That(task.Mm.TryWalk(at, write: false, out _), Is.False);
        Assert.That(new MmChecker(task.Machine.MemorySystem).Check(), Is.Empty);
        task.TryWrite(at, 5ul);
        Assert.That(task.Mm.TryWalk(at, write: true, out Pfn back) ? back : default, Is.EqualTo(pages[0]));
        listener.Remove(task);
        Assert.That(listener.Heard, Is.EqualTo(new[] { (MmuNotifyEvent.Exclusive, device.Owner), (MmuNotifyEvent.Exclusive, device.Owner), (MmuNotifyEvent.Exclusive, null) }));
    });

    [Test]
    public void A_fork_takes_exclusive_pages_back_without_another_announcement() => Run((task, at, device) =>
    {
        Pfn[] pages = new Pfn[1];
        using (task.Mm.EnterRead(task))
            Assert.That(task.Mm.MakeDeviceExclusiveRange(task, at, pages, device.Owner), Is.EqualTo(1));
        task.Mm.ReleaseExclusivePages(pages);
        var listener = new Listener();
        Assert.That(listener.Insert(task, task.Mm, at, Pages << 12), Is.Zero);
        AddressSpace child = task.Mm.Fork(task)!;
        listener.Remove(task);
        Assert.That(listener.Heard, Is.EqualTo(new[] { (MmuNotifyEvent.ProtectionPage, (object?)null) }));
        Assert.That(FrameAt(task.Mm, at), Is.EqualTo(FrameAt(child, at)).And.EqualTo(pages[0]));
        child.Put(task);
    });
}
