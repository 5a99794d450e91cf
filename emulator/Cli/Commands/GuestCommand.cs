using Emulator.Cli.Host;
using Emulator.Cli.Options;
using Emulator.Cli.Reports;
using Emulator.Kernel.Reports;

namespace Emulator.Cli.Commands;

/// <summary>A verb that runs a program: its options end at PROGRAM, and what follows is the program's.</summary>
internal abstract class GuestCommand
{
    /// <summary>The verb's options and help.</summary>
    public OptionList Options { get; private set; } = new("", []);

    /// <summary>Called by the constructor of a verb.</summary>
    /// <param name="description">What help says above the options.</param>
    /// <param name="options">In the order of help.</param>
    protected void Declare(string description, IEnumerable<Option> options) => Options = new OptionList(description, options);

    /// <summary>Whether an option takes the argument that follows it.</summary>
    public bool TakesValue(string name) => Options.Find(name) is { TakesNext: true };

    /// <param name="args">All our arguments, the last <paramref name="operands"/> of them the program and its own.</param>
    /// <returns>The exit status.</returns>
    public abstract int Execute(ParseResult parsed, string[] args, int operands);

    /// <summary>Answers wrong usage.</summary>
    /// <param name="message">What is wrong.</param>
    /// <inheritdoc cref="Execute"/>
    public virtual int Refuse(ParseResult parsed, string[] args, int operands, string message) => CommandLine.UsageError(message);

    /// <summary>Ends the command because of a fault of ours, on any thread; null: as verbs do that have nothing to add.</summary>
    public virtual int? Fail(Report report) => null;

    /// <summary>Tells people of a fault of ours.</summary>
    public static RunEnd Fail(Report report, RunFacts facts, Palette palette)
    {
        BugReport bug = BugReport.Create(report, facts, palette);
        HostProcess.WriteError(bug.Text);
        return RunEnd.Failed(bug, report);
    }

    /// <summary>Opens the file of -o; null: none was asked for.</summary>
    protected static bool TryOpen(string? path, out TextWriter? output, out string error)
    {
        output = null;
        error = "";
        try
        {
            if (path is not null)
                output = new StreamWriter(path) { AutoFlush = true };
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            error = $"cannot write to '{path}': {HostFiles.Reason(e)}";
            return false;
        }
    }
}
