using System.Text;
using System.Text.Json;
using Emulator.Kernel.Tracing;

namespace Emulator.Cli.Reports;

/// <summary>The statistics as one JSON object on one line.</summary>
internal static class StatisticsJson
{
    public static string Write(Statistics s)
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartObject();
            json.WriteString("type", "statistics");
            json.WriteNumber("schema", Statistics.SchemaVersion);
            json.WriteString("program", s.Program);
            json.WriteStartObject("exit");
            json.WriteString("reason", s.Exit.Reason.ToString());
            json.WriteNumber("code", s.Exit.Code);
            json.WriteNumber("signal", s.Exit.Signal);
            json.WriteEndObject();
            json.WriteNumber("vcpus", s.Vcpus);
            json.WriteString("tlb", s.Tlb.ToString());
            json.WriteString("scheduler", s.Deterministic ? "deterministic" : "parallel");
            json.WriteNumber("seed", s.Seed);
            json.WriteStartObject("counters");
            foreach (Figure figure in s.Figures)
                json.WriteNumber(figure.Name, figure.Value);
            json.WriteEndObject();
            if (!s.Measured.IsEmpty)
            {
                json.WriteStartObject("measured");
                foreach (Figure figure in s.Measured)
                    json.WriteNumber(figure.Name, figure.Value);
                json.WriteEndObject();
            }
            json.WriteStartObject("per_vcpu");
            foreach (Figure figure in s.Figures)
            {
                if (figure.PerVcpu.IsDefaultOrEmpty)
                    continue;
                json.WriteStartArray(figure.Name);
                foreach (ulong value in figure.PerVcpu)
                    json.WriteNumberValue(value);
                json.WriteEndArray();
            }
            json.WriteEndObject();
            json.WriteNumber("tlb_l1_hit_rate", Math.Round(s.Level1HitRate, 6));
            json.WriteNumber("tlb_l2_hit_rate", Math.Round(s.Level2HitRate, 6));
            json.WriteStartObject("host");
            json.WriteNumber("seconds", Math.Round(s.HostSeconds, 6));
            json.WriteNumber("mips", Math.Round(s["cpu.instructions"] / s.HostSeconds / 1e6, 1));
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }
}
