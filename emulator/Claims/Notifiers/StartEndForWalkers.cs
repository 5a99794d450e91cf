using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Notifiers;

/// <summary>Claim 37. The device looks at the first of 10,500 pages right after it was told the start, right before it is told the end, and when all is over.</summary>
internal sealed class StartEndForWalkers : Claim
{
    public override string Number => "37";

    public override string Name => "start-end-for-walkers";

    public override string Text => "invalidate_range_start/end must not be used for a TLB that walks the CPUs' tables: it reads freed memory";

    public override string Source => "commit 1af5a8109904, include/linux/mmu_notifier.h";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "told at the start, the device fetches the entry again before it is cleared; told at the end, it keeps it while a full gather frees the first pages";

    /// <summary>More pages than a gather holds (8 and 19 batches of 510), so that the first are freed early.</summary>
    private const int Many = 10_500;

    protected override Verdict Try(Evidence evidence)
    {
        const MmuNotifierOps start = MmuNotifierOps.InvalidateRangeStart, end = MmuNotifierOps.InvalidateRangeEnd;
        bool clean = Corrupts(evidence, "arch_invalidate_secondary_tlbs", MmuNotifierOps.ArchInvalidateSecondaryTlbs);
        Require(!clean, "the right callback corrupts as well");
        bool startCorrupts = Corrupts(evidence, "told at the start only", start);
        bool endCorrupts = Corrupts(evidence, "told at the end only", end);
        bool bothCorrupt = Corrupts(evidence, "told at both", start | end);
        return Judge(startCorrupts && endCorrupts && bothCorrupt);
    }

    private static bool Corrupts(Evidence evidence, string title, MmuNotifierOps ops)
    {
        bool corrupts = false;
        evidence.Stage(title, 1, stage =>
        {
            Task task = stage.Task;
            Mm mm = task.Mm;
            ulong at = Memory.Fill(task, Many), next = Memory.Fill(task, 1);
            var device = new WalkerDevice(stage.Machine, mm, ops);
            void Look(string when)
            {
                DeviceRead read = device.Read(at);
                corrupts |= read.Finding == Finding.Corrupt;
                stage.Evidence.Add($"{when}: {read}");
            }
            // The last registered is told first.
            var behind = new Probe { Start = (_, range) => When(range.Start == at, () => Look("after the start")) };
            var before = new Probe { End = (_, range) => When(range.Start == at, () => Look("before the end")) };
            behind.Register(task, mm);
            device.Register(task, mm);
            before.Register(task, mm);
            Require(device.Read(at).Finding == Finding.Coherent, "the device cannot read");

            mm.Munmap(task, at, Many << 12);
            mm.Mremap(task, next, 0x1000, Many << 12, MREMAP_MAYMOVE | MREMAP_FIXED, 0x10_0000_0000);
            for (ulong i = 0; i < Many; i++)
                task.TryWrite(0x10_0000_0000 + (i << 12), (byte)0xFF); // Whoever gets the frames next.
            Look("afterwards");
            stage.Count();
            foreach (MmuNotifier notifier in (MmuNotifier[])[behind, device, before])
                notifier.Unregister(task);
        });
        return corrupts;
    }

    private static void When(bool condition, Action act)
    {
        if (condition)
            act();
    }
}
