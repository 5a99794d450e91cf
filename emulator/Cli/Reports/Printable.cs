using System.Globalization;
using System.Text;

namespace Emulator.Cli.Reports;

/// <summary>Names and texts that programs choose, for a terminal: nobody's name paints the screen, hides a row of a report or adds one.</summary>
internal static class Printable
{
    /// <summary>The text with each character that is an instruction to the terminal written as an escape; line feeds too, unless they are kept.</summary>
    public static string Of(string text, bool keepLines = false)
    {
        if (!text.Any(Escapes))
            return text;
        var result = new StringBuilder(text.Length + 16);
        foreach (char c in text)
            _ = Escapes(c) ? result.Append(c < 0x100 ? "\\x" : "\\u").Append(((int)c).ToString(c < 0x100 ? "x2" : "x4", CultureInfo.InvariantCulture)) : result.Append(c);
        return result.ToString();

        bool Escapes(char c) => IsCommand(c) && !(keepLines && c == '\n');
    }

    /// <summary>Whether a terminal would obey the character and not show it. The order of writing is such an instruction (U+202E and its like).</summary>
    public static bool IsCommand(char c) =>
        char.GetUnicodeCategory(c) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator;
}
