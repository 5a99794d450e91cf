using Emulator.Cli.Host;

namespace Emulator.Cli.Reports;

/// <summary>Colour, when standard error is a terminal and nobody objects (no-color.org).</summary>
internal sealed class Palette
{
    public Palette(string when) => Enabled = when switch
    {
        "always" => true,
        "never" => false,
        _ => string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")) && HostProcess.IsTerminal(2),
    };

    public bool Enabled { get; }

    public string Title(string text) => Paint(text, "1;31");

    public string Mark(string text) => Paint(text, "1;33");

    public string Dim(string text) => Paint(text, "2");

    private string Paint(string text, string code) => Enabled ? $"\e[{code}m{text}\e[0m" : text;
}
