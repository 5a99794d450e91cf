using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;
using Mutex = Emulator.Kernel.Tasks.Locks.Mutex;

namespace Emulator.Claims.Udmabuf;

/// <summary>Claim 56.</summary>
internal sealed class ResvInNotifier : Claim
{
    public override string Number => "56";
    public override string Name => "move-notify-deadlocks";
    public override string Text => "a udmabuf that calls move_notify from its notifier deadlocks";
    public override string Source => "Daniel Vetter, 2 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason =>
        "move_notify needs the dma_resv; whoever holds that may allocate, allocations reclaim, and reclaim calls the notifier: one buffer waits for itself, two for each other. "
        + "A notifier that revokes mappings under a lock of its own, and only waits for fences, closes no circle";

    protected override Verdict Try(Evidence evidence)
    {
        Require(Revoking(evidence), "the design that revokes without the dma_resv breaks a rule");
        bool circle = Static(evidence);
        bool one = evidence.StageUntilDeadlock("one buffer: memory is reclaimed while its dma_resv is held", 1, stage =>
        {
            Setting setting = new(stage);
            using Mutex.Scope scope = setting.Buffer.Buffer.Resv.Lock.Enter(stage.Task);
            setting.Reclaim(stage.Task);
        }, WithSwap) is not null;
        bool two = evidence.StageUntilDeadlock("two buffers: each one's memory is reclaimed while the other one's dma_resv is held", 2, stage =>
        {
            Setting first = new(stage), second = new(stage);
            int holding = 0;
            void Hold(Task task, Setting mine, Setting others)
            {
                using Mutex.Scope scope = mine.Buffer.Buffer.Resv.Lock.Enter(task);
                Interlocked.Increment(ref holding);
                while (Volatile.Read(ref holding) < 2)
                    task.SpinOnce();
                others.Reclaim(task);
            }
            KernelThread other = stage.Machine.Spawn(task => Hold(task, second, first), stage.Task.Mm, "second");
            Hold(stage.Task, first, second);
            other.Join(stage.Task);
        }, WithSwap) is not null;
        Require(circle == one && one == two, "the lock graph and the machines do not agree");
        return Judge(circle);
    }

    private static MachineOptions WithSwap(MachineOptions options) => options with { SwapBytes = 64 << 20, Udmabuf = new UdmabufOptions(UdmabufModes.Pinned) };

    /// <summary>What lockdep says of a notifier that takes the dma_resv, though nobody waits.</summary>
    private static bool Static(Evidence evidence)
    {
        bool circle = false;
        evidence.Stage("the order of locks", 1, stage =>
        {
            Setting setting = new(stage);
            setting.Reclaim(stage.Task);
            foreach (Violation violation in stage.Violations.Take())
            {
                circle |= violation.Text.Contains("dma_resv", StringComparison.Ordinal);
                stage.Evidence.Add($"lockdep: {violation.Rule}: {violation.Text}");
            }
            setting.Close();
        }, WithSwap);
        return circle;
    }

    private static bool Revoking(Evidence evidence)
    {
        bool clean = true;
        evidence.Stage("a notifier that revokes under a lock of its own (udmabuf=hmm)", 1, stage =>
        {
            Task task = stage.Task;
            var file = new SharedFile(stage, 4);
            var buffer = new TestBuffer(stage, UdmabufModes.Hmm, file, 4);
            ImporterUse device = buffer.Attach("device", dynamic: true);
            Require(buffer.Read(device, 1) == 'a', "the device does not see the file");
            using (buffer.Buffer.Resv.Lock.Enter(task))
                Reclaim(stage, task, file);
            stage.Evidence.Add($"reclaimed with the dma_resv held; the device was told {device.Revokes} times, and reads '{buffer.Read(device, 1)}'");
            Violation[] found = [.. stage.Violations.Take()];
            foreach (Violation violation in found)
                stage.Evidence.Add($"lockdep: {violation}");
            clean = found.Length == 0 && device.Revokes > 0;
            buffer.Close();
            file.Close();
        }, static options => options with { SwapBytes = 64 << 20, Udmabuf = new UdmabufOptions(UdmabufModes.Hmm) });
        return clean;
    }

    /// <summary>What an allocation does when memory is short.</summary>
    private static void Reclaim(Stage stage, Task task, SharedFile file)
    {
        using LockMap.Scope scope = stage.Machine.MemorySystem.ReclaimMap.Enter(task);
        Require(file.TryWalk(1, out Pfn frame) && stage.Machine.Pages.TryGet(frame), "nothing to reclaim");
        stage.Machine.MemorySystem.Reclaim.Reclaim(task, [frame]);
    }

    /// <summary>A buffer whose mirror tells importers by move_notify, from inside the notifier.</summary>
    private sealed class Setting
    {
        private readonly SharedFile _file;
        private readonly Mirror _mirror;
        private readonly Stage _stage;

        public Setting(Stage stage)
        {
            _stage = stage;
            _file = new SharedFile(stage, 4);
            // Of another file: what is reclaimed must not be pinned by the buffer.
            Buffer = new TestBuffer(stage, UdmabufModes.Pinned, new SharedFile(stage, 4), 4);
            _mirror = new Mirror(Buffer.Buffer);
            Require(_mirror.Insert(stage.Task, stage.Task.Mm, _file.Address, 4 * Pfn.Size) == 0, "an interval notifier cannot be inserted");
        }

        public TestBuffer Buffer { get; }

        public void Reclaim(Task task) => ResvInNotifier.Reclaim(_stage, task, _file);

        public void Close()
        {
            _mirror.Remove(_stage.Task);
            Buffer.Close();
            _file.Close();
        }

        private sealed class Mirror(DmaBuf buffer) : MmuIntervalNotifier
        {
            public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
            {
                SetSequence(sequence);
                using Mutex.Scope scope = buffer.Resv.Lock.Enter(task);
                buffer.MoveNotify(task);
                return true;
            }
        }
    }
}
