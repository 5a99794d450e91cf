using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;

namespace Emulator.Hardware.Smp;

/// <summary>An event that takes simulated cycles.</summary>
public enum Cost
{
    Instruction,
    TlbL2Hit,
    WalkReference,
    AccessedDirtyUpdate,
    PageFault,
    SystemCall,
    Invlpg,
    Invpcid,
    LoadCr3,
    LoadCr3NoFlush,
    IpiSend,
    IpiRoundTrip,
    IpiReceive,
    Invlpgb,
    TlbSync,
    Count,
}

/// <summary>
/// Simulated cycles for each event that is counted; <c>costs.json</c> beside this file has the numbers and where each is from. They are applied
/// to the counters when those are read: running costs nothing.
/// </summary>
public sealed class CostModel
{
    private const long Most = 1_000_000_000;

    private static readonly ImmutableArray<string> Keys =
    [
        "instruction", "tlb_l2_hit", "walk_reference", "accessed_dirty_update", "page_fault", "system_call", "invlpg", "invpcid", "load_cr3", "load_cr3_no_flush",
        "ipi_send", "ipi_round_trip", "ipi_receive", "invlpgb", "tlb_sync",
    ];

    private static readonly JsonDocumentOptions Options = new() { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true };

    private readonly ImmutableArray<long> _cycles;

    private CostModel(ImmutableArray<long> cycles) => _cycles = cycles;

    /// <summary>The numbers of <c>costs.json</c>.</summary>
    public static CostModel Default { get; } = LoadDefault();

    /// <summary>Cycles that an event takes.</summary>
    public ulong this[Cost cost] => (ulong)_cycles[(int)cost];

    /// <summary>This model with the numbers that a text of the form of <c>costs.json</c> has; it may have any part of them.</summary>
    /// <param name="error">Names the key that is wrong, or says where the text is no JSON.</param>
    public bool TryOverride(string json, out CostModel model, out string error)
    {
        model = this;
        error = "";
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(json, Options);
        }
        catch (JsonException e)
        {
            error = string.Create(CultureInfo.InvariantCulture, $"this is not JSON: line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}");
            return false;
        }
        using (document)
        {
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("costs", out JsonElement costs)
                || costs.ValueKind != JsonValueKind.Object)
            {
                error = "key 'costs' is missing, or no object";
                return false;
            }
            ImmutableArray<long>.Builder cycles = _cycles.ToBuilder();
            foreach (JsonProperty property in costs.EnumerateObject())
            {
                int at = Keys.IndexOf(property.Name);
                if (at < 0)
                {
                    error = $"key '{property.Name}' is unknown; the keys are {string.Join(", ", Keys)}";
                    return false;
                }
                if (property.Value.ValueKind != JsonValueKind.Object || !property.Value.TryGetProperty("cycles", out JsonElement value)
                    || value.ValueKind != JsonValueKind.Number || !value.TryGetInt64(out long number) || number is < 0 or > Most)
                {
                    error = $"key '{property.Name}': 'cycles' must be a whole number from 0 to {Most}";
                    return false;
                }
                cycles[at] = number;
            }
            model = new CostModel(cycles.ToImmutable());
            return true;
        }
    }

    private static CostModel LoadDefault()
    {
        using Stream stream = typeof(CostModel).Assembly.GetManifestResourceStream("costs.json") ?? throw new InvalidOperationException("costs.json is not in the assembly.");
        using var reader = new StreamReader(stream);
        var none = new CostModel([.. new long[(int)Cost.Count]]);
        return none.TryOverride(reader.ReadToEnd(), out CostModel model, out string error) ? model : throw new InvalidOperationException(error);
    }
}
