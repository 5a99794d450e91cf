using Emulator.Cli.Host;
using Emulator.Cli.Options;
using Emulator.Cli.Reports;
using Spectre.Console;

namespace Emulator.Cli.Commands;

/// <summary>A verb that runs no program but prints something that the emulator knows, on standard output.</summary>
internal abstract class TableCommand
{
    private const int TableWidth = 160;

    /// <summary>A line for each row, however long: they are searched and compared.</summary>
    private const int Unwrapped = 10_000;

    private readonly Option<string> _color = new("--color") { Description = "auto, always or never", HelpName = "WHEN", DefaultValueFactory = _ => "auto" };
    private readonly string _name;
    private OptionList _options = new("", []);

    protected TableCommand(string name) => _name = name;

    /// <summary>Called by the constructor of a verb.</summary>
    /// <param name="description">What help says above the options.</param>
    protected void Declare(string description, params Option[] options) => _options = new OptionList(description, [.. options, _color]);

    /// <param name="args">All arguments, the verb first.</param>
    /// <returns>The exit status.</returns>
    public int Execute(string[] args)
    {
        ParseResult parsed = ParseResult.Parse(_options, args[1..]);
        if (parsed.Error is { } error)
            return CommandLine.UsageError($"{_name}: {error}");
        string when = parsed.GetValue(_color)!;
        if (!Palette.IsChoice(when))
            return CommandLine.UsageError($"--color {when}: give auto, always or never");
        return CommandLine.ToOutput(_name, () => _options.TryAnswer(parsed) ? 0 : Run(parsed, new Palette(when, HostProcess.StandardOutput)));
    }

    /// <returns>The exit status.</returns>
    protected abstract int Run(ParseResult parsed, Palette palette);

    /// <summary>Columns as wide as they need be; the last one takes the rest, and is wrapped on a terminal.</summary>
    protected static void WriteTable(Palette palette, IEnumerable<string> headers, IEnumerable<string[]> rows)
    {
        Table table = new Table().Border(TableBorder.None);
        foreach (string header in headers)
            table.AddColumn(new TableColumn(header).NoWrap());
        table.Columns[^1].NoWrap = false;
        foreach (string[] row in rows)
            table.AddRow(row.Select(static cell => new Text(cell)));
        using var text = new StringWriter();
        palette.Console(text, HostProcess.IsTerminal(HostProcess.StandardOutput) ? TableWidth : Unwrapped).Write(table);
        foreach (string line in text.ToString().TrimEnd('\n').Split('\n'))
            Console.Out.WriteLine(line.TrimEnd());
    }
}
