using System.Text;

namespace Emulator.Cli.Host;

/// <summary>Standard error, each call written at once: it is shared with the guest.</summary>
internal sealed class ErrorWriter : TextWriter
{
    public override Encoding Encoding => Encoding.UTF8;

    public override void Write(char value) => HostProcess.WriteError(value.ToString());

    public override void Write(string? value) => HostProcess.WriteError(value ?? "");

    public override void WriteLine(string? value) => HostProcess.WriteError(value + "\n");

    public override void Write(char[] buffer, int index, int count) => HostProcess.WriteError(new string(buffer, index, count));
}
