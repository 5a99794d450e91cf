using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Claims.Notifiers;

/// <summary>
/// Claim 40. Two pages A and B are copied on write. The thread that copies A is kept from its range_end; others write A, and then B. A device that hears of the
/// copies at the end only sees the second write without the first.
/// </summary>
internal sealed class NotifyAfterTheLock : Claim
{
    public override string Number => "40";

    public override string Name => "notify-after-the-lock";

    public override string Text => "telling a secondary TLB after the page-table lock is dropped is harmless when a page is merely replaced by its copy";

    public override string Source => "Documentation/mm/mmu_notifier.rst, which denies it";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "the device sees writes in an order that no processor made";

    protected override Verdict Try(Evidence evidence)
    {
        (byte a, byte b) = See(evidence, "told under the page-table lock", MmuNotifierOps.ArchInvalidateSecondaryTlbs);
        Require((a, b) == (1, 1), "the device does not see both writes when it is told in time");
        (a, b) = See(evidence, "told at the end", MmuNotifierOps.InvalidateRangeEnd);
        return Judge(a >= b);
    }

    private static (byte A, byte B) See(Evidence evidence, string title, MmuNotifierOps ops)
    {
        (byte, byte) seen = default;
        evidence.Stage(title, 3, stage =>
        {
            Task task = stage.Task;
            Machine machine = stage.Machine;
            Mm mm = task.Mm;
            ulong a = Memory.Fill(task, 2), b = a + 0x1000;
            task.TryWrite(a, (byte)0);
            task.TryWrite(b, (byte)0);
            var device = new WalkerDevice(machine, mm, ops);
            bool held = false, release = false, childMayGo = false;
            var queue = new WaitQueue();
            var before = new Probe
            {
                End = (current, range) =>
                {
                    if (range.Start != a || current is null)
                        return;
                    Volatile.Write(ref held, true);
                    queue.WakeAll();
                    queue.Wait(current, () => Volatile.Read(ref release), interruptible: false);
                },
            };
            KernelThread child = machine.Fork(task, other => queue.Wait(other, () => Volatile.Read(ref childMayGo), interruptible: false));
            device.Register(task, mm);
            before.Register(task, mm);
            Require(device.Read(a).Finding == Finding.Coherent && device.Read(b).Finding == Finding.Coherent, "the device cannot read");

            KernelThread copier = machine.Spawn(other => other.TryWrite(a, (byte)0), mm);
            queue.Wait(task, () => Volatile.Read(ref held), interruptible: false);
            task.TryWrite(a, (byte)1);
            task.TryWrite(b, (byte)1);
            DeviceRead first = device.Read(a), second = device.Read(b);
            Volatile.Write(ref release, true);
            Volatile.Write(ref childMayGo, true);
            queue.WakeAll();
            copier.Join(task);
            child.Join(task);
            stage.Evidence.Add("a processor wrote A = 1, then B = 1");
            stage.Evidence.Add($"A = {first.Value}: {first}");
            stage.Evidence.Add($"B = {second.Value}: {second}");
            seen = (first.Value, second.Value);
            before.Unregister(task);
            device.Unregister(task);
            stage.Count();
        });
        return seen;
    }
}
