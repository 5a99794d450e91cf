using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Spectre.Console;

namespace Emulator.Cli.Reports;

/// <summary>A comparison as a table for people and as JSON and CSV for programs.</summary>
internal static class ComparisonText
{
    /// <summary>Enough for every column.</summary>
    private const int Width = 240;

    /// <param name="sweep">The name of the argument that is swept, or null.</param>
    public static void WriteTable(IReadOnlyList<ComparisonRow> rows, string? sweep, TextWriter output, Palette palette)
    {
        IAnsiConsole console = palette.Console(output, Width);
        bool manyVcpus = rows.Select(row => row.Vcpus).Distinct().Skip(1).Any();
        bool designs = rows is [{ Udmabuf: not null }, ..];
        Table table = new Table().Border(TableBorder.Simple);
        if (sweep is not null)
            table.AddColumn(Right(sweep));
        if (manyVcpus)
            table.AddColumn(Right("vCPUs"));
        table.AddColumn(Right("rank")).AddColumn(new TableColumn("flush").NoWrap());
        if (designs)
            table.AddColumn(new TableColumn("udmabuf").NoWrap());
        foreach (ComparisonColumn column in ComparisonColumns.For(rows))
            table.AddColumn(Right(column.Header));
        table.AddColumn(Right("host s"));
        table.AddColumn(new TableColumn("").NoWrap());
        foreach (ComparisonRow row in rows)
        {
            var cells = new List<string>();
            if (sweep is not null)
                cells.Add(Markup.Escape(row.Value ?? ""));
            if (manyVcpus)
                cells.Add(row.Vcpus.ToString(CultureInfo.InvariantCulture));
            cells.Add(row.Failure is null ? row.Rank.ToString(CultureInfo.InvariantCulture) : "-");
            cells.Add(Markup.Escape(row.Flush));
            if (designs)
                cells.Add(row.Udmabuf!);
            cells.AddRange(ComparisonColumns.For(rows).Select(column => column.Value(row).ToString("N0", CultureInfo.InvariantCulture)));
            cells.Add($"[dim]{row.Statistics.HostSeconds.ToString("F2", CultureInfo.InvariantCulture)}[/]");
            cells.Add(row.Failure is { } failure ? $"[red]{Markup.Escape(failure)}[/]" : "");
            table.AddRow([.. cells]);
        }
        console.Write(table);
    }

    public static string Json(IReadOnlyList<ComparisonRow> rows, string? sweep)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteString("type", "comparison");
            json.WriteNumber("schema", 1);
            json.WriteString("sweep", sweep);
            json.WriteStartArray("rows");
            foreach (ComparisonRow row in rows)
            {
                json.WriteStartObject();
                json.WriteString("flush", row.Flush);
                if (row.Udmabuf is { } udmabuf)
                    json.WriteString("udmabuf", udmabuf);
                json.WriteNumber("vcpus", row.Vcpus);
                json.WriteString("value", row.Value);
                json.WriteNumber("rank", row.Rank);
                json.WriteString("failure", row.Failure);
                json.WriteBoolean("measured_part", !row.Statistics.Measured.IsEmpty);
                json.WriteStartObject("counts");
                foreach (ComparisonColumn column in ComparisonColumns.For(rows))
                    json.WriteNumber(column.Name, column.Value(row));
                json.WriteEndObject();
                json.WriteStartObject("host");
                json.WriteNumber("seconds", Math.Round(row.Statistics.HostSeconds, 6));
                json.WriteEndObject();
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    /// <summary>One line a run, the host's time last (RFC 4180, with line feeds).</summary>
    public static string Csv(IReadOnlyList<ComparisonRow> rows, string? sweep)
    {
        var text = new StringBuilder();
        ImmutableArray<ComparisonColumn> columns = ComparisonColumns.For(rows);
        bool designs = rows is [{ Udmabuf: not null }, ..];
        text.AppendJoin(',', ["flush", "vcpus", Quoted(sweep ?? "value"), "rank", "failure", .. columns.Select(column => column.Name), .. designs ? ["udmabuf"] : Array.Empty<string>(), "host_seconds"]).Append('\n');
        foreach (ComparisonRow row in rows)
        {
            text.AppendJoin(',',
            [
                row.Flush, row.Vcpus.ToString(CultureInfo.InvariantCulture), Quoted(row.Value ?? ""), row.Rank.ToString(CultureInfo.InvariantCulture), row.Failure ?? "",
                .. columns.Select(column => column.Value(row).ToString(CultureInfo.InvariantCulture)), .. designs ? [row.Udmabuf!] : Array.Empty<string>(),
                row.Statistics.HostSeconds.ToString("F6", CultureInfo.InvariantCulture),
            ]).Append('\n');
        }
        return text.ToString();
    }

    private static TableColumn Right(string header) => new TableColumn(Markup.Escape(header)).RightAligned().NoWrap();

    private static string Quoted(string text) => text.AsSpan().ContainsAny(",\"\n") ? $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : text;
}
