using System.Globalization;
using System.Text;
using System.Text.Json;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Reports;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tracing;

namespace Emulator.Cli.Reports;

/// <summary>What is known of a run when it has ended; what the run did not come to is empty.</summary>
internal sealed record RunRecord(string? Program, RunFacts Facts)
{
    public Statistics? Statistics { get; init; }

    public double Seconds { get; init; }

    /// <summary>What --check, --lockdep and the kernel's own interfaces have found.</summary>
    public IReadOnlyList<Violation> Findings { get; init; } = [];

    public IReadOnlyDictionary<ulong, long> UnknownSyscalls { get; init; } = new Dictionary<ulong, long>();
}

/// <summary>The status file: why a run ended, as one JSON object. ARCHITECTURE.md has the schema.</summary>
internal static class StatusJson
{
    /// <summary>Raised when a name or meaning changes.</summary>
    public const int SchemaVersion = 1;

    private const int MostFindings = 100;

    public static string Write(RunRecord run, RunEnd end)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("type", "status");
            json.WriteNumber("schema", SchemaVersion);
            json.WriteString("cause", end.Cause);
            json.WriteString("id", end.Id ?? (run.Findings.Count > 0 ? Diagnostics.Of(run.Findings[0]).Id : null));
            json.WriteNumber("exit_code", end.ExitCode);
            json.WriteString("signal", end.Signal == 0 ? null : SignalText.Name(end.Signal));
            json.WriteString("message", end.Message);
            json.WriteString("program", run.Program);
            WritePlace(json, end.Report);
            WriteFindings(json, run);
            json.WriteStartObject("unsupported_syscalls");
            foreach ((ulong number, long count) in run.UnknownSyscalls)
                json.WriteNumber(SyscallNames.Of(number), count);
            json.WriteEndObject();
            json.WriteNumber("vcpus", run.Facts.Vcpus);
            json.WriteString("scheduler", run.Facts.Deterministic ? "deterministic" : "parallel");
            json.WriteNumber("seed", run.Facts.Seed);
            json.WriteNumber("instructions", run.Statistics?["cpu.instructions"] ?? 0);
            json.WriteNumber("syscalls", run.Statistics?["kernel.syscalls"] ?? 0);
            json.WriteNumber("seconds", Math.Round(run.Seconds, 6));
            json.WriteStartArray("replay");
            foreach (string word in run.Facts.Replay)
                json.WriteStringValue(word);
            json.WriteEndArray();
            json.WriteString("details", end.Details);
            json.WriteString("failure", end.Report?.Failure?.ToString());
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray()) + "\n";
    }

    private static void WritePlace(Utf8JsonWriter json, Report? report)
    {
        if (report is null || report.Tid == 0)
        {
            json.WriteNull("at");
            return;
        }
        json.WriteStartObject("at");
        json.WriteString("task", report.Command);
        json.WriteNumber("pid", report.Pid);
        json.WriteNumber("tid", report.Tid);
        json.WriteNumber("vcpu", report.Vcpu);
        json.WriteString("rip", string.Create(CultureInfo.InvariantCulture, $"0x{report.Rip:x}"));
        json.WriteString("symbol", report.Location?.Symbol);
        json.WriteString("file", report.Location?.File);
        json.WriteNumber("instruction", report.Instructions);
        json.WriteEndObject();
    }

    private static void WriteFindings(Utf8JsonWriter json, RunRecord run)
    {
        json.WriteStartArray("findings");
        foreach (Violation finding in run.Findings.Take(MostFindings))
        {
            json.WriteStartObject();
            json.WriteString("id", Diagnostics.Of(finding).Id);
            json.WriteString("rule", finding.Rule);
            json.WriteString("task", finding.Task);
            json.WriteString("text", finding.Text);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }
}
