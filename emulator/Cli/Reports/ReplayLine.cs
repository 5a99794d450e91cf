namespace Emulator.Cli.Reports;

/// <summary>The command that shows again what a run has shown.</summary>
internal static class ReplayLine
{
    /// <param name="args">Our own arguments, as they were given.</param>
    /// <param name="deterministic">A parallel run has no replay: the line looks for a seed that shows the same.</param>
    public static string Write(string[] args, bool deterministic)
    {
        IEnumerable<string> words = args.SkipWhile(static a => a.Equals("run", StringComparison.Ordinal)).Select(Quote);
        return deterministic
            ? $"replay: emulator run {string.Join(' ', words)}"
            : $"replay: a parallel run does not repeat itself; look for a seed: for s in $(seq 100); do emulator run --sched deterministic --seed $s {string.Join(' ', words)}; done";
    }

    /// <summary>As a shell reads it back.</summary>
    private static string Quote(string word) =>
        word.Length > 0 && word.All(static c => char.IsAsciiLetterOrDigit(c) || "-_=+,./:@%".Contains(c, StringComparison.Ordinal))
            ? word
            : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
