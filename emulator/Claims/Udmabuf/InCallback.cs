using System.Collections.Immutable;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Udmabuf;

/// <summary>What hmm_range_fault gives inside the callback.</summary>
internal enum Outcome
{
    OldPages,
    NewPages,
    Busy,
    Deadlock,
    Nothing,
}

/// <summary>
/// The thread's experiment: a memfd of 1024 pages, a buffer of four times four pages 256 pages apart, and a hole of 341 pages, which covers the first two of the four.
/// </summary>
internal static class InCallback
{
    private const int Pages = 1024, Hole = Pages / 3, Runs = 4, RunPages = 4;

    /// <summary>The set-ups that the claims compare, each with what comes of it.</summary>
    public static ImmutableArray<(string Title, Order Order, int Untouched, Outcome Expected)> All { get; } =
    [
        ("as posted: read_begin in the callback, no set_seq", Order.AsPosted, -1, Outcome.OldPages),
        ("as posted, one page of the hole never touched", Order.AsPosted, 2, Outcome.Deadlock),
        ("set_seq, and a number from before the change", Order.SampledBefore, -1, Outcome.Busy),
        ("set_seq, then read_begin", Order.SetThenBegin, -1, Outcome.Deadlock),
    ];

    /// <summary>Plays a set-up.</summary>
    /// <param name="evidence">For what is seen.</param>
    /// <param name="title">Of the case.</param>
    /// <param name="order">When the sequence number is read.</param>
    /// <param name="untouched">A page that is not there when the hole is punched; -1: none.</param>
    /// <param name="request">What hmm_range_fault is asked for.</param>
    /// <param name="retry">Whether read_retry said so after every call.</param>
    public static Outcome Play(Evidence evidence, string title, Order order, int untouched, HmmPfn request, out bool retry)
    {
        Outcome outcome = Outcome.Nothing;
        bool everyRetry = true;
        string? deadlock = evidence.StageUntilDeadlock(title, 1, stage =>
        {
            var file = new SharedFile(stage, Pages, untouched);
            AskingMirror[] mirrors = new AskingMirror[Runs];
            for (int run = 0; run < Runs; run++)
                mirrors[run] = AskingMirror.Insert(stage.Task, file.PageAt(run * (Pages / Runs)), RunPages * Pfn.Size, order, request);
            Pfn[] before = [.. Enumerable.Range(0, Pages).Select(page => file.TryWalk(page, out Pfn frame) ? frame : default)];
            file.Punch(stage.Task, 0, Hole);
            Answer[] answers = [.. mirrors.SelectMany(static m => m.Answers)];
            foreach (Answer answer in answers)
                stage.Evidence.Add($"hmm_range_fault of page {(answer.First - file.Address) >> Pfn.Shift}: {answer}; read_retry: {answer.Retry}");
            Claim.Require(answers.Length == 2, $"{answers.Length} callbacks asked, where the hole covers two runs");
            bool old = Array.TrueForAll(answers, answer => answer.Error == 0 && IsOld(answer, before, file.Address));
            if (old)
                stage.Evidence.Add($"the {answers.Sum(static a => a.Entries.Length)} frames are those that the hole takes away");
            outcome = old ? Outcome.OldPages : Array.TrueForAll(answers, static a => a.Error == -Kernel.Errno.EBUSY) ? Outcome.Busy : Outcome.NewPages;
            everyRetry = Array.TrueForAll(answers, static a => a.Retry);
            foreach (AskingMirror mirror in mirrors)
                mirror.Remove(stage.Task);
            file.Close();
            foreach (Violation violation in stage.Violations.Take().DistinctBy(static v => v.Rule, StringComparer.Ordinal))
                stage.Evidence.Add($"rule broken: {violation.Rule}");
        });
        retry = everyRetry;
        return deadlock is null ? outcome : Outcome.Deadlock;
    }

    /// <summary>Plays one of <see cref="All"/>.</summary>
    public static Outcome Play(Evidence evidence, int which, out bool retry)
    {
        (string title, Order order, int untouched, _) = All[which];
        return Play(evidence, title, order, untouched, HmmPfn.ReqFault, out retry);
    }

    private static bool IsOld(Answer answer, Pfn[] before, ulong address)
    {
        int first = (int)((answer.First - address) >> Pfn.Shift);
        for (int i = 0; i < answer.Entries.Length; i++)
        {
            if (HmmRange.FrameOf(answer.Entries[i]) != before[first + i] || !HmmRange.IsValid(answer.Entries[i]) || !HmmRange.IsWritable(answer.Entries[i]))
                return false;
        }
        return true;
    }
}
