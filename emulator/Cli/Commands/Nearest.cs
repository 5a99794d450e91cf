namespace Emulator.Cli.Commands;

/// <summary>Finds what somebody meant to write.</summary>
internal static class Nearest
{
    /// <summary>What it costs to drop or replace a letter. To insert one costs 1: people leave out more than they put in.</summary>
    private const int Wrong = 3;

    private const int MostLetters = 64;

    /// <summary>The word that is the cheapest to come to, whatever the case.</summary>
    public static string To(string written, IEnumerable<string> words) => words.MinBy(word => Distance(written.ToUpperInvariant(), word.ToUpperInvariant()))!;

    /// <summary>Levenshtein's distance with these costs, row by row.</summary>
    private static int Distance(string written, string word)
    {
        int[] row = [.. Enumerable.Range(0, word.Length + 1)];
        for (int i = 0; i < Math.Min(written.Length, MostLetters); i++)
        {
            int diagonal = row[0];
            row[0] += Wrong;
            for (int j = 1; j <= word.Length; j++)
            {
                int replaced = diagonal + (written[i] == word[j - 1] ? 0 : Wrong);
                diagonal = row[j];
                row[j] = Math.Min(replaced, Math.Min(row[j] + Wrong, row[j - 1] + 1));
            }
        }
        return row[^1];
    }
}
