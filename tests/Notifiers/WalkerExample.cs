using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Examples;

/// <summary>A device that reads the CPUs' page tables by itself and remembers what it found, as an IOMMU does for shared virtual addressing.</summary>
public class Walker(Machine machine) : MmuNotifier
{
    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, Pfn> _tlb = [];

    public override MmuNotifierOps Ops => MmuNotifierOps.ArchInvalidateSecondaryTlbs;

    // The CPUs forget a range, and so must the device. (0, ulong.MaxValue) is everything: it has no size to compute with.
    public override void ArchInvalidateSecondaryTlbs(Task? task, Mm mm, ulong start, ulong end) => Forget(start, end);

    public virtual void Forget(ulong start, ulong end)
    {
        lock (_lock)
        {
            foreach (ulong page in _tlb.Keys)
                if (page >= start && page < end)
                    _tlb.Remove(page);
        }
    }

    /// <summary>One access of the device; false: a page fault. Under its lock, so that an invalidation waits for accesses under way.</summary>
    public bool TryRead(Mm mm, ulong address, out byte value)
    {
        lock (_lock)
        {
            value = 0;
            ulong page = address & ~0xFFFUL;
            if (!_tlb.TryGetValue(page, out Pfn frame))
            {
                if (!mm.TryWalk(page, write: false, out frame))
                    return false;
                _tlb[page] = frame;
            }
            value = machine.Memory.BytesOf(frame)[(int)(address & 0xFFF)];
            return true;
        }
    }
}

[TestFixture]
public sealed class WalkerExample
{
    [Test]
    public void A_device_that_listens_where_the_CPUs_flush_reads_what_the_CPUs_read()
    {
        using var machine = new Machine(new MachineOptions { Vcpus = 2, LockDep = true });
        machine.Run(task =>
        {
            Mm mm = task.Mm;
            var device = new Walker(machine);
            Assert.That(device.Register(task, mm), Is.Zero);
            ulong page = (ulong)mm.Mmap(task, 0, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, null, 0);
            task.TryWrite(page, (byte)1);
            Assert.That(device.TryRead(mm, page, out byte seen) ? seen : -1, Is.EqualTo(1));

            KernelThread child = machine.Fork(task, other => Assert.That(other.TryRead(page, out byte theirs) ? theirs : -1, Is.EqualTo(1)));
            task.TryWrite(page, (byte)2); // Copied on write: the device must not keep the old page.
            Assert.That(device.TryRead(mm, page, out seen) ? seen : -1, Is.EqualTo(2));
            child.Join(task);

            mm.Munmap(task, page, 0x1000);
            Assert.That(device.TryRead(mm, page, out _), Is.False);
            device.Unregister(task);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }
}
