using Emulator.Hardware.Memory;
using Emulator.Claims.Notifiers;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Udmabuf;

/// <summary>Claim 46.</summary>
internal sealed class HoleGetsAZeroPage : Claim
{
    public override string Number => "46";
    public override string Name => "hole-gets-a-zero-page";
    public override string Text => "hmm_range_fault puts a page of zeroes into a memfd's hole, and a later write replaces it, which is announced";
    public override string Source => "Jason Gunthorpe, 31 July 2023, udmabuf thread; taken back on 1 August";
    public override Verdict Expected => Verdict.False;
    public override string Reason => "that is how private anonymous memory does it; shmem fills the hole with a page of its own, which the write goes to";

    protected override Verdict Try(Evidence evidence)
    {
        (bool zero, int changes) = Play(evidence, "private anonymous memory", shared: false);
        Require(zero && changes == 1, "private memory does not get the page of zeroes, or its replacement is not announced");
        (zero, changes) = Play(evidence, "a memfd", shared: true);
        return Judge(zero && changes > 0);
    }

    private static (bool Zero, int Changes) Play(Evidence evidence, string title, bool shared)
    {
        (bool, int) seen = default;
        evidence.Stage(title, 1, stage =>
        {
            Task task = stage.Task;
            SharedFile? file = shared ? new SharedFile(stage, 4) : null;
            ulong at = file?.PageAt(1) ?? Memory.Fill(task, 4) + Pfn.Size;
            AskingMirror mirror = AskingMirror.Insert(task, at, Pfn.Size, Order.DoNotAsk);
            if (file is not null)
                file.Punch(task, 1, 1);
            else
                task.Mm.Madvise(task, at, Pfn.Size, MADV_DONTNEED);
            int before = mirror.Calls;
            Answer answer = mirror.Ask(task, at, at + Pfn.Size);
            Pfn read = HmmRange.FrameOf(answer.Entries[0]);
            bool zero = read == stage.Machine.Pages.Zero;
            Require(task.TryWrite(at, (byte)'w'), "the page cannot be written");
            Pfn written = Memory.Tag(stage, task.Mm, at).Frame;
            stage.Evidence.Add($"read: {(zero ? "the page of zeroes" : "a page of its own")}; written: {(written == read ? "the same page" : "another page")}, {mirror.Calls - before} changes announced");
            seen = (zero, mirror.Calls - before);
            mirror.Remove(task);
            file?.Close();
        });
        return seen;
    }
}

/// <summary>Claim 47.</summary>
internal sealed class SilentRefillIsABug : Claim
{
    public override string Number => "47";
    public override string Name => "silent-refill-is-a-bug";
    public override string Text => "that a hole is filled again without a notification is a bug of memory management";
    public override string Source => "Vivek Kasireddy and Jason Gunthorpe, August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.False;
    public override string Reason => "the entry goes from present to empty, which is announced, and from empty to present, which nobody can have cached; it never goes from one page to another";

    protected override Verdict Try(Evidence evidence)
    {
        bool silentChange = false;
        evidence.Stage("the entry through the punch and the refill", 1, stage =>
        {
            var file = new SharedFile(stage, 4);
            var events = new List<string>();
            bool announced = false, presentBeforeRefill = false;
            var probe = new Probe { Start = (_, _) => announced = true };
            probe.Register(stage.Task, stage.Task.Mm);
            FrameTag old = file.Tag(1);
            stage.Evidence.Add($"before: {old}");
            file.Punch(stage.Task, 1, 1);
            presentBeforeRefill = file.TryWalk(1, out _);
            stage.Evidence.Add($"after the punch: {(presentBeforeRefill ? "present" : "empty")}; {(announced ? "announced" : "not announced")}");
            Require(announced, "the punch is not announced");
            announced = false;
            file.Write(1, 'b');
            stage.Evidence.Add($"after the refill: {file.Tag(1)}; {(announced ? "announced" : "not announced")}");
            silentChange = presentBeforeRefill && !announced;
            Require(!announced, "the refill is announced");
            probe.Unregister(stage.Task);
            file.Close();
        });
        return Judge(silentChange);
    }
}

/// <summary>Claim 48.</summary>
internal sealed class EntriesStayPresent : Claim
{
    public override string Number => "48";
    public override string Name => "entries-stay-present";
    public override string Text => "after MMU_NOTIFY_CLEAR the entries stay present until somebody writes";
    public override string Source => "Vivek Kasireddy, 16 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.False;
    public override string Reason => "they are present when the change is announced, which is where he looked, and empty when it has ended";

    protected override Verdict Try(Evidence evidence)
    {
        bool atStart = false, atEnd = true;
        evidence.Stage("the entry at the start and at the end of the change", 1, stage =>
        {
            var file = new SharedFile(stage, 4);
            var probe = new Probe
            {
                Start = (task, range) => atStart = range.Event == MmuNotifyEvent.Clear && file.TryWalk(1, out Pfn _),
                End = (task, range) => atEnd = range.Event == MmuNotifyEvent.Clear && file.TryWalk(1, out Pfn _),
            };
            probe.Register(stage.Task, stage.Task.Mm);
            file.Punch(stage.Task, 1, 1);
            stage.Evidence.Add($"when the change is announced: {(atStart ? "present" : "empty")}; when it ends: {(atEnd ? "present" : "empty")}; later: {(file.TryWalk(1, out _) ? "present" : "empty")}");
            probe.Unregister(stage.Task);
            file.Close();
        });
        Require(atStart, "the entry is not present when the change is announced");
        return Judge(atEnd);
    }
}
