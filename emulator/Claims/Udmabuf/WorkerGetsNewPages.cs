using System.Collections.Immutable;
using Emulator.Hardware.Memory;
using Emulator.Claims.Notifiers;
using Emulator.Kernel;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Claims.Udmabuf;

/// <summary>Claim 45.</summary>
internal sealed class WorkerGetsNewPages : Claim
{
    public override string Number => "45";
    public override string Name => "worker-gets-new-pages";
    public override string Text => "a worker that calls hmm_range_fault a little after the callback gets the new pages";
    public override string Source => "Vivek Kasireddy, 28 August 2023, udmabuf thread";
    public override Verdict Expected => Verdict.Partly;

    public override string Reason =>
        "after the punch, yes, and between its two halves on shmem, whose faults wait for it; while the change is announced it gets the old pages, and on hugetlb also between "
        + "the halves. No delay makes it right: the sequence number tells";

    private const string AfterTitle = "after the punch";

    /// <summary>When the worker asks while the punch is under way, and with what callback.</summary>
    private static readonly ImmutableArray<(string Title, Order Order, bool AtEnd, bool Huge)> During =
    [
        ("while the change is announced, without set_seq", Order.Silent, false, false),
        ("while the change is announced, with set_seq", Order.DoNotAsk, false, false),
        ("between the halves of the punch, shmem", Order.DoNotAsk, true, false),
        ("between the halves of the punch, hugetlb, whose walk takes no lock in 6.1", Order.DoNotAsk, true, true),
    ];

    protected override Verdict Try(Evidence evidence)
    {
        Seen active = Play(evidence, During[0]);
        Require(active is { Finished: true, New: false }, "the worker does not get the old page while the change is announced");
        Seen waiting = Play(evidence, During[1]);
        Require(waiting is { Finished: false, New: true }, "the worker does not wait for the change");
        Seen gated = Play(evidence, During[2]);
        Require(gated is { Finished: false, New: true }, "shmem's fault does not wait for the punch");
        Seen open = Play(evidence, During[3]);
        Require(!open.New && open.Told, "hugetlb's old page is not found and taken away a second time");
        bool after = After(evidence);
        return Judge(after, open.New);
    }

    /// <summary>What a worker gets at each time, in a few words.</summary>
    internal static IEnumerable<string> Outcomes(Evidence evidence) =>
    [
        .. During.Select(when => $"{when.Title}: {Play(evidence, when)}"),
        $"{AfterTitle}: {(After(evidence) ? "succeeds, with new pages" : "succeeds, with the old pages")}",
    ];

    /// <summary>What came of the worker's call.</summary>
    /// <param name="Finished">It had its answer before the punch went on.</param>
    /// <param name="New">The page is another one than before.</param>
    /// <param name="Told">A second change was announced after its answer.</param>
    private readonly record struct Seen(bool Finished, bool New, bool Told)
    {
        public override string ToString() => $"{(Finished ? "" : "waits, then ")}succeeds, with {(New ? "new pages" : "the old pages")}{(Told ? ", which are announced a second time" : "")}";
    }

    /// <summary>Has the worker ask at a point of the punch.</summary>
    private static Seen Play(Evidence evidence, (string Title, Order Order, bool AtEnd, bool Huge) when)
    {
        (string title, Order order, bool atEnd, bool huge) = when;
        Seen seen = default;
        evidence.Stage(title, 2, stage =>
        {
            Task task = stage.Task;
            var file = new SharedFile(stage, 4, huge: huge);
            FrameTag before = file.Tag(1);
            AskingMirror mirror = AskingMirror.Insert(task, file.PageAt(1), Pfn.Size, order);
            Answer? answer = null;
            KernelThread? worker = null;
            bool finished = false;
            FrameTag given = default;
            int changes = 0, changesAtAnswer = 0;
            void Start()
            {
                worker ??= stage.Machine.Spawn(other =>
                {
                    // It takes the number as it is and does not wait in read_begin, so that it meets the locks of the punch.
                    answer = mirror.Ask(other, file.PageAt(1), file.PageAt(1) + Pfn.Size, huge ? mirror.Sequence : null);
                    changesAtAnswer = changes;
                    given = stage.Tag(HmmRange.FrameOf(answer.Entries[0]));
                }, task.Mm, "worker");
                for (int i = 0; i < 2000 && !worker.HasEnded; i++)
                    task.SpinOnce();
                finished |= worker.HasEnded;
            }
            var probe = new Probe
            {
                Start = (_, range) =>
                {
                    changes++;
                    if (!atEnd)
                        Start();
                },
                End = (_, range) =>
                {
                    if (atEnd)
                        Start();
                },
            };
            probe.Register(task, task.Mm);
            file.Punch(task, 1, 1);
            worker!.Join(task);
            bool isNew = answer!.Error == 0 && given != before;
            bool told = answer.Error == 0 && changes > changesAtAnswer;
            stage.Evidence.Add($"the worker's answer: {answer}, {(isNew ? "another page" : "the old page")}, {(finished ? "at once" : "after it had waited")}; {changes} changes announced, {changesAtAnswer} before the answer");
            if (!isNew)
                stage.Evidence.Add($"the page is {(stage.IsFreed(before) ? "freed by now: the answer was out of date" : "not freed yet")}");
            seen = new Seen(finished, isNew, told);
            probe.Unregister(task);
            mirror.Remove(task);
            file.Close();
            stage.Violations.Take();
        }, options => options with { HugePages = huge ? 16 : 0, Profile = huge ? KernelProfile.V6_1 : options.Profile });
        return seen;
    }

    private static bool After(Evidence evidence)
    {
        bool isNew = false;
        evidence.Stage(AfterTitle, 1, stage =>
        {
            var file = new SharedFile(stage, 4);
            FrameTag before = file.Tag(1);
            AskingMirror mirror = AskingMirror.Insert(stage.Task, file.PageAt(1), Pfn.Size, Order.DoNotAsk);
            file.Punch(stage.Task, 1, 1);
            Answer answer = mirror.Ask(stage.Task, file.PageAt(1), file.PageAt(1) + Pfn.Size);
            isNew = answer.Error == 0 && stage.IsFreed(before) && file.Read(1) == '\0';
            stage.Evidence.Add($"the answer: {answer}; the page reads as zeroes: {file.Read(1) == '\0'}");
            mirror.Remove(stage.Task);
            file.Close();
        });
        return isNew;
    }
}
