using System.IO.Pipes;
using System.Text;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Notifiers;

namespace Emulator.Tests.Guests;

/// <summary>Runs programs in the emulator: in this process, or as the command that a user types.</summary>
public static class EmulatedHost
{
    public static readonly GuestRun CommandSettings = new("")
    {
        Environment = ["PATH=/bin:/usr/bin", "LC_ALL=C", "DOTNET_CLI_TELEMETRY_OPTOUT=1", $"DOTNET_ROOT={Environment.GetEnvironmentVariable("DOTNET_ROOT")}"],
    };

    /// <summary>Runs in a machine of this process; the guest's three descriptors are pipes.</summary>
    /// <param name="inspect">Called when the program has ended, before the machine goes.</param>
    /// <param name="prepare">Called before it starts.</param>
    public static Outcome Run(GuestRun run, MachineOptions options, Action<Machine>? inspect = null, Action<Machine>? prepare = null)
    {
        using GuestPipes pipes = new(run.Input);
        using Machine machine = new(Complete(run, options, pipes));
        prepare?.Invoke(machine);
        byte[][] arguments = [.. run.Arguments.Prepend(run.Program).Select(Encoding.UTF8.GetBytes)];
        byte[][] environment = [.. run.Environment.Select(Encoding.UTF8.GetBytes)];
        Task<ExitStatus> ended = Task.Factory.StartNew(() => machine.Run(run.Program, arguments, environment), CancellationToken.None,
            TaskCreationOptions.LongRunning, TaskScheduler.Default);
        // The machine's own time-out should have ended it; a machine that cannot even do that must not take the suite along.
        if (!ended.Wait(run.Timeout + TimeSpan.FromSeconds(10)))
        {
            (string soFar, string errorsSoFar) = pipes.Seen();
            return new(soFar, errorsSoFar + "(the machine did not stop at its time-out)\n", Outcome.TimedOut);
        }
        ExitStatus status = ended.Result;
        inspect?.Invoke(machine);
        (string output, string errors) = pipes.Finish();
        foreach (Violation violation in machine.Violations.All)
            errors += violation + "\n";
        return status.Reason switch
        {
            ExitReason.Exited => new(output, errors, status.Code),
            ExitReason.Signaled => new(output, errors, 128 + status.Signal),
            ExitReason.TimedOut => new(output, errors, Outcome.TimedOut),
            _ => new(output, $"{errors}({status.Reason}: {status.Message})\n", Outcome.TimedOut - 1),
        };
    }

    /// <summary>All that the machine counted, as text to compare.</summary>
    public static string Counters(Machine machine) =>
        string.Join('\n', CounterList.All.Select(counter => $"{counter.Name} {machine.Platform.Total(counter.Counter)}"));

    private static MachineOptions Complete(GuestRun run, MachineOptions options, GuestPipes pipes) => options with
    {
        Binds = run.Twin is null ? options.Binds : [.. options.Binds, new Bind(run.Twin, run.Directory)],
        WorkingDirectory = run.Directory,
        Timeout = run.Timeout,
        Stdin = pipes.Stdin,
        Stdout = pipes.Stdout,
        Stderr = pipes.Stderr,
        LockDep = true,
        Check = true,
    };

    /// <summary>Runs <c>emulator OPTIONS PROGRAM ARGUMENTS</c> as a user would.</summary>
    public static Outcome Command(GuestRun run, params string[] options)
    {
        string[] command = CommandLine([.. options, run.Program, .. run.Arguments]);
        return NativeHost.Run(CommandSettings with { Input = run.Input, Directory = run.Directory, Timeout = run.Timeout + TimeSpan.FromSeconds(20) }, command[0], command[1..]);
    }

    /// <summary>What users run, compiled ahead of time where the build does that; a copy of it without that lies beside the tests.</summary>
    private static readonly string Built =
        AppContext.BaseDirectory.Replace(Path.Combine(GuestPrograms.Root, "tests"), Path.Combine(GuestPrograms.Root, "emulator", "Cli"), StringComparison.Ordinal);

    /// <summary>The host's words for <c>emulator WORDS</c>.</summary>
    public static string[] CommandLine(params string[] words) =>
        [NativeHost.Find("dotnet") ?? Environment.ProcessPath!, Path.Combine(Built, "emulator.dll"), .. words];
}

/// <summary>The host's ends of a guest's standard descriptors, drained as the guest writes.</summary>
public sealed class GuestPipes : IDisposable
{
    private readonly AnonymousPipeServerStream _input = new(PipeDirection.Out), _output = new(PipeDirection.In), _errors = new(PipeDirection.In);
    private readonly MemoryStream _outputBytes = new(), _errorBytes = new();
    private readonly Task _work;

    public GuestPipes(string input)
    {
        Stdin = (int)_input.ClientSafePipeHandle.DangerousGetHandle();
        Stdout = (int)_output.ClientSafePipeHandle.DangerousGetHandle();
        Stderr = (int)_errors.ClientSafePipeHandle.DangerousGetHandle();
        _work = Task.WhenAll(Start(() => Feed(input)), Start(() => Drain(_output, _outputBytes)), Start(() => Drain(_errors, _errorBytes)));
    }

    public int Stdin { get; }

    public int Stdout { get; }

    public int Stderr { get; }

    /// <summary>Closes the guest's ends and returns all that was written to them.</summary>
    public (string Output, string Errors) Finish()
    {
        _input.DisposeLocalCopyOfClientHandle();
        _output.DisposeLocalCopyOfClientHandle();
        _errors.DisposeLocalCopyOfClientHandle();
        _work.Wait(TimeSpan.FromSeconds(10));
        return Seen();
    }

    /// <summary>What was written so far.</summary>
    public (string Output, string Errors) Seen() => (Text(_outputBytes), Text(_errorBytes));

    public void Dispose()
    {
        // Readers that still wait would keep their streams from closing.
        Finish();
        _input.Dispose();
        _output.Dispose();
        _errors.Dispose();
    }

    private static string Text(MemoryStream stream)
    {
        lock (stream)
            return Outcome.Decode(stream.ToArray());
    }

    private static Task Start(Action action) => Task.Factory.StartNew(action, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Feed(string input)
    {
        try
        {
            _input.Write(Encoding.Latin1.GetBytes(input));
        }
        catch (IOException)
        {
            // The guest ended without reading its input.
        }
        _input.Dispose();
    }

    private static void Drain(AnonymousPipeServerStream from, MemoryStream to)
    {
        byte[] buffer = new byte[65536];
        for (int count; (count = from.Read(buffer)) > 0;)
            lock (to)
                to.Write(buffer, 0, count);
    }
}
