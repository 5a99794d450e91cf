using System.Text.Json;
using Emulator.Cli.Reports;
using Emulator.Kernel;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Cli;

/// <summary>Every way to end says so in the status file, which is there whole or not at all.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed class StatusFileTests
{
    private static readonly string Hello = GuestPrograms.Guest("hello").Program;
    private static readonly string Crash = GuestPrograms.Guest("crash").Program;
    private static readonly string Spin = GuestPrograms.Guest("spin").Program;

    private static JsonElement Status(Func<string, Outcome> run, int status)
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("status-");
        try
        {
            string file = Path.Combine(folder.FullName, "status.json");
            Outcome outcome = run(file);
            Assert.That(outcome.Status, Is.EqualTo(status), outcome.ToString());
            Assert.That(Directory.GetFiles(folder.FullName), Is.EqualTo([file]), "nothing is left beside it");
            using var json = JsonDocument.Parse(File.ReadAllText(file));
            Assert.That(json.RootElement.GetProperty("exit_code").GetInt32(), Is.EqualTo(status));
            return json.RootElement.Clone();
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static JsonElement Status(int status, params string[] words) => Status(file =>
    {
        string[] command = EmulatedHost.CommandLine(["--status-file", file, .. words]);
        return NativeHost.Run(EmulatedHost.CommandSettings, command[0], command[1..]);
    }, status);

    private static (string?, string?) Reason(JsonElement json) => (json.GetProperty("cause").GetString(), json.GetProperty("id").GetString());

    private static readonly object?[][] Ends =
    [
        [0, "exited", null, (string[])[Hello]],
        [2, "exited", null, (string[])[Crash, "syscall"]],
        [139, "signaled", "EMU-GUEST-CRASH", (string[])[Crash, "null"]],
        [124, "time-out", "EMU-TIMEOUT", (string[])["--timeout", "1", Spin]],
        [124, "instruction-limit", "EMU-INSN-LIMIT", (string[])["--max-instructions", "10000", Spin]],
        [125, "unsupported-syscall", "EMU-UNSUP-SYSCALL", (string[])["--unsupported=fail", Crash, "syscall"]],
        [127, "not-found", "EMU-NOT-FOUND", (string[])["/no/such/program"]],
        [126, "not-executable", "EMU-NOT-EXEC", (string[])["/dev/null"]],
        [125, "wrong-usage", "EMU-USAGE", (string[])["--bogus", Hello]],
        [125, "wrong-usage", "EMU-USAGE", (string[])["--vcpus", "0", Hello]],
        [125, "wrong-usage", "EMU-USAGE", (string[])[]],
        [125, "no-machine", "EMU-SETUP", (string[])["-o", "/no/such/file", Hello]],
    ];

    [TestCaseSource(nameof(Ends))]
    public void Each_end_has_its_cause_and_identifier(int status, string cause, string? id, string[] words) => Assert.That(Reason(Status(status, words)), Is.EqualTo((cause, id)));

    [Test]
    public void A_crash_says_where_and_how_to_see_it_again()
    {
        JsonElement json = Status(139, "--sched", "deterministic", Crash, "write"), at = json.GetProperty("at");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("signal").GetString(), Is.EqualTo("SIGSEGV"));
            Assert.That(at.GetProperty("symbol").GetString(), Is.EqualTo("write_read_only+0x0"));
            Assert.That(at.GetProperty("file").GetString(), Does.StartWith("crash.elf:0x"));
            Assert.That(json.GetProperty("instructions").GetInt64(), Is.Positive);
            string?[] replay = [.. json.GetProperty("replay").EnumerateArray().Select(static word => word.GetString())];
            Assert.That(replay[..4], Is.EqualTo(["emulator", "run", "--seed", "0"]));
            Assert.That(replay[^2..], Is.EqualTo([Crash, "write"]));
        }
    }

    [Test]
    public void A_program_that_needs_too_much_memory_is_told_apart_from_one_that_was_killed()
    {
        JsonElement json = Status(137, "--memory", "4M", GuestPrograms.Guest("sparse").Program);
        Assert.That(Reason(json), Is.EqualTo(("signaled", "EMU-GUEST-OOM")));
    }

    [Test]
    public void A_fault_of_ours_has_its_stack_here_and_not_on_the_terminal(
        [Values(FailingEmulator.AtStart, FailingEmulator.AtCall, FailingEmulator.OnThread)] string where)
    {
        string errors = "", details = "";
        JsonElement json = Status(file =>
        {
            (Outcome outcome, details) = FailingEmulator.Command(where, "--status-file", file, Hello);
            errors = outcome.Errors;
            return outcome;
        }, 125);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(json.GetProperty("cause").GetString(), Is.EqualTo("emulator-bug"));
            Assert.That(json.GetProperty("id").GetString(), Does.Match("^EMU-BUG-[0-9a-f]{8}$"));
            Assert.That(json.GetProperty("failure").GetString(), Does.Contain("a fault ").And.Contain("   at Emulator."));
            Assert.That(json.GetProperty("details").GetString(), Is.EqualTo(details).And.Not.Empty);
            Assert.That(errors, Does.StartWith("emulator bug: InvalidOperationException: a fault ").And.Not.Contain("   at "));
        }
    }

    [Test]
    public void A_finding_has_its_identifier_and_text()
    {
        JsonElement json = Status(1, "--sched", "deterministic", "--check", "--vcpus", "2", "--flush", "none", GuestPrograms.Guest("mshare/punch").Program, "2", "2");
        JsonElement finding = json.GetProperty("findings")[0];
        Assert.That(json.GetProperty("id").GetString(), Is.EqualTo(finding.GetProperty("id").GetString()).And.StartWith("EMU-"));
        Assert.That(finding.GetProperty("rule").GetString(), Is.Not.Empty);
        Assert.That(finding.GetProperty("text").GetString(), Is.Not.Empty);
    }

    [Test, Platform("Linux")]
    public void The_interrupt_key_is_a_signal_of_the_program() => Assert.That(Reason(Status(static file =>
    {
        string[] command = EmulatedHost.CommandLine("--status-file", file, Spin);
        using System.Diagnostics.Process process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(command[0], command[1..]) { UseShellExecute = false, RedirectStandardOutput = true })!;
        Assert.That(process.StandardOutput.ReadLine(), Is.EqualTo("spinning"));
        Assert.That(NativeHost.Run(new(""), NativeHost.Find("kill") ?? "/bin/kill", ["-INT", $"{process.Id}"]).Status, Is.Zero);
        if (!process.WaitForExit(TimeSpan.FromSeconds(20)))
            process.Kill();
        process.WaitForExit();
        return new Outcome("", "", process.ExitCode);
    }, 130)), Is.EqualTo(("signaled", (string?)null)));

    [TestCase(ExitReason.Deadlock, null, ExpectedResult = "deadlock EMU-DEADLOCK 125")]
    [TestCase(ExitReason.Stopped, "kernel panic - not syncing: no memory", ExpectedResult = "stopped EMU-PANIC 125")]
    [TestCase(ExitReason.Stopped, "no such directory", ExpectedResult = "stopped EMU-SETUP 125")]
    public string Ends_of_the_machine_have_theirs(ExitReason reason, string? message)
    {
        RunEnd end = RunEnd.Of(new ExitStatus(reason) { Message = message }, "program");
        return $"{end.Cause} {end.Id} {end.ExitCode}";
    }

    [Test]
    public void What_cannot_be_written_is_refused_before_the_run()
    {
        foreach (string file in new[] { "/no/such/folder/status", "/tmp", "" })
        {
            string[] command = EmulatedHost.CommandLine("--status-file", file, Hello);
            Outcome outcome = NativeHost.Run(EmulatedHost.CommandSettings, command[0], command[1..]);
            Assert.That(outcome.Status, Is.EqualTo(125), outcome.ToString());
            Assert.That(outcome.Output, Is.Empty, "nothing was run");
            Assert.That(outcome.Errors, Does.StartWith($"emulator: cannot write to '{file}': "));
        }
    }
}
