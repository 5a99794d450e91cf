using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Claims.Udmabuf;

/// <summary>The notifier operation that the RFC proposed.</summary>
internal sealed class UpdateProbe(Action<ulong, Pfn> update) : MmuNotifier
{
    public override MmuNotifierOps Ops => MmuNotifierOps.UpdateMapping;

    public override void UpdateMapping(Task? task, Mm mm, ulong address, Pfn frame) => update(address, frame);
}

/// <summary>Claim 51.</summary>
internal sealed class OneAddressSpaceHears : Claim
{
    public override string Number => "51";
    public override string Name => "one-address-space-hears";
    public override string Text => "a notifier of one address space misses pages that come through another mapping or another process";
    public override string Source => "Peter Xu, 31 July 2023, udmabuf thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "only a fault of the registered address space in the registered range is heard; a second mapping, a second process and write(2) fill the hole unheard";

    protected override Verdict Try(Evidence evidence)
    {
        bool[] heard = [.. Routes.Select(route => Play(evidence, route.Title, route.Fill))];
        Require(heard[0], "not even the registered mapping is heard");
        return Judge(!heard.AsSpan(1).Contains(true));
    }

    private static readonly (string Title, Action<Stage, SharedFile> Fill)[] Routes =
    [
        ("filled through the registered mapping", static (_, file) => file.Write(1, 'b')),
        ("filled through a second mapping", static (stage, file) =>
        {
            ulong again = file.MapAgain(stage.Task);
            stage.Task.TryWrite(again + Pfn.Size, (byte)'b');
            stage.Task.Mm.Munmap(stage.Task, again, file.File.Mapping!.Size);
        }),
        ("filled by another process", static (stage, file) =>
            stage.Machine.Spawn(other => other.TryWrite(file.MapAgain(other) + Pfn.Size, (byte)'b')).Join(stage.Task)),
        ("filled by write(2)", static (stage, file) =>
        {
            long position = (long)Pfn.Size;
            file.File.Write(stage.Task, "b"u8, ref position);
        }),
    ];

    private static bool Play(Evidence evidence, string title, Action<Stage, SharedFile> fill)
    {
        bool heard = false;
        evidence.Stage(title, 2, stage =>
        {
            var file = new SharedFile(stage, 4);
            ulong at = file.PageAt(1);
            var probe = new UpdateProbe((address, _) => heard |= address == at);
            probe.Register(stage.Task, stage.Task.Mm);
            file.Punch(stage.Task, 1, 1);
            fill(stage, file);
            bool heardThen = heard;
            stage.Evidence.Add($"the file has '{file.Read(1)}' there now; the notifier {(heardThen ? "heard" : "did not hear")} of it");
            heard = heardThen;
            probe.Unregister(stage.Task);
            file.Close();
        });
        return heard;
    }
}

/// <summary>Claim 52.</summary>
internal sealed class ToldBeforeTheEntry : Claim
{
    public override string Number => "52";
    public override string Name => "told-before-the-entry";
    public override string Text => "calling the notifier from shmem_fault, before the entry is set, is wrong";
    public override string Source => "Jason Gunthorpe, 18 July, and Alistair Popple, 19 July 2023, udmabuf thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "a callback that looks at the tables finds nothing there: what it was told is not what they say";

    protected override Verdict Try(Evidence evidence)
    {
        bool told = false, present = false;
        evidence.Stage("a callback that looks at the tables", 1, stage =>
        {
            var file = new SharedFile(stage, 4);
            ulong at = file.PageAt(1);
            var probe = new UpdateProbe((address, frame) =>
            {
                if (address != at)
                    return;
                told = true;
                present = file.TryWalk(1, out _);
                stage.Evidence.Add($"the callback is told of frame 0x{frame.Value:x}; the entry is {(present ? "present" : "empty")}");
            });
            probe.Register(stage.Task, stage.Task.Mm);
            file.Punch(stage.Task, 1, 1);
            file.Write(1, 'b');
            stage.Evidence.Add($"after the fault: {file.Tag(1)}");
            probe.Unregister(stage.Task);
            file.Close();
        });
        Require(told, "the callback is not called");
        return Judge(!present);
    }
}

/// <summary>Claim 53.</summary>
internal sealed class EntryReadWithoutLock : Claim
{
    public override string Number => "53";
    public override string Name => "entry-read-without-lock";
    public override string Text => "using what an entry says without holding its lock is unsafe";
    public override string Source => "Alistair Popple, 19 July, and Jason Gunthorpe, 24 July 2023, udmabuf thread";
    public override Verdict Expected => Verdict.True;
    public override string Reason => "reclaim may free the page between the look and the use; the frame is somebody else's then";

    protected override Verdict Try(Evidence evidence)
    {
        Require(!Play(evidence, "a reference is taken under the lock (get_user_pages)", hold: true), "a page that is held is freed");
        return Judge(Play(evidence, "the entry is read, and nothing is held", hold: false));
    }

    private static bool Play(Evidence evidence, string title, bool hold)
    {
        bool freed = false;
        evidence.Stage(title, 1, stage =>
        {
            Task task = stage.Task;
            var file = new SharedFile(stage, 4);
            FrameTag seen = file.Tag(1);
            Span<Pfn> held = stackalloc Pfn[1];
            if (hold)
                Require(task.Mm.GetUserPages(task, file.PageAt(1), FollFlags.None, held) == 1, "the page cannot be taken");
            task.Mm.Madvise(task, file.PageAt(1), Pfn.Size, MADV_PAGEOUT);
            freed = stage.IsFreed(seen);
            stage.Evidence.Add($"the entry said {seen}; after reclaim the frame has generation {stage.Tag(seen.Frame).Generation}");
            if (hold)
                stage.Machine.Pages.Put(held[0]);
            Require(file.Read(1) == 'a', "the page's contents are lost");
            file.Close();
        }, static options => options with { SwapBytes = 64 << 20 });
        return freed;
    }
}
