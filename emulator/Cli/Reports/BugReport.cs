using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Emulator.Cli.Host;
using Emulator.Kernel.Reports;

namespace Emulator.Cli.Reports;

/// <summary>A fault of ours for people: never a C# stack trace on the terminal, but the name of a file that has it.</summary>
/// <param name="Id">EMU-BUG and a number that the same fault always gets.</param>
/// <param name="Details">The file, or null: none could be written.</param>
internal sealed partial record BugReport(string Id, string? Details, string Text)
{
    /// <summary>Frames of the stack that tell one fault from another.</summary>
    private const int SignificantFrames = 3;

    /// <param name="report">With the exception; with what else is known, if it was a task's.</param>
    public static BugReport Create(Report report, RunFacts run, Palette palette)
    {
        string id = Identify(report.Failure!);
        string? path = WriteDetails(id, $"""
            {id}
            {typeof(BugReport).Assembly.GetName().Version}, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}, {RuntimeInformation.ProcessArchitecture}
            replay: {run.ReplayLine}

            {report.Failure}

            {new ReportRenderer(run, new Palette("never")).Render(report, id)}
            """);
        return new BugReport(id, path, new ReportRenderer(run, palette).Render(report, id, path ?? "no file could be written for them"));
    }

    private static string Identify(Exception e)
    {
        // Methods without files, lines and offsets: those change with every build.
        IEnumerable<string> frames = (e.StackTrace ?? "").Split('\n').Select(static line => Source().Replace(line.Trim(), "")).Take(SignificantFrames);
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{e.GetType()}\n{string.Join('\n', frames)}"));
        return $"{Diagnostics.Bug.Id}-{Convert.ToHexStringLower(hash, 0, 4)}";
    }

    private static string? WriteDetails(string id, string text)
    {
        string path = Path.Combine(Path.GetTempPath(), $"emulator-{id}-{Environment.ProcessId}.txt");
        try
        {
            // Only a new file: in a directory that is everybody's, an old one may be somebody's link.
            using var writer = new StreamWriter(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write });
            writer.Write(text);
            return path;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    [GeneratedRegex(@" in .*:line \d+$", RegexOptions.None, 1000)]
    private static partial Regex Source();
}
