using Emulator.Cli.Commands;
using Emulator.Cli.Host;
using Emulator.Kernel;
using Emulator.Kernel.Reports;
using Emulator.Kernel.Tracing;

namespace Emulator.Cli.Reports;

/// <summary>How a run ended: what becomes of our own process, and what the status file says.</summary>
/// <param name="Cause">One word, for programs.</param>
/// <param name="ExitCode">As a shell shows it; 128 and the signal's number for a signal.</param>
internal sealed record RunEnd(string Cause, int ExitCode)
{
    public Diagnostic? Diagnostic { get; init; }

    /// <summary>The identifier where it is more than the diagnostic's.</summary>
    public string? BugId { get; init; }

    public string? Id => BugId ?? Diagnostic?.Id;

    public int Signal { get; init; }

    /// <summary>A line for people, or null: there is nothing to say, or a report has said it.</summary>
    public string? Message { get; init; }

    public Report? Report { get; init; }

    /// <summary>The message is about usage, and ends with where to read of it.</summary>
    public bool IsAboutUsage { get; init; }

    /// <summary>The file with the details of a fault of ours.</summary>
    public string? Details { get; init; }

    public static RunEnd Usage(string message) => new("wrong-usage", ExitCodes.OurFailure) { Diagnostic = Diagnostics.Usage, Message = message, IsAboutUsage = true };

    public static RunEnd NoMachine(string message) => new("no-machine", ExitCodes.OurFailure) { Diagnostic = Diagnostics.Setup, Message = message };

    public static RunEnd Failed(BugReport bug, Report report) =>
        new("emulator-bug", ExitCodes.OurFailure) { Diagnostic = Diagnostics.Bug, BugId = bug.Id, Report = report, Details = bug.Details };

    /// <summary>How the program ended; a fault of ours is told by <see cref="Failed"/>.</summary>
    public static RunEnd Of(ExitStatus status, string program)
    {
        RunEnd end = status.Reason switch
        {
            ExitReason.Exited => new RunEnd("exited", status.Code),
            ExitReason.Signaled => new RunEnd("signaled", 128 + status.Signal) { Signal = status.Signal },
            ExitReason.TimedOut => new RunEnd("time-out", ExitCodes.TimedOut),
            ExitReason.InstructionLimit => new RunEnd("instruction-limit", ExitCodes.TimedOut),
            ExitReason.Deadlock => new RunEnd("deadlock", ExitCodes.OurFailure),
            ExitReason.Unsupported => new RunEnd("unsupported-syscall", ExitCodes.OurFailure),
            ExitReason.NotStarted when status.Errno == Errno.ENOENT => new RunEnd("not-found", ExitCodes.NotFound),
            ExitReason.NotStarted => new RunEnd("not-executable", ExitCodes.CannotExecute),
            _ => new RunEnd("stopped", ExitCodes.OurFailure),
        };
        bool speaks = status.Reason is not (ExitReason.Exited or ExitReason.Signaled or ExitReason.Unsupported);
        return end with
        {
            Diagnostic = Diagnostics.Of(status),
            Report = status.Report,
            Message = speaks ? status.Message ?? (status.Reason == ExitReason.NotStarted ? $"{program} cannot be started" : Describe(status)) : null,
        };
    }

    /// <summary>The program's end in words.</summary>
    public static string Describe(ExitStatus status) => status.Reason switch
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

    /// <summary>Says what is to be said and ends as the program did.</summary>
    /// <returns>Our exit status; does not return from a signal that kills.</returns>
    public int Leave() => IsAboutUsage ? CommandLine.UsageError(Message!)
        : Message is not null ? CommandLine.Failure(ExitCode, Message)
        : Signal != 0 ? HostProcess.DieBy(Signal)
        : ExitCode;
}
