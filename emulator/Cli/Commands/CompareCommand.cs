using System.Diagnostics;
using Emulator.Cli.Host;
using Emulator.Cli.Options;
using Emulator.Cli.Reports;
using Emulator.Kernel;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Shootdown.Policies;
using Emulator.Kernel.Tracing;

namespace Emulator.Cli.Commands;

/// <summary><c>emulator compare</c>: runs a program once for each flush policy, number of vCPUs and value of an argument, and ranks the policies by what that cost.</summary>
internal sealed class CompareCommand : GuestCommand
{
    private readonly Option<string?> _flush = new("--flush") { Description = "policies to compare; without it, all sound ones", HelpName = "NAME,..." };
    private readonly Option<string> _vcpus = new("--vcpus") { Description = "numbers of virtual CPUs to run with, 1 to 256", HelpName = "N,...", DefaultValueFactory = _ => "4" };
    private readonly Option<string?> _sweep = new("--sweep") { Description = "run with each value in place of {NAME} in the guest's arguments, or behind them", HelpName = "NAME=V1,V2,..." };
    private readonly Option<bool> _json = new("--json") { Description = "JSON instead of the table" };
    private readonly Option<bool> _csv = new("--csv") { Description = "CSV instead of the table" };
    private readonly Option<string?> _output = new("-o") { Description = "file for the result, instead of standard output", HelpName = "FILE" };
    private readonly Option<bool> _verbose = new("-v", "--verbose") { Description = "show the guest's output, and name each run, on standard error" };
    private readonly Option<string> _color = new("--color") { Description = "colour in the table: auto, always, never (NO_COLOR is respected)", HelpName = "WHEN", DefaultValueFactory = _ => "auto" };
    private readonly MachineSettings _settings = new(comparesUdmabuf: true);

    public CompareCommand() => Declare($"""
        Runs a program under each flush policy, always with the deterministic scheduler, and ranks the policies by simulated cycles. With --udmabuf MODE,MODE,...
        or --udmabuf all it compares designs of /dev/udmabuf, under the default flush policy or those of --flush.

        Usage: emulator compare [options] PROGRAM [ARGS...]

        Options end at PROGRAM. Two comparisons with the same seed give the same counts; the host's time stands apart. Counts are of the operations that the
        program marks (guests/include/guest/measure.h), or else of the whole run. Runs that fail are ranked last, with the reason, and make the status 1.

        Columns:
        {string.Join('\n', ComparisonColumns.All.Select(column => $"  {column.Header,-16}  {column.Help}"))}
        With --udmabuf:
        {string.Join('\n', ComparisonColumns.Buffers.Except(ComparisonColumns.All).Select(column => $"  {column.Header,-16}  {column.Help}"))}
        """, [_flush, _vcpus, _sweep, _json, _csv, _output, _verbose, _color, .. _settings.Options]);

    public override int Execute(ParseResult parsed, string[] args, int operands)
    {
        if (!_settings.TryReadUdmabuf(parsed, out IReadOnlyList<UdmabufOptions> designs, out bool comparesDesigns, out string error)
            || !TryRead(parsed, comparesDesigns, out List<string> policies, out List<int> vcpus, out Sweep? sweep, out error)
            || !_settings.TryRead(parsed, out MachineOptions options, out error)
            || !_settings.TryReadProgram(parsed, args, operands, out List<byte[]> argv, out List<byte[]> environment, out error))
            return CommandLine.UsageError(error);
        if (!TryOpen(parsed.GetValue(_output), out TextWriter? file, out error))
            return CommandLine.Failure(ExitCodes.OurFailure, error);
        using (new EndingSignals())
        using (file)
        using (FileStream nothing = File.Open("/dev/null", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite))
        {
            int silent = (int)nothing.SafeFileHandle.DangerousGetHandle(), errors = parsed.GetValue(_verbose) ? HostProcess.Inherited(2) : silent;
            options = options with { Deterministic = true, Stdin = silent, Stdout = errors, Stderr = errors };
            var rows = new List<ComparisonRow>();
            foreach (string? value in sweep?.Values ?? [null!])
            {
                foreach (int count in vcpus)
                {
                    foreach ((string policy, UdmabufOptions design) in policies.SelectMany(_ => designs, static (policy, design) => (policy, design)))
                    {
                        string? udmabuf = comparesDesigns ? design.Mode.Name : null;
                        if (parsed.GetValue(_verbose))
                            HostProcess.WriteError($"emulator: {policy}, {(udmabuf is null ? "" : $"{udmabuf}, ")}{count} vCPUs{(value is null ? "" : $", {sweep!.Name}={value}")}\n");
                        List<byte[]> arguments = sweep is null ? argv : sweep.Apply(argv, value!);
                        if (!TryRun(options with { Vcpus = count, FlushPolicy = policy, Udmabuf = design }, args[^operands], arguments, environment, out Statistics? statistics, out string? failure, out RunEnd end))
                            return end.Leave();
                        rows.Add(new ComparisonRow(policy, count, value, statistics!, failure) { Udmabuf = udmabuf });
                    }
                }
            }
            return file is not null ? Finish(file) : CommandLine.ToOutput("compare", () => Finish(Console.Out));

            int Finish(TextWriter output)
            {
                Write(parsed, ComparisonRow.Ranked(rows), sweep?.Name, output);
                return rows.Exists(row => row.Failure is not null) ? 1 : 0;
            }
        }
    }

    /// <summary>One run; false: there is no machine for it, or no program.</summary>
    /// <param name="end">How it ended.</param>
    private static bool TryRun(MachineOptions options, string program, List<byte[]> argv, List<byte[]> environment, out Statistics? statistics, out string? failure, out RunEnd end)
    {
        statistics = null;
        failure = null;
        try
        {
            using var machine = new Machine(options);
            long start = Stopwatch.GetTimestamp();
            ExitStatus status = machine.Run(program, argv, environment);
            statistics = machine.Statistics(program, status, Stopwatch.GetElapsedTime(start).TotalSeconds);
            failure = ComparisonRow.FailureOf(status, machine.Violations.Count);
            end = RunEnd.Of(status, program);
            return status.Reason != ExitReason.NotStarted;
        }
        catch (Exception e) when (e is IOException or OutOfMemoryException or ArgumentException)
        {
            end = RunEnd.NoMachine($"cannot make the machine: {e.Message}");
            return false;
        }
    }

    private void Write(ParseResult parsed, IReadOnlyList<ComparisonRow> rows, string? sweep, TextWriter output)
    {
        if (parsed.GetValue(_json))
            output.WriteLine(ComparisonText.Json(rows, sweep));
        else if (parsed.GetValue(_csv))
            output.Write(ComparisonText.Csv(rows, sweep));
        else
            ComparisonText.WriteTable(rows, sweep, output, new Palette(parsed.GetValue(_color)!, parsed.GetValue(_output) is null ? HostProcess.StandardOutput : -1));
    }

    private bool TryRead(ParseResult parsed, bool comparesDesigns, out List<string> policies, out List<int> vcpus, out Sweep? sweep, out string error)
    {
        sweep = null;
        vcpus = [];
        error = "";
        policies = [];
        if (parsed.GetValue(_flush) is not { } names)
        {
            policies.AddRange(SharedFlushPolicies.All.Where(policy => policy.IsSound).Take(comparesDesigns ? 1 : int.MaxValue).Select(policy => policy.Name));
        }
        else
        {
            foreach (string name in names.Split(','))
            {
                if (SharedFlushPolicies.Find(name) is null)
                    return MachineSettings.Wrong(out error, $"--flush {name}: the policies are {string.Join(", ", SharedFlushPolicies.All.Select(policy => policy.Name))}");
                policies.Add(name);
            }
        }
        if (!Sweep.TryParseVcpus(parsed.GetValue(_vcpus)!, MachineOptions.MaxVcpus, out vcpus))
            return MachineSettings.Wrong(out error, $"--vcpus {parsed.GetValue(_vcpus)}: give numbers from 1 to {MachineOptions.MaxVcpus}, for example 1,4,16");
        if (parsed.GetValue(_sweep) is { } text && (sweep = Sweep.Parse(text)) is null)
            return MachineSettings.Wrong(out error, $"--sweep {text}: write NAME=VALUE,VALUE,..., for example sharers=1,2,4");
        if (parsed.GetValue(_json) && parsed.GetValue(_csv))
            return MachineSettings.Wrong(out error, "--json and --csv: choose one");
        return Palette.IsChoice(parsed.GetValue(_color)) || MachineSettings.Wrong(out error, $"--color {parsed.GetValue(_color)}: give auto, always or never");
    }
}
