using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Notifiers;

/// <summary>Claim 41.</summary>
internal sealed class SameTablesNeedNothing : Claim
{
    public override string Number => "41";

    public override string Name => "same-tables-need-nothing";

    public override string Text => "a device that walks the same page tables as the processors need not be told of their changes";

    public override string Source => "framing by Dave Hansen, mshare RFC thread";

    public override Verdict Expected => Verdict.False;

    public override string Reason => "the entry is gone for both, but the device's TLB keeps the translation";

    protected override Verdict Try(Evidence evidence)
    {
        Finding told = Read(evidence, "told where the processors flush", MmuNotifierOps.ArchInvalidateSecondaryTlbs);
        Require(told == Finding.Fault, "the device reads on although it was told");
        return Judge(Read(evidence, "told nothing", MmuNotifierOps.None) == Finding.Fault);
    }

    private static Finding Read(Evidence evidence, string title, MmuNotifierOps ops)
    {
        Finding finding = default;
        evidence.Stage(title, 1, stage =>
        {
            Task task = stage.Task;
            Mm mm = task.Mm;
            ulong at = Memory.Fill(task, 2);
            var device = new WalkerDevice(stage.Machine, mm, ops);
            if (ops != MmuNotifierOps.None)
                device.Register(task, mm);
            Require(device.Read(at).Finding == Finding.Coherent, "the device cannot read");
            mm.Munmap(task, at, 0x1000);
            Require(!mm.TryWalk(at, write: false, out _), "the entry is not gone");
            DeviceRead read = device.Read(at);
            finding = read.Finding;
            stage.Evidence.Add($"after munmap the {read}");
            if (ops != MmuNotifierOps.None)
                device.Unregister(task);
            stage.Count();
        });
        return finding;
    }
}
