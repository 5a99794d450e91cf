using Emulator.Kernel.Memory;

namespace Emulator.Claims.Notifiers;

/// <summary>Claim 38.</summary>
internal sealed class EndMeansFreed : Claim
{
    public override string Number => "38";

    public override string Name => "end-means-freed";

    public override string Text => "at invalidate_range_end the pages of the range have been freed";

    public override string Source => "include/linux/mmu_notifier.h";

    public override Verdict Expected => Verdict.Partly;

    public override string Reason => "mmu_gather frees after the end, unless it was full before";

    protected override Verdict Try(Evidence evidence)
    {
        bool small = IsFreedAtEnd(evidence, "one page", 1);
        bool large = IsFreedAtEnd(evidence, "10,500 pages, more than a gather holds", 10_500);
        return Judge(small, large);
    }

    private static bool IsFreedAtEnd(Evidence evidence, string title, int pages)
    {
        bool freed = false;
        evidence.Stage(title, 1, stage =>
        {
            Task task = stage.Task;
            Mm mm = task.Mm;
            ulong at = Memory.Fill(task, pages);
            FrameTag first = Memory.Tag(stage, mm, at);
            var probe = new Probe
            {
                End = (_, _) =>
                {
                    freed = stage.IsFreed(first);
                    stage.Evidence.Add($"at the end event {first} of the first page is {(freed ? "free" : "not free yet")}");
                },
            };
            probe.Register(task, mm);
            mm.Munmap(task, at, (ulong)pages << 12);
            probe.Unregister(task);
            Require(stage.IsFreed(first), "the page is never freed");
            stage.Evidence.Add("after munmap it is free");
            stage.Count();
        });
        return freed;
    }
}
