using Emulator.Kernel;
using Emulator.Kernel.Mirrors;
using Emulator.Hardware.Memory;

namespace Emulator.Claims.Udmabuf;

/// <summary>Claim 54.</summary>
internal sealed class OldDataNeverServed : Claim
{
    public override string Number => "54";
    public override string Name => "old-data-never-served";
    public override string Text => "once a page has left the file, no reader of a udmabuf is served its old data";
    public override string Source => "Jason Gunthorpe, 25 July 2023, udmabuf thread, who says that it must be so";
    public override Verdict Expected => Verdict.False;
    public override string Reason => "upstream pins, and serves old data by design; that is incoherent, but no frame of somebody else's is touched. The designs that hear of the hole serve what the file has";

    protected override Verdict Try(Evidence evidence)
    {
        foreach (UdmabufMode mode in UdmabufModes.All)
        {
            if (mode.Soundness == UdmabufSoundness.Sound)
                Require(Play(evidence, mode) == 'b', $"{mode}: a dynamic device does not see what the file has");
        }
        return Judge(Play(evidence, UdmabufModes.Pinned) == 'b');
    }

    private static char Play(Evidence evidence, UdmabufMode mode)
    {
        char seen = '?';
        evidence.Stage($"udmabuf={mode}", 1, stage =>
        {
            var file = new SharedFile(stage, 4);
            var buffer = new TestBuffer(stage, mode, file, 4);
            ImporterUse device = buffer.Attach("device", dynamic: true);
            Require(buffer.Read(device, 1) == 'a', "the device does not see the file at first");
            file.Punch(stage.Task, 1, 1);
            file.Write(1, 'b');
            seen = buffer.Read(device, 1);
            stage.Evidence.Add($"the file has '{file.Read(1)}', the device reads '{seen}'");
            buffer.Report();
            Require(buffer.Count(DmaBufCounter.FreedReads) == 0, "a freed frame was read");
            buffer.Close();
            file.Close();
        }, options => options with { Udmabuf = new UdmabufOptions(mode) });
        return seen;
    }
}

/// <summary>Claim 55.</summary>
internal sealed class DeviceKeepsWriting : Claim
{
    public override string Number => "55";
    public override string Name => "device-keeps-writing";
    public override string Text => "a device goes on writing to the old page until it is made to stop";
    public override string Source => "Peter Xu, 1 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "the page that it has pinned is an orphan: what it writes is lost, and noticed; the frame is not used again while it is pinned";

    protected override Verdict Try(Evidence evidence)
    {
        (bool lost, bool reused) stopped = Play(evidence, UdmabufModes.FileNotifier, dynamic: true);
        Require(!stopped.lost, "a device that is made to stop loses what it writes");
        (bool lost, bool reused) = Play(evidence, UdmabufModes.Pinned, dynamic: false);
        Require(!reused, "the frame was used again while it was pinned");
        return Judge(lost);
    }

    private static (bool Lost, bool Reused) Play(Evidence evidence, UdmabufMode mode, bool dynamic)
    {
        (bool, bool) seen = default;
        evidence.Stage($"udmabuf={mode}, a {(dynamic ? "dynamic" : "static")} device", 1, stage =>
        {
            var file = new SharedFile(stage, 4);
            var buffer = new TestBuffer(stage, mode, file, 4);
            ImporterUse device = buffer.Attach("device", dynamic);
            buffer.Fill(device, 0, 4, 'w');
            FrameTag old = file.Tag(1);
            file.Punch(stage.Task, 1, 1);
            file.Write(1, 'b');
            buffer.Fill(device, 1, 1, 'x');
            bool lost = file.Read(1) != 'x';
            stage.Evidence.Add($"the device wrote 'x' to what was {old}; the file has '{file.Read(1)}' in {file.Tag(1)}");
            bool reused = lost && stage.IsFreed(old);
            buffer.Report();
            Require(lost == (buffer.Count(DmaBufCounter.OrphanWrites) > 0), "a lost write went unnoticed");
            seen = (lost, reused);
            buffer.Close();
            file.Close();
        }, options => options with { Udmabuf = new UdmabufOptions(mode) });
        return seen;
    }
}

/// <summary>Claim 57.</summary>
internal sealed class MoveNotifyDoesNotHelp : Claim
{
    public override string Number => "57";
    public override string Name => "move-notify-does-not-help";
    public override string Text => "most importers are static, so having udmabuf call move_notify would not help";
    public override string Source => "Daniel Vetter, 2 August, and Vivek Kasireddy, 3 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "a static importer keeps what was mapped, and pinned, when it was attached, whether or not the exporter tells others";

    protected override Verdict Try(Evidence evidence)
    {
        (char fixedRead, char movingRead, ulong told) upstream = Play(evidence, UdmabufModes.Pinned);
        Require(upstream is (_, 'a', 0), "upstream tells a dynamic importer of something");
        (char fixedRead, char movingRead, ulong told) = Play(evidence, UdmabufModes.AllocatorExport);
        Require(movingRead == 'b' && told > 0, "the dynamic importer is not helped by move_notify");
        return Judge(fixedRead == 'a' && upstream.fixedRead == 'a');
    }

    private static (char Static, char Dynamic, ulong Told) Play(Evidence evidence, UdmabufMode mode)
    {
        (char, char, ulong) seen = default;
        evidence.Stage($"udmabuf={mode}", 1, stage =>
        {
            var file = new SharedFile(stage, 4);
            var buffer = new TestBuffer(stage, mode, file, 4);
            ImporterUse still = buffer.Attach("static device", dynamic: false), moving = buffer.Attach("dynamic device", dynamic: true);
            stage.Evidence.Add($"mapped at attachment: the static device {still.Maps} times, the dynamic one {moving.Maps} times");
            Require(buffer.Read(still, 1) == 'a' && buffer.Read(moving, 1) == 'a', "a device does not see the file at first");
            file.Punch(stage.Task, 1, 1);
            file.Write(1, 'b');
            seen = (buffer.Read(still, 1), buffer.Read(moving, 1), moving.MoveNotifies);
            stage.Evidence.Add($"the file has 'b'; the static device reads '{seen.Item1}', the dynamic one '{seen.Item2}'");
            stage.Evidence.Count("dmabuf.move_notify", seen.Item3);
            buffer.Report();
            buffer.Close();
            file.Close();
        }, options => options with { Udmabuf = new UdmabufOptions(mode) });
        return seen;
    }
}

/// <summary>Claim 58.</summary>
internal sealed class CallbackHangsOnHugeTlb : Claim
{
    public override string Number => "58";
    public override string Name => "callback-hangs-on-hugetlb";
    public override string Text => "hmm_range_fault called from the callback hangs on hugetlb";
    public override string Source => "Vivek Kasireddy, 8 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "the punch holds the VMA's hugetlb lock for writing while it tells, and the walk takes it for reading; the walk of 6.1 does not, and a worker merely waits";

    protected override Verdict Try(Evidence evidence)
    {
        Require(!Hangs(evidence, "6.1", KernelProfile.V6_1), "the walk of 6.1, which takes no lock, hangs");
        return Judge(Hangs(evidence, "6.12", KernelProfile.V6_12));
    }

    private static bool Hangs(Evidence evidence, string title, KernelProfile profile) => evidence.StageUntilDeadlock(title, 1, stage =>
    {
        var file = new SharedFile(stage, 2, huge: true);
        AskingMirror mirror = AskingMirror.Insert(stage.Task, file.PageAt(0), 4 * Pfn.Size, Order.AsPosted);
        file.Punch(stage.Task, 0, 1);
        foreach (Answer answer in mirror.Answers)
            stage.Evidence.Add($"hmm_range_fault in the callback: {answer}");
        mirror.Remove(stage.Task);
        file.Close();
        stage.Violations.Take();
    }, options => options with { HugePages = 8, Profile = profile }) is not null;
}
