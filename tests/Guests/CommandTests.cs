namespace Emulator.Tests.Guests;

/// <summary>The command as a shell sees it: descriptors, statuses and signals pass through.</summary>
public sealed class CommandTests
{
    [Test]
    public void The_first_words_of_the_emulator_are_a_guests()
    {
        Outcome outcome = EmulatedHost.Command(GuestPrograms.Guest("hello"), "run");
        Assert.That(outcome, Is.EqualTo(new Outcome("Hello from a guest program.\n", "", 0)));
    }

    [Test]
    public void Options_end_at_the_program()
    {
        GuestRun run = GuestPrograms.Guest("echo", "--help", "-g", "--", "", "run", "--vcpus", "3");
        Outcome outcome = EmulatedHost.Command(run, "run", "--vcpus", "2", "-U", "DOTNET_ROOT");
        Assert.That(outcome.Output, Does.StartWith("argc 8\nargv[1] \"--help\"\nargv[2] \"-g\"\nargv[3] \"--\"\nargv[4] \"\"\nargv[5] \"run\"\nargv[6] \"--vcpus\"\nargv[7] \"3\"\n"));
        Assert.That(outcome.Status, Is.Zero);
    }

    [TestCase("null", 139), TestCase("divide", 136), TestCase("ud2", 132), TestCase("abort", 134), TestCase("trap", 133), TestCase("syscall", 2)]
    public void A_fatal_signal_is_seen_as_that_signal(string way, int status)
    {
        Outcome outcome = EmulatedHost.Command(GuestPrograms.Guest("crash", way), "run");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Status, Is.EqualTo(status));
            Assert.That(outcome.Output, Does.StartWith($"crashing: {way}\n"));
            Assert.That(outcome.Errors, Does.Not.Contain("   at Emulator"), "no C# stack trace");
        }
    }

    [Test]
    public void A_program_that_spins_is_ended_by_the_time_out([Values("", "sleep", "fork", "threads")] string way)
    {
        Outcome outcome = EmulatedHost.Command(GuestPrograms.Guest("spin", way), "run", "--timeout", "8");
        Assert.That(outcome.Status, Is.EqualTo(124), outcome.ToString());
        Assert.That(outcome.Output, Is.EqualTo("spinning\n"));
    }

    [TestCase("/tmp", 126), TestCase("/dev/null", 126), TestCase("/no/such/program", 127), TestCase("", 127)]
    public void What_is_no_program_is_refused_with_one_line(string program, int status)
    {
        Outcome outcome = EmulatedHost.Command(GuestPrograms.Guest("hello") with { Program = program }, "run");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Status, Is.EqualTo(status));
            Assert.That(outcome.Errors, Does.StartWith("emulator: ").And.EndsWith("\n"));
            Assert.That(outcome.Errors.Split('\n'), Has.Length.EqualTo(2), "one line");
        }
    }

    [TestCase("--vcpus", "0"), TestCase("--vcpus", "many"), TestCase("--memory", "1"), TestCase("--tlb", "63x4"), TestCase("--cpu", "z80"), TestCase("--bogus", "1"),
        TestCase("--bind", "/tmp"), TestCase("--sched", "fair"),
        TestCase("--kernel-profile", "5.4"), TestCase("--flush-ceiling", "-1"), TestCase("--costs", "/no/such/file"), TestCase("--costs", "")]
    public void A_wrong_option_is_refused_with_one_line(string option, string value)
    {
        Outcome outcome = EmulatedHost.Command(GuestPrograms.Guest("hello"), "run", $"{option}={value}");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Status, Is.EqualTo(125));
            Assert.That(outcome.Output, Is.Empty);
            Assert.That(outcome.Errors, Does.StartWith("emulator: ").And.Contain("try 'emulator --help'"));
            Assert.That(outcome.Errors.Split('\n'), Has.Length.EqualTo(2), "one line");
        }
    }

    [Test, Platform("Linux")]
    public void A_pipe_is_no_program_and_nobody_waits_for_its_writer()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("fifo-");
        try
        {
            string pipe = Path.Combine(folder.FullName, "pipe");
            if (NativeHost.Find("mkfifo") is not { } mkfifo || NativeHost.Run(new(""), mkfifo, ["-m", "777", pipe]).Status != 0)
                Assert.Ignore("no mkfifo here");
            Outcome outcome = EmulatedHost.Command(new(pipe), "run");
            Assert.That(outcome, Is.EqualTo(new Outcome("", $"emulator: {pipe} is not a regular file\n", 126)));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>A host file that is open for writing cannot be executed (ETXTBSY), so what a guest only reads must be open for reading only.</summary>
    [Test, Platform("Linux")]
    public void What_a_guest_only_reads_can_be_executed_meanwhile()
    {
        DirectoryInfo folder = Directory.CreateTempSubdirectory("text-");
        try
        {
            string busybox = NativeHost.Find("busybox") ?? Ignore("no busybox here (Debian: apt-get install busybox-static)");
            string program = Path.Combine(folder.FullName, "busybox-original");
            File.Copy(busybox, program);
            // The guest copies the program, executes the copy at once and holds the original open; the host then executes both.
            const string Script = "exec 5<\"$0\"; cp \"$0\" busybox-copy && ./busybox-copy echo copied && \"$0\" cat; echo ended";
            GuestRun run = new(program, "sh", "-c", Script, program) { Directory = folder.FullName, Environment = ["PATH=/nowhere"] };
            Outcome inside = EmulatedHost.Run(run, GuestPrograms.Parallel(2) with { Binds = [new Kernel.Bind("/", "/")] });
            Assert.That(inside, Is.EqualTo(new Outcome("copied\nended\n", "", 0)));
            Assert.That(NativeHost.Run(new(Path.Combine(folder.FullName, "busybox-copy"), "echo", "native")).Output, Is.EqualTo("native\n"));

            string[] command = EmulatedHost.CommandLine("--bind", "/:/", program, "sh", "-c", "exec 5<\"$0\"; echo open; read x", program);
            using System.Diagnostics.Process holder = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(command[0], command[1..])
            {
                UseShellExecute = false,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
            })!;
            Assert.That(holder.StandardOutput.ReadLine(), Is.EqualTo("open"));
            Outcome native = NativeHost.Run(new(program, "echo", "native"));
            holder.StandardInput.Close();
            Assert.That(holder.WaitForExit(TimeSpan.FromSeconds(60)));
            Assert.That(native, Is.EqualTo(new Outcome("native\n", "", 0)));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>The runtime opens files of its own before we run, and they take the numbers that are free.</summary>
    [TestCase("<&-", "cat"), TestCase(">&-", "echo", "lost"), TestCase("2>&-", "sh", "-c", "echo lost >&2; echo $?"), TestCase("<&- >&- 2>&-", "echo", "lost"), Platform("Linux")]
    public void A_stream_that_is_closed_is_closed_for_the_guest(string redirection, params string[] applet)
    {
        string busybox = NativeHost.Find("busybox") ?? Ignore("no busybox here (Debian: apt-get install busybox-static)");
        string shell = NativeHost.Find("sh") ?? Ignore("no shell here");
        Outcome RunClosed(params string[] command) => NativeHost.Run(new(""), shell, ["-c", $"exec \"$@\" {redirection}", "sh", .. command]);
        Assert.That(RunClosed([.. EmulatedHost.CommandLine(busybox), .. applet]), Is.EqualTo(RunClosed([busybox, .. applet])));
    }

    [TestCase(">&-", "standard output is closed"), TestCase(">/dev/full", "No space left on device"), TestCase("1</dev/null", "Bad file descriptor"), Platform("Linux")]
    public void Where_nobody_can_read_what_we_have_to_say_one_line_says_why(string redirection, string reason)
    {
        string shell = NativeHost.Find("sh") ?? Ignore("no shell here");
        foreach (string verb in (string[])["--help", "compare --help", "list", "explain", "claims list --json"])
        {
            Outcome outcome = NativeHost.Run(new(""), shell, ["-c", $"exec \"$@\" {redirection}", "sh", .. EmulatedHost.CommandLine(verb.Split(' '))]);
            Assert.That((outcome.Status, outcome.Errors), Is.EqualTo((125, $"emulator: {(verb.Contains("--help", StringComparison.Ordinal) ? "help" : verb.Split(' ')[0])}: {reason}\n")), verb);
        }
    }

    private static string Ignore(string reason)
    {
        Assert.Ignore(reason);
        return reason;
    }
}
