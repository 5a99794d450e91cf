using Emulator.Cli.Commands;
using Emulator.Kernel;
using Emulator.Kernel.Syscalls;
using Emulator.Tests.Guests;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Cli;

/// <summary>The command line with a fault of ours built in, in a process of its own (see <see cref="Program"/>).</summary>
internal static class FailingEmulator
{
    /// <summary>The first argument of the test assembly as a program, before the place of the fault and the emulator's arguments.</summary>
    public const string Word = "failing-emulator";

    /// <summary>Places: before there is a machine, on a task's thread, on a thread that nobody looks after.</summary>
    public const string AtStart = "start", AtCall = "call", OnThread = "thread";

    /// <summary>The child's part.</summary>
    public static int Run(string where, string[] arguments) => CommandLine.Run(arguments, where switch
    {
        AtStart => static _ => throw new InvalidOperationException("a fault before the start"),
        AtCall => static options => options with { Trace = new ThrowingTracer() },
        OnThread => static options => options with { Trace = new ThreadTracer() },
        _ => throw new ArgumentException(where, nameof(where)),
    });

    /// <returns>What the command gave, and the file of details that its report names, deleted by now; empty: none.</returns>
    public static (Outcome Outcome, string Details) Command(string where, params string[] arguments)
    {
        Outcome outcome = NativeHost.Run(EmulatedHost.CommandSettings, NativeHost.Find("dotnet") ?? Environment.ProcessPath!,
            [typeof(FailingEmulator).Assembly.Location, Word, where, .. arguments]);
        string? row = outcome.Errors.Split('\n').FirstOrDefault(static line => line.StartsWith("  details ", StringComparison.Ordinal));
        string details = row?["  details ".Length..].Trim() ?? "";
        if (details.Length > 0)
        {
            Assert.That(File.ReadAllText(details), Does.Contain("   at Emulator.").And.Contain("replay: emulator"));
            File.Delete(details);
        }
        return (outcome, details);
    }

    private sealed class ThrowingTracer : ISyscallTracer
    {
        public void Enter(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args) => throw new InvalidOperationException("a fault at a system call");

        public void Leave(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args, long result)
        {
        }
    }

    private sealed class ThreadTracer : ISyscallTracer
    {
        public void Enter(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args)
        {
            var thread = new Thread(static () => throw new InvalidOperationException("a fault on a thread"));
            thread.Start();
            thread.Join();
        }

        public void Leave(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args, long result)
        {
        }
    }
}
