using System.Text;
using System.Text.Json;
using Emulator.Claims;

namespace Emulator.Cli.Reports;

/// <summary>What became of a claim as one JSON object on one line.</summary>
internal static class ClaimJson
{
    public const int SchemaVersion = 1;

    public static string Write(ClaimResult result)
    {
        Claim claim = result.Claim;
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("type", "claim-result");
            json.WriteNumber("schema", SchemaVersion);
            json.WriteString("number", claim.Number);
            json.WriteString("name", claim.Name);
            json.WriteString("claim", claim.Text);
            json.WriteString("source", claim.Source);
            json.WriteString("expected", ClaimReport.Word(claim.Expected));
            json.WriteString("reason", claim.Reason);
            json.WriteString("verdict", ClaimReport.Word(result.Verdict));
            json.WriteBoolean("as_expected", result.IsAsExpected);
            json.WriteNumber("seed", result.Evidence.Seed);
            json.WriteStartArray("evidence");
            foreach (EvidenceCase seen in result.Evidence.Cases)
                WriteCase(json, seen);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    private static void WriteCase(Utf8JsonWriter json, EvidenceCase seen)
    {
        json.WriteStartObject();
        json.WriteString("case", seen.Title);
        json.WriteStartArray("seen");
        foreach (string sentence in seen.Lines)
            json.WriteStringValue(sentence);
        json.WriteEndArray();
        json.WriteStartObject("counters");
        foreach ((string name, ulong value) in seen.Counters)
            json.WriteNumber(name, value);
        json.WriteEndObject();
        json.WriteEndObject();
    }
}
