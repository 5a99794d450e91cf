using System.Text;

namespace Emulator.Tests.Guests;

/// <summary>A program to run: a host path, its arguments without argv[0], an environment, and what it reads.</summary>
public sealed record GuestRun(string Program, params string[] Arguments)
{
    public IReadOnlyList<string> Environment { get; init; } = ["PATH=/bin:/usr/bin", "LC_ALL=C"];

    public string Input { get; init; } = "";

    /// <summary>A host directory to run in. The emulated run uses <see cref="Twin"/> under this name, when there is one.</summary>
    public string Directory { get; init; } = "/";

    /// <summary>Where the emulated run's <see cref="Directory"/> really is on the host.</summary>
    public string? Twin { get; init; }

    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(60);

    public override string ToString() => string.Join(' ', [Path.GetFileName(Program), .. Arguments]);
}

/// <summary>What can be seen of a finished run. A fatal signal counts as status 128 + signal, as in a shell.</summary>
public sealed record Outcome(string Output, string Errors, int Status)
{
    /// <summary>The status of a run that was stopped because its time was up.</summary>
    public const int TimedOut = -1;

    public static string Decode(byte[] bytes) => Encoding.Latin1.GetString(bytes);

    /// <summary>The same output, errors and status; a failure shows both outcomes whole.</summary>
    public void AssertIs(Outcome expected)
    {
        if (this != expected)
            Assert.Fail($"expected {expected}\nbut was {this}");
    }

    public override string ToString()
    {
        string status = Status switch
        {
            TimedOut => "timed out",
            > 128 => $"signal {Status - 128}",
            _ => $"status {Status}",
        };
        return $"{status}\n--- stdout\n{Output}--- stderr\n{Errors}---";
    }
}
