using Emulator.Hardware.Smp;

namespace Emulator.Claims.Mshare;

/// <summary>What claims 3 and 4 try: a sharer reads the page, is switched out and back, and reads again after the page was taken away and given to somebody else.</summary>
internal static class SwitchedOut
{
    /// <param name="evidence">Where it goes.</param>
    /// <param name="title">Of the case.</param>
    /// <param name="switchedOut">Whether somebody else runs on the sharer's vCPU when the page goes.</param>
    /// <param name="flush">What is done between the clearing of the entry and the freeing of the frame.</param>
    public static Sighting Try(Evidence evidence, string title, bool switchedOut, Action<LinkedTables, Actor, Vcpu> flush)
    {
        Sighting seen = default;
        evidence.Stage(title, 3, stage =>
        {
            var tables = new LinkedTables(stage, 2);
            Actor a = stage.Enter("A", 0, keepsRunning: !switchedOut), b = stage.Enter("B", 1, keepsRunning: true), stranger = stage.Enter("stranger", 2);
            tables.Link(a);
            tables.Link(b);
            FrameTag before = tables.Tag(0);
            if (switchedOut)
            {
                Actor other = stage.Enter("other", 0);
                other.Map(1);
                stage.Evidence.Add("A reads, then another process runs on vCPU 0");
            }
            stage.ResetCounters();
            tables.Remove(b, 0, self => flush(tables, a, self));
            stage.Count();
            Reuse.Take(stage, stranger, before);
            seen = a.Read(LinkedTables.Address(0), before);
            stage.Evidence.Add($"{seen}");
            tables.End();
        });
        return seen;
    }
}
