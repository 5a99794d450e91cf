using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Notifiers;

/// <summary>Claim 13, in the release that still had the callback and in one that has its successor.</summary>
internal sealed class InvalidateRangeIsBroken : Claim
{
    public override string Number => "13";

    public override string Name => "invalidate-range-is-broken";

    public override string Text => "the callback invalidate_range was extremely broken";

    public override string Source => "Jann Horn, mshare RFC v3 thread, 2024, and 2022-09-23";

    public override Verdict Expected => Verdict.True;

    public override string Reason => "in 6.1 mremap told it only at the end, long after the processors, and a nested gather told it a range of nothing; since 6.6 it is called where the processors flush";

    protected override Verdict Try(Evidence evidence)
    {
        Require(!MremapLeavesStale(evidence, "mremap, Linux 6.12", KernelProfile.V6_12) && !NestedGatherSaysNothing(evidence, "nested gather, Linux 6.12", KernelProfile.V6_12),
            "the callback's successor is broken as well");
        bool mremap = MremapLeavesStale(evidence, "mremap, Linux 6.1", KernelProfile.V6_1);
        bool nested = NestedGatherSaysNothing(evidence, "nested gather, Linux 6.1", KernelProfile.V6_1);
        return Judge(mremap, nested);
    }

    /// <summary>The device reads the old address when the processors have been flushed, before range_end.</summary>
    private static bool MremapLeavesStale(Evidence evidence, string title, KernelProfile profile)
    {
        bool stale = false;
        evidence.Stage(title, 1, stage =>
        {
            Task task = stage.Task;
            Mm mm = task.Mm;
            ulong at = Memory.Fill(task, 1);
            var device = new WalkerDevice(stage.Machine, mm, MmuNotifierOps.ArchInvalidateSecondaryTlbs);
            var before = new Probe
            {
                End = (_, range) =>
                {
                    if (range.Start != at)
                        return;
                    DeviceRead read = device.Read(at);
                    stale |= read.Finding == Finding.Stale;
                    stage.Evidence.Add($"at the end, before it is told: {read}");
                },
            };
            device.Register(task, mm);
            before.Register(task, mm);
            Require(device.Read(at).Finding == Finding.Coherent, "the device cannot read");
            mm.Mremap(task, at, 0x1000, 0x1000, MREMAP_MAYMOVE | MREMAP_FIXED, 0x10_0000_0000);
            before.Unregister(task);
            device.Unregister(task);
        }, options => options with { Profile = profile });
        return stale;
    }

    /// <summary>Two threads discard a page each; the second one's gather begins and ends while the first one's is kept from ending.</summary>
    private static bool NestedGatherSaysNothing(Evidence evidence, string title, KernelProfile profile)
    {
        bool nothing = false;
        evidence.Stage(title, 2, stage =>
        {
            Task task = stage.Task;
            Mm mm = task.Mm;
            ulong first = Memory.Fill(task, 2), second = first + 0x1000;
            bool held = false, release = false;
            var queue = new WaitQueue();
            var holder = new Probe
            {
                End = (current, range) =>
                {
                    if (range.Start != first || current is null)
                        return;
                    Volatile.Write(ref held, true);
                    queue.WakeAll();
                    queue.Wait(current, () => Volatile.Read(ref release), interruptible: false);
                },
            };
            var told = new List<(ulong Start, ulong End)>();
            var listener = new Probe
            {
                Flush = (t, start, end) =>
                {
                    if (t == task && Volatile.Read(ref held))
                        told.Add((start, end));
                },
            };
            holder.Register(task, mm);
            listener.Register(task, mm);
            KernelThread other = stage.Machine.Spawn(t => mm.Madvise(t, first, 0x1000, MADV_DONTNEED), mm);
            queue.Wait(task, () => Volatile.Read(ref held), interruptible: false);

            mm.Madvise(task, second, 0x1000, MADV_DONTNEED);
            Volatile.Write(ref release, true);
            queue.WakeAll();
            other.Join(task);
            listener.Unregister(task);
            holder.Unregister(task);
            Require(told.Count > 0, "the callback is not called");
            foreach ((ulong start, ulong end) in told)
                stage.Evidence.Add($"told to forget 0x{start:x} to 0x{end:x}{(start >= end ? ", which is nothing" : "")}");
            nothing = told.Exists(static r => r.Start >= r.End);
        }, options => options with { Profile = profile });
        return nothing;
    }
}
