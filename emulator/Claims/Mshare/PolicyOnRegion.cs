namespace Emulator.Claims.Mshare;

/// <summary>
/// The same question put to msharefs itself: its flush policies include what was proposed, and this tries one on a region with sharers that run, one that is
/// switched out, and a page that finds a new owner.
/// </summary>
internal static class PolicyOnRegion
{
    /// <summary>Who can still read the page after it was unmapped for all: names of sharers, the initiator's among them.</summary>
    public static string Missed(Evidence evidence, string policy)
    {
        string missed = "";
        evidence.Stage($"msharefs with --flush {policy}", 5, stage =>
        {
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true);
            Actor c = stage.Enter("C", 2), other = stage.Enter("other", 2), stranger = stage.Enter("stranger", 3);
            Region region = Region.Make(a, 2);
            region.Attach(b);
            region.Attach(c);
            other.Map(1); // C is switched out.
            FrameTag before = Memory.Tag(stage, a.Mm, Region.Start);
            stage.ResetCounters();
            region.Remove(b, 0);
            stage.Count();
            Reuse.Take(stage, stranger, before);
            foreach (Actor sharer in (Actor[])[a, b, c])
            {
                Sighting seen = sharer.Read(Region.Start, before);
                stage.Evidence.Add($"{seen}");
                if (seen.Finding != Finding.Fault)
                    missed += sharer.Name;
            }
        }, options => options with { FlushPolicy = policy });
        return missed;
    }
}
