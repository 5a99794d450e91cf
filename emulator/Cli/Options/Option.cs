using System.Globalization;

namespace Emulator.Cli.Options;

/// <summary>An option of the command line: how it is written, and what help says of it.</summary>
internal abstract class Option(string[] names)
{
    /// <summary>All ways to write it, the first with its dashes as messages name it.</summary>
    public IReadOnlyList<string> Names { get; } = names;

    public string Name => Names[0];

    public string Description { get; init; } = "";

    /// <summary>A description that takes work to write, done only for help.</summary>
    public Func<string>? Describe { get; init; }

    /// <summary>What help calls the value; null for a switch.</summary>
    public string? HelpName { get; init; }

    /// <summary>The value may be left out, and is otherwise attached: <c>--stats=json</c>.</summary>
    public bool ValueIsOptional { get; init; }

    /// <summary>Whether an argument that follows is the value.</summary>
    public bool TakesNext => HelpName is not null && !ValueIsOptional;

    /// <summary>Whether each occurrence adds a value.</summary>
    public abstract bool Repeats { get; }

    /// <summary>Why a text is no value of this option; null: it is one.</summary>
    public abstract string? Refuse(string text);

    /// <summary>The value that help shows for an option that is not given; null: none.</summary>
    public abstract string? DefaultText { get; }
}

/// <summary>
/// An option with values of type <typeparamref name="T"/>: text, repeated text (an array), a number, or a switch.
/// No constraint says so: the ahead-of-time compiler leaves constrained code over numbers to the JIT.
/// </summary>
internal sealed class Option<T>(params string[] names) : Option(names)
{
    /// <summary>The value of an option that is not given; without it, the type's own default.</summary>
    public Func<Option, T>? DefaultValueFactory { get; init; }

    public override bool Repeats => typeof(T) == typeof(string[]);

    public override string? DefaultText => DefaultValueFactory is { } make ? string.Create(CultureInfo.InvariantCulture, $"{make(this)}") : null;

    public override string? Refuse(string text) => typeof(T) == typeof(string[]) || typeof(T) == typeof(string) || Parse(text) is not null ? null : $"{Name} {text}: not a number";

    /// <param name="texts">The values given, at least one.</param>
    public T Read(IReadOnlyList<string> texts)
        => typeof(T) == typeof(string[]) ? (T)(object)texts.ToArray() : typeof(T) == typeof(string) ? (T)(object)texts[^1] : (T)Parse(texts[^1])!;

    private static object? Parse(string text)
    {
        if (typeof(T) == typeof(int))
            return int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number) ? number : null;
        if (typeof(T) == typeof(ulong))
            return ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong number) ? number : null;
        if (typeof(T) == typeof(long?))
            return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number) ? number : null;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double real) ? real : null;
    }
}
