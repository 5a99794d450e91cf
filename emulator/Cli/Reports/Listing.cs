using System.Text;
using System.Text.Json;

namespace Emulator.Cli.Reports;

/// <summary>A column of a listing.</summary>
/// <param name="Name">In JSON, and above the table.</param>
/// <param name="InTable">False: too long for the table; in JSON alone.</param>
internal sealed record ListingColumn(string Name, bool InTable = true);

/// <summary>Something that the emulator has many of, with a row for each.</summary>
/// <param name="Name">As the command line names it.</param>
/// <param name="Type">A row's type in JSON.</param>
/// <param name="Help">What the rows are.</param>
/// <param name="Rows">Makes them: texts, numbers, truth values and lists of texts.</param>
internal sealed record Listing(string Name, string Type, string Help, IReadOnlyList<ListingColumn> Columns, Func<IEnumerable<object[]>> Rows)
{
    public const int SchemaVersion = 1;

    /// <summary>The rows that have a text in any cell, in whatever case.</summary>
    public IEnumerable<object[]> Matching(string? filter) =>
        filter is null ? Rows() : Rows().Where(row => row.Any(cell => Text(cell).Contains(filter, StringComparison.OrdinalIgnoreCase)));

    /// <summary>A row of the table.</summary>
    public string[] ForTable(object[] row) => [.. row.Where((_, i) => Columns[i].InTable).Select(Text)];

    /// <summary>A row as a JSON object on one line.</summary>
    public string Json(object[] row)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("type", Type);
            json.WriteNumber("schema", SchemaVersion);
            for (int i = 0; i < row.Length; i++)
            {
                json.WritePropertyName(Columns[i].Name);
                Write(json, row[i]);
            }
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    private static void Write(Utf8JsonWriter json, object cell)
    {
        switch (cell)
        {
            case bool truth:
                json.WriteBooleanValue(truth);
                break;
            case int number:
                json.WriteNumberValue(number);
                break;
            case string[] texts:
                json.WriteStartArray();
                foreach (string text in texts)
                    json.WriteStringValue(text);
                json.WriteEndArray();
                break;
            default:
                json.WriteStringValue(Text(cell));
                break;
        }
    }

    private static string Text(object cell) => cell switch
    {
        bool truth => truth ? "yes" : "no",
        string[] texts => string.Join(", ", texts),
        _ => Convert.ToString(cell, System.Globalization.CultureInfo.InvariantCulture)!,
    };
}
