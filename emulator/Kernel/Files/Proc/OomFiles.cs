using System.Globalization;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files.Proc;

/// <summary>/proc/PID/oom_score, oom_score_adj and the old oom_adj (fs/proc/base.c).</summary>
internal sealed class OomFiles(Process process)
{
    private const int OldDisable = -17, OldMinimum = -16, OldMaximum = 15;

    public string Score(Task reader) => Line(process.Machine.OomKiller.Score(process));

    public string ScoreAdj(Task reader) => Line(process.Oom.ScoreAdj);

    public string OldAdj(Task reader)
    {
        int adj = process.Oom.ScoreAdj;
        return Line(adj == OomState.ScoreAdjMax ? OldMaximum : Math.Min(OldMaximum, adj * -OldDisable / OomState.ScoreAdjMax));
    }

    public long SetScoreAdj(Task writer, string text)
    {
        if (!TryParse(text, out int adj) || adj is < OomState.ScoreAdjMin or > OomState.ScoreAdjMax)
            return -Errno.EINVAL;
        // Nobody here has CAP_SYS_RESOURCE.
        return adj < process.Oom.ScoreAdjMinimum ? -Errno.EACCES : Set(adj);
    }

    public long SetOldAdj(Task writer, string text)
    {
        if (!TryParse(text, out int adj) || adj is (< OldMinimum or > OldMaximum) and not OldDisable)
            return -Errno.EINVAL;
        adj = adj == OldMaximum ? OomState.ScoreAdjMax : adj * OomState.ScoreAdjMax / -OldDisable;
        return adj < process.Oom.ScoreAdj ? -Errno.EACCES : Set(adj);
    }

    /// <summary>__set_oom_adj: those who share the memory share the fate.</summary>
    private long Set(int adj)
    {
        process.Oom.ScoreAdj = adj;
        Mm? mm = MmOf(process);
        foreach (Process other in process.Machine.Processes.Snapshot())
        {
            if (mm is not null && other != process && MmOf(other) == mm)
                other.Oom.ScoreAdj = adj;
        }
        return 0;
    }

    private static Mm? MmOf(Process process)
    {
        lock (process.SignalLock)
            return process.Threads.Count == 0 ? null : process.Threads[0].Mm;
    }

    private static bool TryParse(string text, out int value) =>
        int.TryParse(text.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value);

    private static string Line(long value) => value.ToString(CultureInfo.InvariantCulture) + "\n";
}
