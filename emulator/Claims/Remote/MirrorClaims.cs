using Emulator.Claims.Notifiers;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Remote;

/// <summary>Claim 60.</summary>
internal sealed class MirrorDoesTheSame : Claim
{
    public override string Number => "60";
    public override string Name => "mirror-does-the-same";
    public override string Text => "a VMA of a device file and an HMM mirror do what remote mapping does, without a change to memory management";
    public override string Source => "Jérôme Glisse, September 2019, remote mapping thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "through copies on write, reclaim, moves and the target's end the client sees what the target has, and nothing afterwards. His sketch taken literally enters pages when the range is not valid, and begins again for ever when it is";

    protected override Verdict Try(Evidence evidence)
    {
        bool same = true;
        evidence.Stage("/dev/remote-mirror", 2, stage =>
        {
            var inspection = new Inspection(stage, 2);
            Actor target = inspection.Target, client = inspection.Client;
            ulong at = inspection.Mirror(2), memory = inspection.Memory;
            void See(string what, byte expected)
            {
                Sighting seen = client.Read(at);
                stage.Evidence.Add($"{what}: {seen}");
                same &= seen.Finding == Finding.Coherent && seen.Value == expected;
            }

            See("mapped", 1);
            Mm child = target.Ask(task => task.Mm.Fork(task))!;
            target.Write(memory, 2);
            See("the target has forked and written", 2);
            target.Syscall(SystemCall.Madvise, memory, Pfn.Size, MADV_PAGEOUT);
            See("the target's page was in the swap area", 2);
            target.Do(task => stage.Machine.MemorySystem.Migration.Compact(task));
            See("it was moved", 2);
            client.Write(at, 3);
            bool written = target.Read(memory).Value == 3;
            stage.Evidence.Add($"the client writes 3, the target {(written ? "has it" : "does not have it")}");
            target.Do(child.Put);
            target.Syscall(SystemCall.Munmap, memory, Pfn.Size);
            bool gone = client.Read(at).Finding == Finding.Fault;
            inspection.EndTarget(stage);
            gone &= client.Read(at + Pfn.Size).Finding == Finding.Fault;
            stage.Evidence.Add($"unmapped, and after the target's end: {(gone ? "SIGBUS" : "still there")}");
            same &= written && gone;
        }, options => options with { SwapBytes = 16 << 20 });
        Require(Literally(evidence), "the sketch works as it is written");
        return Judge(same);
    }

    private static bool Literally(Evidence evidence)
    {
        bool wrong = false;
        evidence.Stage("the sketch as it is written", 2, stage =>
        {
            var inspection = new Inspection(stage, 2);
            var sketch = new Sketch(inspection.Target.Mm);
            inspection.Target.Do(task => sketch.Insert(task, task.Mm, inspection.Memory, 2 * Pfn.Size));
            bool entered = inspection.Client.Ask(task => sketch.Fault(task, inspection.Memory, null, out _));
            Pfn old = default;
            bool late = inspection.Client.Ask(task => sketch.Fault(task, inspection.Memory,
                () => inspection.Target.Syscall(SystemCall.Munmap, inspection.Memory, Pfn.Size), out old));
            bool stale = late && !inspection.Target.Mm.TryWalk(inspection.Memory, write: false, out _);
            stage.Evidence.Add($"while nothing changes: {(entered ? "the page is entered" : $"no page is entered in {Sketch.Tries} rounds")}; when the target unmaps it meanwhile: {(stale ? $"{stage.Tag(old)} is entered, which nobody has any more" : "nothing is entered")}");
            wrong = !entered && stale;
            inspection.Target.Do(sketch.Remove);
        });
        return wrong;
    }

    /// <summary>kvm_mirror_page_fault of 2 October 2019.</summary>
    private sealed class Sketch(Mm target) : MmuIntervalNotifier
    {
        public const int Tries = 100;

        public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
        {
            SetSequence(sequence);
            return true;
        }

        public bool Fault(Task task, ulong page, Action? meanwhile, out Pfn frame)
        {
            var pfns = new ulong[1];
            frame = default;
            for (int i = 0; i < Tries; i++)
            {
                var range = new HmmRange(target, page, page + Pfn.Size, pfns) { Notifier = this, NotifierSequence = ReadBegin(task), DefaultFlags = HmmPfn.ReqFault };
                using (target.EnterRead(task))
                {
                    if (Hmm.RangeFault(task, range) != 0)
                        continue;
                }
                (Action? act, meanwhile) = (meanwhile, null);
                act?.Invoke();
                if (!ReadRetry(range.NotifierSequence))
                    continue; // hmm_range_valid: "goto again".
                frame = HmmRange.FrameOf(pfns[0]);
                return true;
            }
            return false;
        }
    }
}

/// <summary>Claim 61, with a device that shadows the client as KVM would.</summary>
internal sealed class InsertionMustNotify : Claim
{
    public override string Number => "61";
    public override string Name => "insertion-must-notify";
    public override string Text => "insert_pfn must call the notifiers of the inspecting process, or KVM keeps what it had";
    public override string Source => "Paolo Bonzini, September and October 2019, remote mapping thread";
    public override Verdict Expected => Verdict.Partly;
    public override string Reason => "what is entered where nothing was cannot have been cached. Taking it out must be announced to the client: unmap_mapping_range does so, a driver that just empties the entry does not";

    protected override Verdict Try(Evidence evidence)
    {
        (bool atInsertion, Finding announced) = (false, Finding.Corrupt);
        evidence.Stage("/dev/remote-mirror, and a shadow of the client", 3, stage =>
        {
            var inspection = new Inspection(stage, 2);
            Actor stranger = stage.Enter("stranger", 2);
            Require(stranger.Write(stranger.Map(1), 1), "the stranger has no tables yet, which would take the frame");
            ulong at = inspection.Mirror(1);
            var shadow = new ShadowDevice(stage.Machine, inspection.Client.Mm);
            int heard = 0;
            var probe = new Probe { Start = (_, range) => heard += range.Start <= at && at < range.End ? 1 : 0 };
            inspection.Client.Do(task =>
            {
                shadow.Register(task, task.Mm);
                probe.Register(task, task.Mm);
            });
            Require(!shadow.Fault(at), "the shadow has the page before the client");
            inspection.Client.Read(at);
            atInsertion = heard != 0;
            Require(shadow.Fault(at) && shadow.Read(at).Finding == Finding.Coherent, "the shadow cannot read what the client has");
            stage.Evidence.Add($"the page is entered: {heard} announcements to the client; the shadow reads {shadow.Read(at).Value}");
            FrameTag old = Memory.Tag(stage, inspection.Target.Mm, inspection.Memory);
            inspection.Target.Syscall(SystemCall.Munmap, inspection.Memory, Pfn.Size);
            Reuse.Take(stage, stranger, old);
            announced = shadow.Read(at).Finding;
            stage.Evidence.Add($"the target unmaps it: {heard} announcements; {shadow.Read(at)}");
            inspection.Client.Do(task =>
            {
                probe.Unregister(task);
                shadow.Unregister(task);
            });
        });
        Require(announced == Finding.Fault, "the shadow keeps the page though its going was announced");
        return Judge(atInsertion, Silently(evidence) == Finding.Corrupt);
    }

    private static Finding Silently(Evidence evidence)
    {
        Finding found = Finding.Fault;
        evidence.Stage("a driver that empties the entry and flushes", 3, stage =>
        {
            var inspection = new Inspection(stage, 2);
            Actor stranger = stage.Enter("stranger", 2);
            Require(stranger.Write(stranger.Map(1), 1), "the stranger has no tables yet, which would take the frame");
            ulong at = Inspection.Place(inspection.Client);
            HandMirror mirror = HandMirror.Make(inspection, at, listens: true);
            var shadow = new ShadowDevice(stage.Machine, inspection.Client.Mm);
            inspection.Client.Do(task => shadow.Register(task, task.Mm));
            Require(shadow.Fault(at) && shadow.Read(at).Value == 1, "the shadow cannot read what the client has");
            FrameTag old = Memory.Tag(stage, inspection.Target.Mm, inspection.Memory);
            inspection.Target.Syscall(SystemCall.Munmap, inspection.Memory, Pfn.Size);
            Reuse.Take(stage, stranger, old);
            found = shadow.Read(at).Finding;
            stage.Evidence.Add($"the target unmaps it: {shadow.Read(at)}");
            inspection.Client.Do(shadow.Unregister);
            mirror.End(inspection);
        });
        return found;
    }
}

/// <summary>Claim 62.</summary>
internal sealed class CountsMustBeRight : Claim
{
    public override string Number => "62";
    public override string Name => "counts-must-be-right";
    public override string Text => "pages that are mapped into anonymous memory without being counted break compaction and khugepaged";
    public override string Source => "Mircea Cîrjaliu, September 2019, remote mapping thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "compaction finds one mapping, moves the page and frees its frame, which the other still shows. In a VMA of a device file the same entry is none of its business, and the notifier takes it away";

    protected override Verdict Try(Evidence evidence)
    {
        Finding counted = Finding.Fault, uncounted = Finding.Fault;
        evidence.Stage("/dev/remote-mirror", 3, stage => counted = Compact(stage, new Inspection(stage, 1), static i => i.Mirror(1), null));
        evidence.Stage("the page's number in anonymous memory", 3, stage =>
        {
            HandMirror? mirror = null;
            uncounted = Compact(stage, new Inspection(stage, 1), i =>
            {
                ulong at = Inspection.Place(i.Client);
                mirror = HandMirror.Make(i, at, listens: false);
                return at;
            }, i => mirror!.End(i));
        });
        Require(counted == Finding.Coherent, "compaction breaks the mirror as well");
        return Judge(uncounted == Finding.Corrupt);
    }

    private static Finding Compact(Stage stage, Inspection inspection, Func<Inspection, ulong> map, Action<Inspection>? end)
    {
        ulong at = map(inspection);
        Require(inspection.Client.Read(at).Value == 1, "the client does not see the page");
        FrameTag old = Memory.Tag(stage, inspection.Target.Mm, inspection.Memory);
        inspection.Target.Do(task => stage.Machine.MemorySystem.Migration.Compact(task));
        Require(stage.IsFreed(old), "compaction does not move the page");
        stage.Evidence.Add($"compaction has moved the page from {old} to {Memory.Tag(stage, inspection.Target.Mm, inspection.Memory)}");
        Finding finding = inspection.Client.Ask(task => task.Mm.TryWalk(at, write: false, out Pfn now) && now == old.Frame) ? Finding.Corrupt : inspection.Client.Read(at).Finding;
        stage.Evidence.Add(finding == Finding.Corrupt ? $"the client still maps {old.Frame}, which is free" : $"the client reads: {finding}");
        end?.Invoke(inspection);
        return finding;
    }
}
