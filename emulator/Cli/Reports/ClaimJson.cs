using System.Text;
using System.Text.Json;
using Emulator.Claims;

namespace Emulator.Cli.Reports;

/// <summary>A claim, or what became of it, as one JSON object on one line.</summary>
internal static class ClaimJson
{
    public const int SchemaVersion = 1;

    public static string Write(Claim claim) => Write(claim, "claim", static _ => { });

    public static string Write(ClaimResult result) => Write(result.Claim, "claim-result", json =>
    {
        json.WriteString("verdict", ClaimReport.Word(result.Verdict));
        json.WriteBoolean("as_expected", result.IsAsExpected);
        json.WriteNumber("seed", result.Evidence.Seed);
        json.WriteStartArray("evidence");
        foreach (EvidenceCase seen in result.Evidence.Cases)
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
        json.WriteEndArray();
    });

    private static string Write(Claim claim, string type, Action<Utf8JsonWriter> more)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("type", type);
            json.WriteNumber("schema", SchemaVersion);
            json.WriteString("number", claim.Number);
            json.WriteString("name", claim.Name);
            json.WriteString("claim", claim.Text);
            json.WriteString("source", claim.Source);
            json.WriteString("expected", ClaimReport.Word(claim.Expected));
            json.WriteString("reason", claim.Reason);
            more(json);
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
