using System.Collections.Immutable;
using Emulator.Kernel;
using Emulator.Kernel.Tracing;

namespace Emulator.Cli.Reports;

/// <summary>One run of a comparison.</summary>
/// <param name="Value">The value of the argument that is swept, or null.</param>
/// <param name="Failure">How the guest failed, in a few words; null: it did not.</param>
internal sealed record ComparisonRow(string Flush, int Vcpus, string? Value, Statistics Statistics, string? Failure)
{
    /// <summary>The design of /dev/udmabuf; null: designs are not compared.</summary>
    public string? Udmabuf { get; init; }

    /// <summary>1: the best of those that ran with as many vCPUs and the same value.</summary>
    public int Rank { get; init; }

    /// <summary>The fewest TLB misses in that group.</summary>
    public ulong FewestMisses { get; init; }

    /// <summary>A count of the parts that the program has marked, or of the whole run.</summary>
    public ulong OfPart(string figure) => Statistics.OfPart(figure).Value;

    /// <summary>A count of the whole run.</summary>
    public ulong this[string figure] => Statistics[figure];

    /// <summary>
    /// Orders the rows: groups as they ran, in each the runs that failed last, the others by simulated cycles in total, then by those of the
    /// operation, then by name.
    /// </summary>
    public static ImmutableArray<ComparisonRow> Ranked(IEnumerable<ComparisonRow> rows) =>
    [
        .. rows.GroupBy(row => (row.Value, row.Vcpus)).SelectMany(group =>
        {
            ulong fewest = group.Where(row => row.Failure is null).Select(row => row["tlb.l2_misses"]).DefaultIfEmpty().Min();
            return group.OrderBy(row => row.Failure is not null).ThenBy(row => row["cycles.total"]).ThenBy(ComparisonColumns.OperationCycles)
                .ThenBy(row => row.Flush, StringComparer.Ordinal).ThenBy(row => row.Udmabuf, StringComparer.Ordinal).Select((row, i) => row with { Rank = i + 1, FewestMisses = fewest });
        }),
    ];

    /// <summary>How a program's end is told in a cell; null: well.</summary>
    public static string? FailureOf(ExitStatus status, long violations) => status.Reason switch
    {
        ExitReason.Exited when status.Code != 0 => $"exit {status.Code}",
        ExitReason.Exited => violations == 0 ? null : $"{violations} broken rules",
        ExitReason.Signaled => SignalText.Name(status.Signal),
        ExitReason.TimedOut or ExitReason.InstructionLimit => "time-out",
        ExitReason.Deadlock => "deadlock",
        ExitReason.NotStarted => "not started",
        _ => "emulator failed",
    };
}
