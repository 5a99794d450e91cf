using System.CommandLine;
using System.CommandLine.Invocation;
using System.Text;

namespace Emulator.Cli.Commands;

/// <summary>What --help prints. The library's own text knows nothing of operands that are not parsed, nor how an optional value is attached.</summary>
internal sealed class HelpText(RootCommand command) : SynchronousCommandLineAction
{
    public override int Invoke(ParseResult parseResult)
    {
        parseResult.InvocationConfiguration.Output.Write(Write());
        return 0;
    }

    private string Write()
    {
        (string Name, string Description)[] rows = [.. command.Options.Select(option => (Name(option), Description(option)))];
        int width = rows.Max(row => row.Name.Length);
        var text = new StringBuilder(command.Description).Append("\n\nOptions:\n");
        foreach ((string name, string description) in rows)
            text.Append("  ").Append(name.PadRight(width)).Append("  ").Append(description).Append('\n');
        return text.ToString();
    }

    private static string Name(Option option)
    {
        string names = string.Join(", ", option.Aliases.Append(option.Name).Where(name => name[0] == '-').OrderBy(name => name.Length).ThenBy(name => name, StringComparer.Ordinal));
        return option.HelpName is not { } value ? names : option.Arity.MinimumNumberOfValues == 0 ? $"{names}[={value}]" : $"{names} {value}";
    }

    private static string Description(Option option) => option is { HasDefaultValue: true, HelpName: not null } && option.GetDefaultValue() is { } value and not Array
        ? $"{option.Description} [default: {value}]" : option.Description ?? "";
}
