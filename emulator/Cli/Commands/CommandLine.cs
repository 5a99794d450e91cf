using Emulator.Cli.Host;
using Emulator.Cli.Options;
using Emulator.Cli.Reports;
using Emulator.Kernel;
using Emulator.Kernel.Reports;

namespace Emulator.Cli.Commands;

/// <summary>The verbs. <c>emulator PROGRAM ...</c> is short for <c>emulator run PROGRAM ...</c>; a program with a verb's name is written as a path.</summary>
internal static class CommandLine
{
    /// <param name="args">All arguments.</param>
    /// <param name="adjust">Changes the machines that are made, for tests of what cannot be asked for by options; null: nothing.</param>
    /// <returns>The exit status.</returns>
    public static int Run(string[] args, Func<MachineOptions, MachineOptions>? adjust = null)
    {
        GuestCommand? command = null;
        // A thread that nobody looks after: the runtime would print a stack trace and abort.
        AppDomain.CurrentDomain.UnhandledException += (_, thrown) => HostProcess.Exit(Fail((Exception)thrown.ExceptionObject));
        try
        {
            switch (args.FirstOrDefault())
            {
                case "claims":
                    return new ClaimsCommand().Execute(args);
                case "explain":
                    return new ExplainCommand().Execute(args);
                case "list":
                    return new ListCommand().Execute(args);
                case "compare":
                    command = new CompareCommand();
                    return Run(command, args, 1);
                default:
                    command = new RunCommand(adjust);
                    return Run(command, args, args is ["run", ..] ? 1 : 0);
            }
        }
#pragma warning disable CA1031 // Whatever comes here is a fault of ours, and is told as one.
        catch (Exception e)
#pragma warning restore CA1031
        {
            return Fail(e);
        }

        int Fail(Exception e)
        {
            Report report = new() { Kind = ReportKind.OwnBug, Failure = e };
            return command?.Fail(report) ?? GuestCommand.Fail(report, new RunFacts(true, 0, 0, ["emulator", .. args]), new Palette("auto")).Leave();
        }
    }

    private static int Run(GuestCommand command, string[] args, int start)
    {
        int own = ArgumentSplitter.CountOwn(args, start, command.TakesValue);
        string[] options = args[start..own];
        // The parser must not see the separator: it would take nothing as the guest's.
        if (options.Length > 0 && options[^1].Equals("--", StringComparison.Ordinal))
            options = options[..^1];

        ParseResult parsed = ParseResult.Parse(command.Options, options);
        if (parsed.Error is null && command.Options.IsAsked(parsed))
            return ToOutput("help", () => command.Options.TryAnswer(parsed) ? 0 : ExitCodes.OurFailure);
        string? wrong = parsed.Error ?? (own == args.Length ? "no program given" : null);
        return wrong is null ? command.Execute(parsed, args, args.Length - own) : command.Refuse(parsed, args, args.Length - own, wrong);
    }

    /// <summary>Carries out what writes to standard output; one line if that is closed, full or not for writing.</summary>
    /// <param name="name">Who writes.</param>
    public static int ToOutput(string name, Func<int> action)
    {
        // What has a closed stream's number now is the runtime's.
        if (HostProcess.Inherited(HostProcess.StandardOutput) < 0)
            return Failure(ExitCodes.OurFailure, $"{name}: standard output is closed");
        try
        {
            return action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The runtime takes EBADF for a missing right, and keeps the host's words inside.
            return Failure(ExitCodes.OurFailure, $"{name}: {(e.InnerException ?? e).Message}");
        }
    }

    public static int UsageError(string message)
    {
        HostProcess.WriteError($"emulator: {Printable.Of(message.TrimEnd('.').ReplaceLineEndings(" "))}; try 'emulator --help'\n");
        return ExitCodes.OurFailure;
    }

    public static int Failure(int code, string message)
    {
        HostProcess.WriteError($"emulator: {Printable.Of(message, keepLines: true)}\n");
        return code;
    }
}
