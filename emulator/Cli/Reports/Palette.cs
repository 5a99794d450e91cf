using Emulator.Cli.Host;
using Spectre.Console;

namespace Emulator.Cli.Reports;

/// <summary>Colour, when the stream is a terminal and nobody objects (no-color.org).</summary>
internal sealed class Palette
{
    /// <param name="when">auto, always or never.</param>
    /// <param name="descriptor">The stream that is written to.</param>
    public Palette(string when, int descriptor = HostProcess.StandardError) => Enabled = when switch
    {
        "always" => true,
        "never" => false,
        _ => string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")) && HostProcess.IsTerminal(descriptor),
    };

    public bool Enabled { get; }

    /// <summary>Whether --color knows the word.</summary>
    public static bool IsChoice(string? when) => when is "auto" or "always" or "never";

    public string Title(string text) => Paint(text, "1;31");

    public string Mark(string text) => Paint(text, "1;33");

    public string Dim(string text) => Paint(text, "2");

    /// <summary>A console for tables of a fixed width.</summary>
    public IAnsiConsole Console(TextWriter output, int width)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = Enabled ? AnsiSupport.Yes : AnsiSupport.No,
            ColorSystem = Enabled ? ColorSystemSupport.Standard : ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
            Out = new AnsiConsoleOutput(output),
        });
        console.Profile.Width = width;
        return console;
    }

    private string Paint(string text, string code) => Enabled ? $"\e[{code}m{text}\e[0m" : text;
}
