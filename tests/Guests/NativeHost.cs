using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace Emulator.Tests.Guests;

/// <summary>Runs programs on the host kernel: the reference for everything that the emulator runs.</summary>
public static class NativeHost
{
    private static readonly ConcurrentDictionary<string, Lazy<Outcome>> Known = new(StringComparer.Ordinal);

    /// <summary>An env(1) that knows --default-signal (coreutils 8.31), or null.</summary>
    private static readonly string? Defaults = FindDefaults();

    /// <summary>Whether guests can run here without an emulator.</summary>
    public static bool IsLinux64 { get; } = OperatingSystem.IsLinux() && RuntimeInformation.OSArchitecture == Architecture.X64;

    /// <summary>The outcome of a run that is the same each time; run once however many tests ask for it.</summary>
    public static Outcome Reference(GuestRun run) => Known.GetOrAdd($"{run.Program}\0{string.Join('\0', run.Arguments)}", _ => new(() => Run(run))).Value;

    /// <summary>
    /// Runs on the host's kernel, with the signals that the .NET runtime ignores (SIGPIPE) back at their defaults where the host's env can do that:
    /// an ignored signal is inherited through execve.
    /// </summary>
    public static Outcome Run(GuestRun run) => Defaults is null ? Run(run, run.Program, run.Arguments) : Run(run, Defaults, ["--default-signal", run.Program, .. run.Arguments]);

    /// <summary>Runs another program (a compiler, the emulator's command) with the settings of <paramref name="run"/>.</summary>
    public static Outcome Run(GuestRun run, string program, IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(program, arguments)
        {
            UseShellExecute = false,
            WorkingDirectory = run.Directory,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.Latin1,
            StandardErrorEncoding = Encoding.Latin1,
            StandardInputEncoding = Encoding.Latin1,
        };
        start.Environment.Clear();
        foreach (string variable in run.Environment)
        {
            string[] parts = variable.Split('=', 2);
            start.Environment[parts[0]] = parts[1];
        }
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        try
        {
            process.StandardInput.Write(run.Input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // The program ended without reading its input.
        }
        bool ended = process.WaitForExit(run.Timeout);
        if (!ended)
            process.Kill(entireProcessTree: true);
        process.WaitForExit();
        return new(output.Result, errors.Result, ended ? process.ExitCode : Outcome.TimedOut);
    }

    /// <summary>Compiles C against the installed C library; the test is ignored where that cannot be done.</summary>
    public static void CompileStatic(string source, string output, params string[] more)
    {
        if (!IsLinux64 || Find("gcc") is not { } gcc)
        {
            Assert.Ignore("no gcc here");
            return;
        }
        GuestRun shell = new("") { Environment = [$"PATH={Environment.GetEnvironmentVariable("PATH")}"] };
        Outcome built = Run(shell, gcc, ["-O2", "-static", "-pthread", .. more, "-o", output, source]);
        Assert.That(built.Status, Is.Zero, built.ToString());
    }

    private static string? FindDefaults()
    {
        GuestRun nothing = new("");
        return Find("env") is { } env && Run(nothing, env, ["--default-signal", "true"]).Status == 0 ? env : null;
    }

    /// <summary>The first of these programs that exists on the host's path, or null.</summary>
    public static string? Find(params string[] names) =>
        names.SelectMany(_ => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':'), (name, folder) => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
}
