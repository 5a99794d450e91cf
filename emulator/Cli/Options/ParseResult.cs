namespace Emulator.Cli.Options;

/// <summary>The options that were given, with their values.</summary>
internal sealed class ParseResult
{
    private readonly Dictionary<Option, List<string>> _given = [];

    private ParseResult(OptionList options) => Options = options;

    public OptionList Options { get; }

    /// <summary>What is wrong with the arguments, first things first; null: nothing.</summary>
    public string? Error { get; private set; }

    /// <summary>What is no option; without an error, in the order given.</summary>
    public List<string> Operands { get; } = [];

    /// <summary>Reads arguments: <c>--name value</c>, <c>--name=value</c>, <c>-n value</c>, <c>-nvalue</c>, and switches of one letter behind each other.</summary>
    public static ParseResult Parse(OptionList options, IReadOnlyList<string> args)
    {
        var result = new ParseResult(options);
        for (int i = 0; i < args.Count && result.Error is null; i++)
        {
            string arg = args[i];
            if (arg.Length < 2 || arg[0] != '-')
            {
                result.Operands.Add(arg);
                continue;
            }
            int equals = arg.IndexOf('=', StringComparison.Ordinal);
            if (options.Find(equals < 0 ? arg : arg[..equals]) is { } option)
                i += result.Take(option, equals < 0 ? null : arg[(equals + 1)..], i + 1 < args.Count ? args[i + 1] : null);
            else if (arg[1] == '-' || !result.TakeLetters(arg))
                result.Error = $"there is no option {arg}";
        }
        return result;
    }

    public bool IsGiven(Option option) => _given.ContainsKey(option);

    /// <summary>The value that was given last, or the option's default.</summary>
    public T? GetValue<T>(Option<T> option)
        => _given.TryGetValue(option, out List<string>? texts) && texts.Count > 0 ? option.Read(texts) : option.DefaultValueFactory is { } make ? make(option) : default;

    /// <summary>Whether a switch was given.</summary>
    public bool GetValue(Option<bool> option) => IsGiven(option);

    /// <returns>The arguments taken besides the option's own.</returns>
    private int Take(Option option, string? attached, string? next)
    {
        if (!_given.TryGetValue(option, out List<string>? texts))
            _given.Add(option, texts = []);
        else if (!option.Repeats && option.HelpName is not null)
            Error = $"{option.Name} is given twice";
        if (option.HelpName is null)
        {
            if (attached is not null)
                Error = $"{option.Name} takes no value";
            return 0;
        }
        string? value = attached ?? (option.TakesNext ? next : null);
        if (value is null)
        {
            if (!option.ValueIsOptional)
                Error = $"{option.Name}: {option.HelpName} is missing";
            return 0;
        }
        Error ??= option.Refuse(value);
        texts.Add(value);
        return attached is null ? 1 : 0;
    }

    private bool TakeLetters(string arg)
    {
        for (int i = 1; i < arg.Length && Error is null; i++)
        {
            if (Options.Find($"-{arg[i]}") is not { } option)
                return false;
            if (option.HelpName is not null)
            {
                Take(option, i + 1 < arg.Length ? arg[(i + 1)..] : null, null);
                return true;
            }
            Take(option, null, null);
        }
        return true;
    }
}
