using System.CommandLine;
using System.CommandLine.Help;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Emulator.Cli.Host;
using Emulator.Cli.Reports;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Syscalls;
using Emulator.Kernel.Tracing;

namespace Emulator.Cli.Commands;

/// <summary><c>emulator run</c>: makes a machine from the options, runs the program, and passes on how it ended.</summary>
internal sealed class RunCommand
{
    private readonly Option<int> _vcpus = new("--vcpus") { Description = "virtual CPUs, 1 to 256", HelpName = "N", DefaultValueFactory = _ => 1 };
    private readonly Option<string?> _hugePages = new("--hugepages") { Description = "huge pages kept for hugetlb mappings, for example 2M=64", HelpName = "SIZE=COUNT" };
    private readonly Option<string> _memory = new("--memory") { Description = "guest memory, for example 512M or 1T; the host pays for what is touched", HelpName = "SIZE", DefaultValueFactory = _ => "4G" };
    private readonly Option<string> _swap = new("--swap") { Description = "swap area in host memory, for example 1G; 0 for none, as by default", HelpName = "SIZE", DefaultValueFactory = _ => "0" };
    private readonly Option<string[]> _sysctl = new("--sysctl") { Description = "set a file of /proc/sys/vm, for example vm.overcommit_memory=2", HelpName = "NAME=VALUE" };
    private readonly Option<string?> _disturb = new("--disturb") { Description = "shake the memory of running programs: events of each kind in a million instructions, for example migrate=100,reclaim=50,split=5,fill=200", HelpName = "KIND=RATE,..." };
    private readonly Option<string> _tlb = new("--tlb") { Description = "TLB geometry of each vCPU", HelpName = "ENTRIESxWAYS[,ENTRIESxWAYS]", DefaultValueFactory = _ => TlbGeometry.Default.ToString() };
    private readonly Option<string> _cpu = new("--cpu") { Description = "instruction set: x86-64, x86-64-v2, or max", HelpName = "LEVEL", DefaultValueFactory = _ => "max" };
    private readonly Option<string> _scheduler = new("--sched") { Description = "parallel, or deterministic: the same seed gives the same run, bit for bit", HelpName = "NAME", DefaultValueFactory = _ => "parallel" };
    private readonly Option<ulong> _seed = new("--seed") { Description = "seed of everything random", HelpName = "S" };
    private readonly Option<string[]> _bind = new("--bind") { Description = "show a host file or directory to the guest; /:/ shows the host's tree", HelpName = "HOST:GUEST[:ro]" };
    private readonly Option<string?> _root = new("--root") { Description = "a host directory that becomes the guest's root", HelpName = "DIR" };
    private readonly Option<string[]> _set = new("-E") { Description = "set an environment variable", HelpName = "VAR=VAL" };
    private readonly Option<string[]> _unset = new("-U") { Description = "remove an environment variable", HelpName = "VAR" };
    private readonly Option<string?> _name = new("-0") { Description = "the program's argv[0]", HelpName = "NAME" };
    private readonly Option<string?> _directory = new("-C") { Description = "guest directory to start in", HelpName = "DIR" };
    private readonly Option<string?> _stats = new("--stats") { Description = "counters at the end, on standard error: a table, or --stats=json", HelpName = "table|json", Arity = ArgumentArity.ZeroOrOne };
    private readonly Option<string?> _output = new("-o") { Description = "file for --stats and --strace", HelpName = "FILE" };
    private readonly Option<bool> _strace = new("--strace") { Description = "print system calls in strace's format" };
    private readonly Option<string> _unsupported = new("--unsupported") { Description = "at an unknown system call: enosys, or fail to stop there", HelpName = "enosys|fail", DefaultValueFactory = _ => "enosys" };
    private readonly Option<double?> _timeout = new("--timeout") { Description = "stop after this many seconds (status 124)", HelpName = "SECONDS" };
    private readonly Option<long?> _maxInstructions = new("--max-instructions") { Description = "stop after this many guest instructions (status 124)", HelpName = "N" };
    private readonly Option<string> _profile = new("--kernel-profile") { Description = "the Linux release to follow where releases differ: 6.1 or 6.12", HelpName = "RELEASE", DefaultValueFactory = _ => "6.12" };
    private readonly Option<ulong> _ceiling = new("--flush-ceiling") { Description = "flush ranges of up to this many pages page by page; 0: never", HelpName = "N", DefaultValueFactory = _ => TlbShootdown.DefaultCeiling };
    private readonly Option<string?> _costs = new("--costs") { Description = "file with simulated cycles for events, in the form of costs.json; for --stats", HelpName = "FILE" };
    private readonly Option<bool> _lockdep = new("--lockdep") { Description = "watch the kernel's locks: order, sleeping in atomic context, locks held at exit" };
    private readonly Option<bool> _check = new("--check") { Description = "check every cached translation used and every table walked: never freed, never stale (slow)" };
    private readonly Option<bool> _verbose = new("-v", "--verbose") { Description = "name unknown system calls and tell how the run ended" };
    private readonly Option<bool> _quiet = new("-q", "--quiet") { Description = "no crash report" };
    private readonly Option<string> _color = new("--color") { Description = "colour in reports and tables: auto, always, never (NO_COLOR is respected)", HelpName = "WHEN", DefaultValueFactory = _ => "auto" };

    public RunCommand()
    {
        Command = new RootCommand("""
            Runs Linux x86-64 programs on virtual CPUs with a software MMU and their own TLBs.

            Usage: emulator [run] [options] PROGRAM [ARGS...]
                   emulator claims list|run [options] [CLAIM...]

            Options end at PROGRAM; what follows is the guest's. The exit status is the guest's; 124 time-out, 125 our failure, 126 not executable, 127 not found.
            """);
        foreach (Option option in Options)
            Command.Options.Add(option);
        Command.Options.OfType<HelpOption>().Single().Action = new HelpText(Command);
    }

    public RootCommand Command { get; }

    private IEnumerable<Option> Options =>
    [
        _vcpus, _memory, _swap, _hugePages, _sysctl, _disturb, _tlb, _cpu, _scheduler, _seed, _bind, _root, _set, _unset, _name, _directory, _stats, _output, _strace, _unsupported,
        _timeout, _maxInstructions, _profile, _ceiling, _costs, _lockdep, _check, _verbose, _quiet, _color,
    ];

    /// <summary>Whether an option takes the argument that follows it.</summary>
    public bool TakesValue(string name)
        => Options.FirstOrDefault(o => o.Name.Equals(name, StringComparison.Ordinal) || o.Aliases.Contains(name, StringComparer.Ordinal)) is { } option
            && option.Arity.MinimumNumberOfValues > 0;

    public bool AsksForHelp(IReadOnlyList<string> options)
        => Command.Options.Where(o => !Options.Contains(o)).Any(o => options.Contains(o.Name, StringComparer.Ordinal) || o.Aliases.Any(a => options.Contains(a, StringComparer.Ordinal)));

    /// <param name="args">All our arguments, the last <paramref name="operands"/> of them the program and its own.</param>
    public int Execute(ParseResult parsed, string[] args, int operands)
    {
        if (!TryReadOptions(parsed, out MachineOptions? options, out string error))
            return CommandLine.UsageError(error);

        List<byte[]> argv = HostArguments.Last(args, operands);
        string program = args[^operands];
        if (parsed.GetValue(_name) is { } name)
            argv[0] = Encoding.UTF8.GetBytes(name);
        List<byte[]> environment = HostArguments.Environment();
        foreach (string removed in parsed.GetValue(_unset) ?? [])
            HostArguments.Remove(environment, removed);
        foreach (string assignment in parsed.GetValue(_set) ?? [])
        {
            if (assignment.IndexOf('=', StringComparison.Ordinal) <= 0)
                return CommandLine.UsageError($"-E {assignment} is no assignment; write -E VAR=VALUE");
            HostArguments.Set(environment, assignment);
        }

        TextWriter? output = null;
        try
        {
            if (parsed.GetValue(_output) is { } path)
                output = new StreamWriter(path) { AutoFlush = true };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return CommandLine.Failure(ExitCodes.OurFailure, $"cannot write to '{parsed.GetValue(_output)}': {Reason(e)}");
        }
        using (output)
            return Run(parsed, options!, program, argv, environment, output ?? new ErrorWriter());
    }

    private int Run(ParseResult parsed, MachineOptions options, string program, List<byte[]> argv, List<byte[]> environment, TextWriter output)
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
            if (parsed.GetResult(_stats) is not null)
            {
                Statistics statistics = machine.Statistics(program, status, seconds);
                if ("json".Equals(parsed.GetValue(_stats), StringComparison.Ordinal))
                    output.WriteLine(StatisticsJson.Write(statistics));
                else
                    StatisticsTable.Write(statistics, machine.UnknownSyscalls, output, palette);
            }
            if (!parsed.GetValue(_quiet) && status.Crash is { IsFault: true } crash)
                HostProcess.WriteError(CrashRenderer.Render(crash, status, palette));
            ReportViolations(machine.Violations, palette);
        }
        return Outcome(status, program, parsed.GetValue(_verbose), palette);
    }

    /// <summary>Rules of the kernel's own interfaces that were broken: never the guest's fault, and never to be hidden.</summary>
    private static void ReportViolations(Violations violations, Palette palette)
    {
        const int most = 20;
        foreach (Violation violation in violations.All.Take(most))
            HostProcess.WriteError(palette.Mark($"emulator: {violation}") + "\n");
        if (violations.Count > most)
            HostProcess.WriteError(string.Create(CultureInfo.InvariantCulture, $"emulator: {violations.Count - most} more broken rules\n"));
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

    private bool TryReadOptions(ParseResult parsed, out MachineOptions? options, out string error)
    {
        options = null;
        error = "";
        int vcpus = parsed.GetValue(_vcpus);
        if (vcpus is < 1 or > MachineOptions.MaxVcpus)
            return Wrong(out error, $"--vcpus {vcpus}: a machine has 1 to {MachineOptions.MaxVcpus} vCPUs");
        if (!Size.TryParse(parsed.GetValue(_memory)!, out ulong memory) || memory < 1 << 20 || memory > 1UL << 46)
            return Wrong(out error, $"--memory {parsed.GetValue(_memory)}: give a size from 1M to 64T, for example 512M");
        if (!TryParseHugePages(parsed.GetValue(_hugePages), memory, out long hugePages))
            return Wrong(out error, $"--hugepages {parsed.GetValue(_hugePages)}: give a count of 2 MiB pages that fits in half of the memory, for example 2M=64");
        if (!Size.TryParse(parsed.GetValue(_swap)!, out ulong swap) || swap > 1UL << 42)
            return Wrong(out error, $"--swap {parsed.GetValue(_swap)}: give a size from 0 to 4T, for example 1G");
        string[] sysctls = parsed.GetValue(_sysctl) ?? [];
        foreach (string assignment in sysctls)
        {
            if (new VmSysctls().TrySet(assignment) is { } wrongSysctl)
                return Wrong(out error, $"--sysctl {assignment}: {wrongSysctl}");
        }
        DisturbanceRates disturb = default;
        if (parsed.GetValue(_disturb) is { } rates && !DisturbanceRates.TryParse(rates, out disturb, out string disturbError))
            return Wrong(out error, $"--disturb {rates}: {disturbError}");
        // Pages of programs have nowhere to go without swap; an area that is not used costs nothing.
        if (disturb.Reclaim > 0 && parsed.GetResult(_swap) is null or { Implicit: true })
            swap = Math.Min(memory, 1UL << 42);
        if (!TlbGeometry.TryParse(parsed.GetValue(_tlb)!, out TlbGeometry tlb, out string tlbError))
            return Wrong(out error, $"--tlb: {tlbError}");
        CpuFeatures? features = CpuLevel.Parse(parsed.GetValue(_cpu)!);
        if (features is null)
            return Wrong(out error, $"--cpu {parsed.GetValue(_cpu)}: the levels are x86-64, x86-64-v2 and max");
        string scheduler = parsed.GetValue(_scheduler)!;
        if (scheduler is not ("parallel" or "deterministic"))
            return Wrong(out error, $"--sched {scheduler}: the schedulers are parallel and deterministic");
        string unsupported = parsed.GetValue(_unsupported)!;
        if (unsupported is not ("enosys" or "fail"))
            return Wrong(out error, $"--unsupported {unsupported}: give enosys or fail");
        if (parsed.GetValue(_color) is not ("auto" or "always" or "never"))
            return Wrong(out error, $"--color {parsed.GetValue(_color)}: give auto, always or never");
        if (parsed.GetResult(_stats) is not null && parsed.GetValue(_stats) is not (null or "table" or "json"))
            return Wrong(out error, $"--stats={parsed.GetValue(_stats)}: give table or json");
        double? timeout = parsed.GetValue(_timeout);
        if (timeout is <= 0 or > 1e9 or double.NaN)
            return Wrong(out error, "--timeout: give a number of seconds above 0");
        long? limit = parsed.GetValue(_maxInstructions);
        if (limit is <= 0)
            return Wrong(out error, "--max-instructions: give a number above 0");
        if (!KernelProfiles.TryParse(parsed.GetValue(_profile)!, out KernelProfile profile))
            return Wrong(out error, $"--kernel-profile {parsed.GetValue(_profile)}: the profiles are 6.1 and 6.12");
        if (!TryReadCosts(parsed.GetValue(_costs), out CostModel costs, out error))
            return false;
        var binds = new List<Bind>();
        foreach (string bind in parsed.GetValue(_bind) ?? [])
        {
            if (!TryReadBind(bind, out Bind? parsedBind, out string bindError))
                return Wrong(out error, bindError);
            binds.Add(parsedBind!);
        }
        string? root = parsed.GetValue(_root);
        if (root is not null && !Directory.Exists(root))
            return Wrong(out error, $"--root {root}: no such directory");
        options = new MachineOptions
        {
            Vcpus = vcpus,
            MemoryBytes = memory & ~4095UL,
            HugePages = hugePages,
            SwapBytes = swap & ~4095UL,
            Sysctls = sysctls,
            Disturbance = disturb,
            Tlb = tlb,
            Cpu = features.Value,
            Deterministic = scheduler.Equals("deterministic", StringComparison.Ordinal),
            Seed = parsed.GetValue(_seed),
            Stdin = HostProcess.Inherited(0),
            Stdout = HostProcess.Inherited(1),
            Stderr = HostProcess.Inherited(2),
            Binds = binds,
            RootDirectory = root is null ? null : Path.GetFullPath(root),
            WorkingDirectory = parsed.GetValue(_directory),
            Timeout = timeout is { } seconds ? TimeSpan.FromSeconds(seconds) : null,
            MaxInstructions = limit,
            Profile = profile,
            Costs = costs,
            FlushCeiling = parsed.GetValue(_ceiling),
            LockDep = parsed.GetValue(_lockdep),
            Check = parsed.GetValue(_check),
            FailOnUnsupported = unsupported.Equals("fail", StringComparison.Ordinal),
        };
        return true;
    }

    private static bool TryReadCosts(string? path, out CostModel costs, out string error)
    {
        costs = CostModel.Default;
        error = "";
        if (path is null)
            return true;
        if (path.Length == 0)
            return Wrong(out error, "--costs: give the name of a file");
        try
        {
            return CostModel.Default.TryOverride(File.ReadAllText(path), out costs, out string reason) || Wrong(out error, $"--costs {path}: {reason}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Wrong(out error, $"--costs {path}: {Reason(e)}");
        }
    }

    /// <summary>Why a host file could not be opened, in the words that a shell would use.</summary>
    private static string Reason(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => "no such file or directory",
        UnauthorizedAccessException => "permission denied, or a directory",
        _ => e.Message,
    };

    private static bool TryReadBind(string text, out Bind? bind, out string error)
    {
        bind = null;
        error = "";
        string[] parts = text.Split(':');
        bool readOnly = parts.Length == 3 && parts[2].Equals("ro", StringComparison.Ordinal);
        if (parts.Length is < 2 or > 3 || parts.Length == 3 && !readOnly && !parts[2].Equals("rw", StringComparison.Ordinal) || parts[0].Length == 0 || !parts[1].StartsWith('/'))
            return Wrong(out error, $"--bind {text}: write HOST:GUEST or HOST:GUEST:ro, with GUEST an absolute path");
        if (!Path.Exists(parts[0]))
            return Wrong(out error, $"--bind {text}: there is no '{parts[0]}' on the host");
        bind = new Bind(Path.GetFullPath(parts[0]), parts[1], readOnly);
        return true;
    }

    /// <summary>2M=COUNT; at most half of the memory, for the rest is what programs run in.</summary>
    private static bool TryParseHugePages(string? text, ulong memory, out long count)
    {
        count = 0;
        return text is null
            || (text.StartsWith("2M=", StringComparison.OrdinalIgnoreCase)
                && long.TryParse(text.AsSpan(3), NumberStyles.None, CultureInfo.InvariantCulture, out count)
                && (ulong)count <= memory >> 22);
    }

    private static bool Wrong(out string error, string message)
    {
        error = string.Create(CultureInfo.InvariantCulture, $"{message}");
        return false;
    }
}
