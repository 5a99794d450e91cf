using System.Text;

namespace Emulator.Cli.Options;

/// <summary>The options of one verb, those that every verb has in front, and the verb's help.</summary>
/// <param name="description">What help says above the options.</param>
internal sealed class OptionList(string description, IEnumerable<Option> own)
{
    private readonly Option<bool> _help = new("--help", "-h", "-?") { Description = "Show help and usage information" };
    private readonly Option<bool> _version = new("--version") { Description = "Show version information" };
    private readonly List<Option> _own = [.. own];

    private IEnumerable<Option> All => [_help, _version, .. _own];

    /// <summary>The option of a name, or null.</summary>
    public Option? Find(string name)
    {
        foreach (Option option in All)
        {
            foreach (string each in option.Names)
            {
                if (each.Equals(name, StringComparison.Ordinal))
                    return option;
            }
        }
        return null;
    }

    /// <summary>Whether --help or --version is given.</summary>
    public bool IsAsked(ParseResult parsed) => parsed.IsGiven(_help) || parsed.IsGiven(_version);

    /// <summary>Answers --help and --version on standard output, which is not touched otherwise: setting it up takes 5 ms; false: neither was given.</summary>
    public bool TryAnswer(ParseResult parsed)
    {
        if (parsed.IsGiven(_help))
            Console.Out.Write(Help());
        else if (parsed.IsGiven(_version))
            Console.Out.WriteLine(typeof(OptionList).Assembly.GetName().Version?.ToString(3));
        else
            return false;
        return true;
    }

    private string Help()
    {
        (string Name, string Description)[] rows = [.. All.Select(option => (Name(option), Description(option)))];
        int width = rows.Max(row => row.Name.Length);
        StringBuilder text = new StringBuilder(description).Append("\n\nOptions:\n");
        foreach ((string name, string explanation) in rows)
            text.Append("  ").Append(name.PadRight(width)).Append("  ").Append(explanation).Append('\n');
        return text.ToString();
    }

    private static string Name(Option option)
    {
        string names = string.Join(", ", option.Names.OrderBy(name => name.Length).ThenBy(name => name, StringComparer.Ordinal));
        return option.HelpName is not { } value ? names : option.ValueIsOptional ? $"{names}[={value}]" : $"{names} {value}";
    }

    private static string Description(Option option)
    {
        string description = option.Describe?.Invoke() ?? option.Description;
        return option.DefaultText is { } value ? $"{description} [default: {value}]" : description;
    }
}
