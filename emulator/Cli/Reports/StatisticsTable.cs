using System.Globalization;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tracing;
using Spectre.Console;

namespace Emulator.Cli.Reports;

/// <summary>The statistics as a table: value, name, what it counts, and its share of a thousand instructions.</summary>
internal static class StatisticsTable
{
    public static void Write(Statistics s, IReadOnlyDictionary<ulong, long> unsupported, TextWriter output, Palette palette)
    {
        IAnsiConsole console = palette.Console(output, width: 160);
        ulong instructions = s["cpu.instructions"];
        Table table = new Table().Border(TableBorder.None).Expand();
        table.AddColumn(new TableColumn("value").RightAligned().NoWrap());
        table.AddColumn(new TableColumn("per 1000").RightAligned().NoWrap());
        table.AddColumn(new TableColumn("counter").NoWrap());
        table.AddColumn(new TableColumn("").NoWrap());
        foreach (Figure figure in s.Figures)
        {
            // What never happened is in the JSON; here it would only hide the rest.
            if (figure.Value == 0)
                continue;
            table.AddRow(figure.Value.ToString("N0", CultureInfo.InvariantCulture), PerThousand(figure.Value, instructions), figure.Name, Markup.Escape(figure.Help));
        }
        console.WriteLine();
        console.Write(table);
        console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"tlb hit rate: {s.Level1HitRate:P3} first level, {s.Level2HitRate:P3} of its misses second level; geometry {s.Tlb} on each of {s.Vcpus} vCPUs"));
        console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"host: {s.HostSeconds:F3} s, {instructions / s.HostSeconds / 1e6:F1} MIPS; {(s.Deterministic ? $"deterministic, seed {s.Seed}" : "parallel")}"));
        foreach ((ulong number, long count) in unsupported)
            console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"not implemented: {SyscallNames.Of(number)}, {count} times (ENOSYS)"));
    }

    private static string PerThousand(ulong value, ulong instructions)
        => instructions == 0 || value == instructions ? "" : (1000.0 * value / instructions).ToString("0.###", CultureInfo.InvariantCulture);
}
