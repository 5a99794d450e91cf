using System.Diagnostics;
using System.Globalization;
using Emulator.Cli.Host;
using Emulator.Cli.Options;
using Emulator.Cli.Reports;
using Emulator.Kernel;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Reports;
using Emulator.Kernel.Shootdown.Policies;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tracing;

namespace Emulator.Cli.Commands;

/// <summary><c>emulator run</c>: makes a machine from the options, runs the program, and passes on how it ended.</summary>
internal sealed class RunCommand : GuestCommand
{
    private readonly Option<int> _vcpus = new("--vcpus") { Description = "virtual CPUs, 1 to 256", HelpName = "N", DefaultValueFactory = _ => 1 };
    private readonly Option<string> _scheduler = new("--sched") { Description = "parallel, or deterministic: the same seed gives the same run, bit for bit", HelpName = "NAME", DefaultValueFactory = _ => "parallel" };
    private readonly Option<string?> _flush = new("--flush") { Describe = static () => $"how changes of shared page tables reach TLBs; sound: {string.Join(", ", SharedFlushPolicies.All.Where(p => p.IsSound).Select(p => p.Name))}; broken, to see it: {string.Join(", ", SharedFlushPolicies.All.Where(p => !p.IsSound).Select(p => p.Name))}; by default the first, with --mshare-variant rfc-v3 host-mm-only", HelpName = "NAME" };
    private readonly Option<string?> _stats = new("--stats") { Description = "counters at the end, on standard error: a table, or --stats=json", HelpName = "table|json", ValueIsOptional = true };
    private readonly Option<string?> _output = new("-o") { Description = "file for --stats and --strace", HelpName = "FILE" };
    private readonly Option<string?> _statusFile = new("--status-file") { Description = "file for the reason why the run ended, as JSON", HelpName = "FILE" };
    private readonly Option<bool> _strace = new("--strace") { Description = "print system calls in strace's format" };
    private readonly Option<string> _unsupported = new("--unsupported") { Description = "at a system call that is not implemented: answer enosys, or fail to stop there with a report", HelpName = "enosys|fail", DefaultValueFactory = _ => "enosys" };
    private readonly Option<bool> _verbose = new("-v", "--verbose") { Description = "whole reports of all processes, and how the run ended" };
    private readonly Option<bool> _quiet = new("-q", "--quiet") { Description = "no reports" };
    private readonly Option<string> _color = new("--color") { Description = "colour in reports and tables: auto, always, never (NO_COLOR is respected)", HelpName = "WHEN", DefaultValueFactory = _ => "auto" };

    private readonly MachineSettings _settings = new();
    private readonly Func<MachineOptions, MachineOptions> _adjust;

    /// <summary>What is known of the run so far, for its end.</summary>
    private RunRecord _record = new(null, new RunFacts(false, 0, 0, []));
    private StatusFile? _file;

    /// <param name="adjust">The last word on a machine's options, for tests; null: none.</param>
    public RunCommand(Func<MachineOptions, MachineOptions>? adjust = null)
    {
        _adjust = adjust ?? (static options => options);
        Declare("""
            Runs Linux x86-64 programs on virtual CPUs with a software MMU and their own TLBs.

            Usage: emulator [run] [options] PROGRAM [ARGS...]
                   emulator compare [options] PROGRAM [ARGS...]
                   emulator claims list|run [options] [CLAIM...]
                   emulator list [options] [WHAT [FILTER]]
                   emulator explain [ID]

            Options end at PROGRAM; what follows is the guest's. The exit status is the guest's; 124 time-out, 125 our failure, 126 not executable, 127 not found.
            """, [_vcpus, .. _settings.Options, _scheduler, _flush, _stats, _output, _statusFile, _strace, _unsupported, _verbose, _quiet, _color]);
    }

    public override int Execute(ParseResult parsed, string[] args, int operands) => WithStatusFile(parsed, args, operands, () => Start(parsed, args, operands));

    public override int Refuse(ParseResult parsed, string[] args, int operands, string message) => WithStatusFile(parsed, args, operands, () => RunEnd.Usage(message));

    public override int? Fail(Report report)
    {
        RunEnd end = Fail(report, _record.Facts, new Palette("auto"));
        _file?.TryWrite(StatusJson.Write(_record, end), out _);
        return end.Leave();
    }

    /// <summary>Ends as the action says, with the reason in the status file.</summary>
    private int WithStatusFile(ParseResult parsed, string[] args, int operands, Func<RunEnd> action)
    {
        _record = new RunRecord(operands == 0 ? null : args[^operands], new RunFacts(true, 0, 0, ["emulator", .. args]));
        if (!StatusFile.TryCreate(parsed.GetValue(_statusFile), out _file, out string error))
            return CommandLine.Failure(ExitCodes.OurFailure, error);
        RunEnd end = action();
        return _file is null || _file.TryWrite(StatusJson.Write(_record, end), out error) ? end.Leave() : CommandLine.Failure(ExitCodes.OurFailure, error);
    }

    private RunEnd Start(ParseResult parsed, string[] args, int operands)
    {
        if (!TryRead(parsed, out MachineOptions options, out string error) || !_settings.TryReadProgram(parsed, args, operands, out List<byte[]> argv, out List<byte[]> environment, out error))
            return RunEnd.Usage(error);
        if (!TryOpen(parsed.GetValue(_output), out TextWriter? output, out error))
            return RunEnd.NoMachine(error);
        var facts = new RunFacts(options.Deterministic, options.Seed, options.Vcpus, ReplayLine.Words(args, operands, options.Deterministic, options.Seed));
        _record = _record with { Facts = facts };
        using (output)
            return Run(parsed, options, args[^operands], argv, environment, output ?? new ErrorWriter());
    }

    private RunEnd Run(ParseResult parsed, MachineOptions options, string program, List<byte[]> argv, List<byte[]> environment, TextWriter output)
    {
        var palette = new Palette(parsed.GetValue(_color)!);
        var renderer = new ReportRenderer(_record.Facts, palette);
        bool quiet = parsed.GetValue(_quiet), verbose = parsed.GetValue(_verbose);
        Machine machine;
        try
        {
            machine = new Machine(_adjust(options with
            {
                Trace = parsed.GetValue(_strace) ? new Strace(output) : null,
                KernelLog = quiet ? null : static line => HostProcess.WriteError(Printable.Of(line, keepLines: true) + "\n"),
                Report = quiet ? null : report => Show(report, verbose, renderer),
            }));
        }
        catch (Exception e) when (e is IOException or OutOfMemoryException or ArgumentException)
        {
            return RunEnd.NoMachine($"cannot make the machine: {e.Message}");
        }
        ExitStatus status;
        using (machine)
        {
            long start = Stopwatch.GetTimestamp();
            using (new HostSignals(machine))
                status = machine.Run(program, argv, environment);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            // Figures take time to gather, and few ask for them.
            Statistics? statistics = _file is not null || parsed.IsGiven(_stats) ? machine.Statistics(program, status, seconds) : null;
            _record = _record with { Statistics = statistics, Seconds = seconds, Findings = machine.Violations.All, UnknownSyscalls = machine.UnknownSyscalls };
            if (parsed.IsGiven(_stats) && statistics is not null)
            {
                if ("json".Equals(parsed.GetValue(_stats), StringComparison.Ordinal))
                    output.WriteLine(StatisticsJson.Write(statistics));
                else
                    StatisticsTable.Write(statistics, machine.UnknownSyscalls, output, palette);
            }
            ReportViolations(machine.Violations, palette);
        }
        if (verbose)
            HostProcess.WriteError(palette.Dim($"emulator: {Printable.Of(program)}: {RunEnd.Describe(status)}") + "\n");
        // The machine has shown what its tasks did; what ended the machine itself is left.
        if (status.Report is { Kind: ReportKind.OwnBug } bug)
            return Fail(bug, _record.Facts, palette);
        if (status is { Reason: ExitReason.Unsupported, Report: { } unsupported })
            HostProcess.WriteError(renderer.Render(unsupported));
        return RunEnd.Of(status, program);
    }

    /// <summary>
    /// Shows a report when it arises. Crashes of children are their parents' business, as on Linux; a system call that is not implemented is answered as by an older
    /// kernel, which most programs expect.
    /// </summary>
    private static void Show(Report report, bool verbose, ReportRenderer renderer)
    {
        if (report.Kind == ReportKind.UnsupportedSyscall && !verbose)
            HostProcess.WriteError(ReportRenderer.Brief(report));
        else if (report.Kind != ReportKind.GuestCrash || report.IsMain || verbose)
            HostProcess.WriteError(renderer.Render(report));
    }

    /// <summary>Rules of the kernel's own interfaces that were broken: never the guest's fault, and never to be hidden.</summary>
    private void ReportViolations(Violations violations, Palette palette)
    {
        const int most = 20;
        foreach (Violation violation in violations.All.Take(most))
            HostProcess.WriteError(palette.Mark($"emulator: {Printable.Of(violation.ToString(), keepLines: true)}") + "\n");
        if (violations.Count > most)
            HostProcess.WriteError(string.Create(CultureInfo.InvariantCulture, $"emulator: {violations.Count - most} more broken rules\n"));
        foreach (string id in violations.All.Select(static v => Diagnostics.Of(v).Id).Distinct(StringComparer.Ordinal))
            HostProcess.WriteError($"emulator: more: emulator explain {id}\n");
        if (violations.Count > 0)
            HostProcess.WriteError($"emulator: replay: {_record.Facts.ReplayLine}\n");
    }

    private bool TryRead(ParseResult parsed, out MachineOptions options, out string error)
    {
        options = new MachineOptions();
        int vcpus = parsed.GetValue(_vcpus);
        if (vcpus is < 1 or > MachineOptions.MaxVcpus)
            return MachineSettings.Wrong(out error, $"--vcpus {vcpus}: a machine has 1 to {MachineOptions.MaxVcpus} vCPUs");
        string scheduler = parsed.GetValue(_scheduler)!;
        if (scheduler is not ("parallel" or "deterministic"))
            return MachineSettings.Wrong(out error, $"--sched {scheduler}: the schedulers are parallel and deterministic");
        string? flush = parsed.GetValue(_flush);
        if (flush is not null && SharedFlushPolicies.Find(flush) is null)
            return MachineSettings.Wrong(out error, $"--flush {flush}: the policies are {string.Join(", ", SharedFlushPolicies.All.Select(p => p.Name))}");
        string unsupported = parsed.GetValue(_unsupported)!;
        if (unsupported is not ("enosys" or "fail"))
            return MachineSettings.Wrong(out error, $"--unsupported {unsupported}: give enosys or fail");
        if (!Palette.IsChoice(parsed.GetValue(_color)))
            return MachineSettings.Wrong(out error, $"--color {parsed.GetValue(_color)}: give auto, always or never");
        if (parsed.IsGiven(_stats) && parsed.GetValue(_stats) is not (null or "table" or "json"))
            return MachineSettings.Wrong(out error, $"--stats={parsed.GetValue(_stats)}: give table or json");
        if (!_settings.TryRead(parsed, out options, out error))
            return false;
        options = options with
        {
            FlushPolicy = flush,
            Vcpus = vcpus,
            Deterministic = scheduler.Equals("deterministic", StringComparison.Ordinal),
            FailOnUnsupported = unsupported.Equals("fail", StringComparison.Ordinal),
            Stdin = HostProcess.Inherited(0),
            Stdout = HostProcess.Inherited(1),
            Stderr = HostProcess.Inherited(2),
        };
        return true;
    }
}
