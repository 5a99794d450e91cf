using Emulator.Cli.Options;
using Emulator.Cli.Reports;

namespace Emulator.Cli.Commands;

/// <summary><c>emulator explain</c>: what an identifier means, whose fault it is and what to try; without one, all of them.</summary>
internal sealed class ExplainCommand : TableCommand
{
    public ExplainCommand()
        : base("explain") => Declare("""
        Explains what the emulator says, by the identifier in brackets, for example EMU-GUEST-CRASH; without one, lists all.

        Usage: emulator explain [options] [ID]
        """);

    protected override int Run(ParseResult parsed, Palette palette)
    {
        if (parsed.Operands.Count > 1)
            return CommandLine.UsageError("explain: give one identifier");
        if (parsed.Operands is not [var id])
        {
            WriteTable(palette, ["identifier", "what it is", "whose fault it is"], Diagnostics.All.Select(static d => new[] { d.Id, d.Title, d.Fault }));
            return 0;
        }
        if (Diagnostics.Find(id) is not { } diagnostic)
            return CommandLine.UsageError($"explain {id}: there is no such identifier; the nearest is {Nearest.To(id, Diagnostics.All.Select(static d => d.Id))}");
        Console.Out.WriteLine(palette.Title($"{diagnostic.Title} [{diagnostic.Id}]"));
        Console.Out.WriteLine($"  meaning   {diagnostic.Meaning}");
        Console.Out.WriteLine($"  fault     {diagnostic.Fault}");
        Console.Out.WriteLine($"  help      {diagnostic.Help}");
        if (diagnostic.Options.Length > 0)
            Console.Out.WriteLine($"  options   {string.Join(", ", diagnostic.Options)}");
        return 0;
    }
}
