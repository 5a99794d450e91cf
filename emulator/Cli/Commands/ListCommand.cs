using Emulator.Cli.Options;
using Emulator.Cli.Reports;

namespace Emulator.Cli.Commands;

/// <summary><c>emulator list</c>: what the emulator has, from the tables that it works by.</summary>
internal sealed class ListCommand : TableCommand
{
    private readonly Option<bool> _json = new("--json") { Description = "one JSON object a line, with columns that are too long for a table" };

    public ListCommand()
        : base("list") => Declare($"""
        Lists what the emulator has; without WHAT, what there is to list.

        Usage: emulator list [options] [WHAT [FILTER]]

        FILTER is a text that a row has in it, in whatever case. WHAT is one of:
        {string.Join('\n', Listings.All.Select(static l => $"  {l.Name,-12}  {l.Help}"))}
        """, _json);

    protected override int Run(ParseResult parsed, Palette palette)
    {
        switch (parsed.Operands)
        {
            case []:
                WriteTable(palette, ["list", "what it shows"], Listings.All.Select(static l => new[] { l.Name, l.Help }));
                return 0;
            case [var name, ..] when Listings.Find(name) is null:
                return CommandLine.UsageError($"list {name}: the lists are {string.Join(", ", Listings.All.Select(static l => l.Name))}");
            case [var name]:
                return Write(Listings.Find(name)!, null, parsed.GetValue(_json), palette);
            case [var name, var filter]:
                return Write(Listings.Find(name)!, filter, parsed.GetValue(_json), palette);
            default:
                return CommandLine.UsageError("list: give one list and one filter");
        }
    }

    /// <summary>Writes the rows of a listing that match.</summary>
    public static int Write(Listing listing, string? filter, bool json, Palette palette)
    {
        IEnumerable<object[]> rows = listing.Matching(filter);
        if (!json)
            WriteTable(palette, listing.Columns.Where(static c => c.InTable).Select(static c => c.Name), rows.Select(listing.ForTable));
        else
            foreach (object[] row in rows)
                Console.Out.WriteLine(listing.Json(row));
        return 0;
    }
}
