using System.CommandLine;
using System.CommandLine.Help;
using Emulator.Cli.Host;

namespace Emulator.Cli.Commands;

/// <summary>A verb that runs a program: its options end at PROGRAM, and what follows is the program's.</summary>
internal abstract class GuestCommand
{
    private Option[] _own = [];

    public RootCommand Command { get; private set; } = [];

    /// <summary>Called by the constructor of a verb.</summary>
    /// <param name="description">What help says above the options.</param>
    /// <param name="options">In the order of help.</param>
    protected void Declare(string description, IEnumerable<Option> options)
    {
        _own = [.. options];
        Command = new RootCommand(description);
        foreach (Option option in _own)
            Command.Options.Add(option);
        Command.Options.OfType<HelpOption>().Single().Action = new HelpText(Command);
    }

    /// <summary>Whether an option takes the argument that follows it.</summary>
    public bool TakesValue(string name)
        => _own.FirstOrDefault(o => o.Name.Equals(name, StringComparison.Ordinal) || o.Aliases.Contains(name, StringComparer.Ordinal)) is { } option
            && option.Arity.MinimumNumberOfValues > 0;

    public bool AsksForHelp(IReadOnlyList<string> options)
        => Command.Options.Except(_own).Any(o => options.Contains(o.Name, StringComparer.Ordinal) || o.Aliases.Any(a => options.Contains(a, StringComparer.Ordinal)));

    /// <param name="args">All our arguments, the last <paramref name="operands"/> of them the program and its own.</param>
    /// <returns>The exit status.</returns>
    public abstract int Execute(ParseResult parsed, string[] args, int operands);

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
