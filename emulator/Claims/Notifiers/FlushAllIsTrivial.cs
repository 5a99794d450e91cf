using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Notifiers;

/// <summary>Claim 39. More than 33 pages are flushed as (0, ULONG_MAX); the device computes a number of pages from that, or does not.</summary>
internal sealed class FlushAllIsTrivial : Claim
{
    public override string Number => "39";

    public override string Name => "flush-all-is-trivial";

    public override string Text => "a driver that flushes a range needs no extra care when it is told to flush everything, (0, ULONG_MAX)";

    public override string Source => "implied by the driver that e7ad6c2a4b1a repaired";

    public override Verdict Expected => Verdict.Partly;

    public override string Reason => "the end plus a page minus one wraps: a driver that computes a page count flushes nothing, one that looks for the value first is right";

    protected override Verdict Try(Evidence evidence)
    {
        Require(Read(evidence, "33 pages, naive driver", 33, naive: true) == Finding.Fault, "the naive driver cannot flush a range either");
        bool guarded = Read(evidence, "34 pages, driver that looks for everything first", 34, naive: false) == Finding.Fault;
        bool naive = Read(evidence, "34 pages, naive driver", 34, naive: true) == Finding.Fault;
        return Judge(guarded, naive);
    }

    private static Finding Read(Evidence evidence, string title, int pages, bool naive)
    {
        Finding finding = default;
        evidence.Stage(title, 1, stage =>
        {
            Task task = stage.Task;
            Mm mm = task.Mm;
            ulong at = Memory.Fill(task, pages + 1); // The last one keeps the tables.
            var device = new WalkerDevice(stage.Machine, mm, MmuNotifierOps.ArchInvalidateSecondaryTlbs) { Naive = naive };
            device.Register(task, mm);
            Require(device.Read(at).Finding == Finding.Coherent, "the device cannot read");
            mm.Munmap(task, at, (ulong)pages << 12);
            DeviceRead read = device.Read(at);
            finding = read.Finding;
            stage.Evidence.Add($"after munmap the {read}");
            device.Unregister(task);
            stage.Count();
        });
        return finding;
    }
}
