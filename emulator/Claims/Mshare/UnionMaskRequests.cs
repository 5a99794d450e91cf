using Emulator.Hardware.Smp;

namespace Emulator.Claims.Mshare;

/// <summary>What claims 8 and 9 try: three sharers on three vCPUs, a fourth one switched out, and one request to the union of their cpumasks.</summary>
internal static class UnionMaskRequests
{
    /// <summary>Who is still wrong after the request: the names.</summary>
    public static string Missed(Evidence evidence, string title, Action<LinkedTables, Vcpu> flush)
    {
        string missed = "";
        evidence.Stage(title, 5, stage =>
        {
            var tables = new LinkedTables(stage, 2);
            Actor a = stage.Enter("A", 0, keepsRunning: true), b = stage.Enter("B", 1, keepsRunning: true), c = stage.Enter("C", 2, keepsRunning: true);
            Actor d = stage.Enter("D", 3), other = stage.Enter("other", 3), stranger = stage.Enter("stranger", 4);
            foreach (Actor sharer in (Actor[])[a, b, c, d])
                tables.Link(sharer);
            other.Map(1); // D is switched out.
            FrameTag before = tables.Tag(0);
            stage.ResetCounters();
            tables.Remove(c, 0, self => flush(tables, self));
            stage.Count();
            Reuse.Take(stage, stranger, before);
            foreach (Actor sharer in tables.Sharers)
            {
                Sighting seen = sharer.Read(LinkedTables.Address(0), before);
                stage.Evidence.Add($"{seen}");
                if (seen.Finding != Finding.Fault)
                    missed += sharer.Name;
            }
            tables.End();
        });
        return missed;
    }
}
