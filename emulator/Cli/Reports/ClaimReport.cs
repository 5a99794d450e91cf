using System.Globalization;
using Emulator.Claims;
using Spectre.Console;

namespace Emulator.Cli.Reports;

/// <summary>Claims and what became of them, for people.</summary>
internal static class ClaimReport
{
    /// <summary>A line for each observation, however long: they are searched and compared.</summary>
    private const int Unwrapped = 10_000;

    public static void Write(ClaimResult result, TextWriter output, Palette palette, bool brief)
    {
        IAnsiConsole console = palette.Console(output, Unwrapped);
        Claim claim = result.Claim;
        string expected = result.IsAsExpected ? "as expected" : $"expected {Word(claim.Expected)}";
        console.Write(new Paragraph($"{claim.Number,4}  ").Append(Word(result.Verdict), Style(result.Verdict, claim.Expected)).Append($", {expected}: {claim.Name}\n"));
        if (brief && result.IsAsExpected)
            return;
        console.WriteLine($"      claim: {claim.Text} ({claim.Source})");
        console.WriteLine($"      because: {claim.Reason}");
        foreach (EvidenceCase seen in result.Evidence.Cases)
        {
            console.WriteLine($"      {seen.Title}:");
            foreach (string sentence in seen.Lines)
                console.WriteLine($"          {sentence}");
            if (seen.Counters.Count != 0)
                console.WriteLine($"          {string.Join(", ", seen.Counters.Select(static c => string.Create(CultureInfo.InvariantCulture, $"{c.Key} {c.Value:N0}")))}");
        }
        console.WriteLine();
    }

    public static void Summary(int count, int unexpected, TextWriter output, Palette palette) =>
        palette.Console(output, Unwrapped).WriteLine(string.Create(CultureInfo.InvariantCulture, $"{count} {(count == 1 ? "claim" : "claims")} tried, {count - unexpected} as expected, {unexpected} not"));

    public static string Word(Verdict verdict) => verdict.ToString().ToUpperInvariant();

    private static Style Style(Verdict verdict, Verdict expected) => new(verdict != expected ? Color.Red : verdict switch
    {
        Verdict.True => Color.Green,
        Verdict.Partly => Color.Yellow,
        _ => Color.Blue,
    });
}
