using System.Diagnostics;
using System.Globalization;
using Emulator.Cli.Host;
using Emulator.Cli.Options;
using Emulator.Cli.Reports;
using Emulator.Kernel;
using Emulator.Kernel.Notifiers;
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
    private readonly Option<bool> _strace = new("--strace") { Description = "print system calls in strace's format" };
    private readonly Option<string> _unsupported = new("--unsupported") { Description = "at an unknown system call: enosys, or fail to stop there", HelpName = "enosys|fail", DefaultValueFactory = _ => "enosys" };
    private readonly Option<bool> _verbose = new("-v", "--verbose") { Description = "name unknown system calls and tell how the run ended" };
    private readonly Option<bool> _quiet = new("-q", "--quiet") { Description = "no crash report" };
    private readonly Option<string> _color = new("--color") { Description = "colour in reports and tables: auto, always, never (NO_COLOR is respected)", HelpName = "WHEN", DefaultValueFactory = _ => "auto" };

    private readonly MachineSettings _settings = new();

    public RunCommand() => Declare("""
        Runs Linux x86-64 programs on virtual CPUs with a software MMU and their own TLBs.

        Usage: emulator [run] [options] PROGRAM [ARGS...]
               emulator compare [options] PROGRAM [ARGS...]
               emulator claims list|run [options] [CLAIM...]

        Options end at PROGRAM; what follows is the guest's. The exit status is the guest's; 124 time-out, 125 our failure, 126 not executable, 127 not found.
        """, [_vcpus, .. _settings.Options, _scheduler, _flush, _stats, _output, _strace, _unsupported, _verbose, _quiet, _color]);

    public override int Execute(ParseResult parsed, string[] args, int operands)
    {
        if (!TryRead(parsed, out MachineOptions options, out string error) || !_settings.TryReadProgram(parsed, args, operands, out List<byte[]> argv, out List<byte[]> environment, out error))
            return CommandLine.UsageError(error);
        if (!TryOpen(parsed.GetValue(_output), out TextWriter? output, out error))
            return CommandLine.Failure(ExitCodes.OurFailure, error);
        using (output)
            return Run(parsed, options, args, args[^operands], argv, environment, output ?? new ErrorWriter());
    }

    private int Run(ParseResult parsed, MachineOptions options, string[] args, string program, List<byte[]> argv, List<byte[]> environment, TextWriter output)
    {
        var palette = new Palette(parsed.GetValue(_color)!);
        Machine machine;
        try
        {
            bool quiet = parsed.GetValue(_quiet);
            machine = new Machine(options with { Trace = Tracer(parsed, output), KernelLog = quiet ? null : static line => HostProcess.WriteError(line + "\n") });
        }
        catch (Exception e) when (e is IOException or OutOfMemoryException or ArgumentException)
        {
            return CommandLine.Failure(ExitCodes.OurFailure, $"cannot make the machine: {e.Message}");
        }
        ExitStatus status;
        using (machine)
        {
            long start = Stopwatch.GetTimestamp();
            using (new HostSignals(machine))
                status = machine.Run(program, argv, environment);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            if (parsed.IsGiven(_stats))
            {
                Statistics statistics = machine.Statistics(program, status, seconds);
                if ("json".Equals(parsed.GetValue(_stats), StringComparison.Ordinal))
                    output.WriteLine(StatisticsJson.Write(statistics));
                else
                    StatisticsTable.Write(statistics, machine.UnknownSyscalls, output, palette);
            }
            if (!parsed.GetValue(_quiet) && status.Crash is { IsFault: true } crash)
                HostProcess.WriteError(CrashRenderer.Render(crash, status, palette));
            ReportViolations(machine.Violations, args, options.Deterministic, palette);
        }
        return Outcome(status, program, parsed.GetValue(_verbose), palette);
    }

    /// <summary>Rules of the kernel's own interfaces that were broken: never the guest's fault, and never to be hidden.</summary>
    private static void ReportViolations(Violations violations, string[] args, bool deterministic, Palette palette)
    {
        const int most = 20;
        foreach (Violation violation in violations.All.Take(most))
            HostProcess.WriteError(palette.Mark($"emulator: {violation}") + "\n");
        if (violations.Count > most)
            HostProcess.WriteError(string.Create(CultureInfo.InvariantCulture, $"emulator: {violations.Count - most} more broken rules\n"));
        if (violations.Count > 0)
            HostProcess.WriteError($"emulator: {ReplayLine.Write(args, deterministic)}\n");
    }

    private ISyscallTracer? Tracer(ParseResult parsed, TextWriter output)
    {
        UnsupportedCalls? unsupported = parsed.GetValue(_verbose) ? new UnsupportedCalls(new ErrorWriter()) : null;
        Strace? strace = parsed.GetValue(_strace) ? new Strace(output) : null;
        return unsupported is not null && strace is not null ? new TracerChain(unsupported, strace) : (ISyscallTracer?)unsupported ?? strace;
    }

    /// <summary>Turns the guest's end into ours.</summary>
    private static int Outcome(ExitStatus status, string program, bool verbose, Palette palette)
    {
        if (verbose)
            HostProcess.WriteError(palette.Dim($"emulator: {program}: {Describe(status)}") + "\n");
        switch (status.Reason)
        {
            case ExitReason.Exited:
                return status.Code;
            case ExitReason.Signaled:
                return HostProcess.DieBy(status.Signal);
            case ExitReason.TimedOut or ExitReason.InstructionLimit:
                return CommandLine.Failure(ExitCodes.TimedOut, status.Message ?? Describe(status));
            case ExitReason.NotStarted:
                return CommandLine.Failure(status.Errno == Errno.ENOENT ? ExitCodes.NotFound : ExitCodes.CannotExecute,
                    status.Message ?? $"{program} cannot be started");
            default:
                return CommandLine.Failure(ExitCodes.OurFailure, status.Message ?? Describe(status));
        }
    }

    private static string Describe(ExitStatus status) => status.Reason switch
    {
        ExitReason.Exited => $"exited with status {status.Code}",
        ExitReason.Signaled => $"killed by {SignalText.Name(status.Signal)}",
        ExitReason.TimedOut => "stopped: the time given by --timeout is up",
        ExitReason.InstructionLimit => "stopped: the number of instructions given by --max-instructions is reached",
        ExitReason.Deadlock => "deadlock: every task waits for another one",
        ExitReason.Unsupported => "stopped at a system call that is not implemented",
        ExitReason.Stopped => "stopped",
        _ => "the emulator failed",
    };

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
