using System.Globalization;
using System.Text;

namespace Emulator.Cli.Reports;

/// <summary>The command that shows again what a run has shown.</summary>
internal static class ReplayLine
{
    /// <summary>The words of the command. A parallel run has no seed: the words are of a deterministic one.</summary>
    /// <param name="args">Our own arguments, as they were given.</param>
    /// <param name="operands">How many of them, at the end, are the program and its own.</param>
    public static IReadOnlyList<string> Words(string[] args, int operands, bool deterministic, ulong seed)
    {
        List<string> options = [.. args[..^operands]];
        if (options is ["run", ..])
            options.RemoveAt(0);
        if (!deterministic)
            Remove(options, "--sched");
        IEnumerable<string> added = deterministic ? [] : ["--sched", "deterministic"];
        if (!options.Exists(static o => o.StartsWith("--seed", StringComparison.Ordinal)))
            added = added.Append("--seed").Append(seed.ToString(CultureInfo.InvariantCulture));
        return ["emulator", "run", .. added, .. options, .. args[^operands..]];
    }

    /// <param name="words">The command.</param>
    /// <param name="deterministic">Whether the run was; else it says that this is no promise.</param>
    public static string Write(IReadOnlyList<string> words, bool deterministic) =>
        $"{string.Join(' ', words.Select(Quote))}{(deterministic ? "" : "  # the run was parallel: if this one differs, try other seeds")}";

    private static void Remove(List<string> options, string name)
    {
        int at;
        while ((at = options.FindIndex(o => o.Equals(name, StringComparison.Ordinal))) >= 0)
            options.RemoveRange(at, Math.Min(2, options.Count - at));
        options.RemoveAll(o => o.StartsWith(name + "=", StringComparison.Ordinal));
    }

    /// <summary>As a shell reads it back; what a terminal would obey, as bytes in the form of bash.</summary>
    private static string Quote(string word) =>
        word.Any(Printable.IsCommand) ? $"$'{string.Concat(word.Select(Escape))}'"
        : word.Length > 0 && word.All(static c => char.IsAsciiLetterOrDigit(c) || "-_=+,./:@%".Contains(c, StringComparison.Ordinal))
            ? word
            : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    private static string Escape(char c) => c is '\'' or '\\' ? $"\\{c}"
        : Printable.IsCommand(c) ? string.Concat(Encoding.UTF8.GetBytes([c]).Select(static b => string.Create(CultureInfo.InvariantCulture, $"\\x{b:x2}")))
        : c.ToString();
}
