using Emulator.Tests.Guests;
using static Emulator.Tests.Cli.PseudoTerminal;

namespace Emulator.Tests.Cli;

/// <summary>The emulator on a terminal: the keyboard's signals, job control, the window and the modes are the guest's.</summary>
[Platform("Linux")]
public sealed class TerminalTests
{
    private const int SIGINT = 2, SIGQUIT = 3, SIGTSTP = 20;

    private static readonly string Spin = GuestPrograms.Guest("spin").Program;

    private static readonly string[] Environment = ["PATH=/nowhere", "HOME=/", "TERM=dumb", "LC_ALL=C", $"DOTNET_ROOT={System.Environment.GetEnvironmentVariable("DOTNET_ROOT")}"];

    private static string Busybox => NativeHost.Find("busybox") ?? Ignore("no busybox here (Debian: apt-get install busybox-static)");

    private static string Shell => File.Exists("/bin/sh") ? "/bin/sh" : Ignore("no /bin/sh here");

    private static string Ignore(string reason)
    {
        Assert.Ignore(reason);
        return reason;
    }

    private static PseudoTerminal On(params string[] command) => new(24, 80, Environment, command);

    private static string[] Emulate(params string[] words) => EmulatedHost.CommandLine(words);

    [TestCase('C', SIGINT), TestCase('\\', SIGQUIT)]
    public void A_control_key_kills_the_guest_and_whoever_started_the_emulator_sees_the_signal(char key, int signal)
    {
        using PseudoTerminal terminal = On(Emulate(Spin, "sleep"));
        terminal.Expect("spinning");
        terminal.Type(Control(key));
        Assert.That(terminal.Wait(), Is.EqualTo(Signaled + signal));
    }

    [TestCase('C', SIGINT), TestCase('\\', SIGQUIT)]
    public void A_control_key_ends_a_comparison_whichever_guest_is_running(char key, int signal)
    {
        using PseudoTerminal terminal = On(Emulate("compare", "-v", "--sweep", "seed=1,2,3", GuestPrograms.Guest("mshare/stress").Program, "8", "100000", "{seed}", "50"));
        terminal.Expect("vCPUs");
        terminal.Type(Control(key));
        Assert.That(terminal.Wait(), Is.EqualTo(Signaled + signal));
    }

    [Test]
    public void A_guest_that_handles_the_interrupt_goes_on()
    {
        // Whether the key comes before the read or during it, the loop reads the word.
        using PseudoTerminal terminal = On(Emulate(Busybox, "sh", "-c", "trap 'echo caught' INT; echo ready; until read x; do :; done; echo got $x; exit 9"));
        terminal.Expect("ready");
        terminal.Type(Control('C'));
        terminal.Expect("caught");
        terminal.Type("word\n");
        terminal.Expect("got word");
        Assert.That(terminal.Wait(), Is.EqualTo(9));
    }

    [Test]
    public void The_stop_key_gives_the_shell_its_prompt_and_fg_continues_the_guest()
    {
        string guest = string.Join(' ', Emulate(Busybox, "sh", "-c", "'echo ready; while read x; do echo got $x; done'"));
        using PseudoTerminal terminal = On(Shell, "-m", "-c", $"{guest}; echo stopped=$?; read x; fg >/dev/null; echo ended=$?");
        terminal.Expect("ready");
        terminal.Type("one\n");
        terminal.Expect("got one");
        terminal.Type(Control('Z'));
        terminal.Expect($"stopped={Signaled + SIGTSTP}");
        terminal.Type("\ntwo\n");
        terminal.Expect("got two");
        terminal.Type(Control('D'));
        terminal.Expect("ended=0");
        Assert.That(terminal.Wait(), Is.Zero);
    }

    [Test]
    public void The_guest_sees_the_size_of_the_window_and_is_told_when_it_changes()
    {
        using PseudoTerminal terminal = On(Emulate(Busybox, "sh", "-c", "trap 'stty size; exit 5' WINCH; stty size; while :; do :; done"));
        terminal.Expect("24 80");
        terminal.Resize(33, 101);
        terminal.Expect("33 101");
        Assert.That(terminal.Wait(), Is.EqualTo(5));
    }

    [Test]
    public void The_guest_sets_the_terminals_modes()
    {
        using PseudoTerminal terminal = On(Emulate(Busybox, "sh", "-c", "stty -echo; echo silent; read x; echo read $x; stty echo; echo loud; read x"));
        terminal.Expect("silent");
        Assert.That(terminal.Echoes, Is.False);
        terminal.Type("secret\n");
        terminal.Expect("read secret");
        terminal.Expect("loud");
        Assert.That(terminal.Echoes, Is.True);
        terminal.Type("\n");
        Assert.That(terminal.Wait(), Is.Zero);
        Assert.That(terminal.Shown.Split("secret"), Has.Length.EqualTo(2), "shown by the guest only");
    }

    [Test]
    public void The_guest_reads_the_modes_that_the_host_has()
    {
        string busybox = Busybox;
        string[] seen = [.. new[] { new[] { busybox }, Emulate(busybox) }.Select(program =>
        {
            using PseudoTerminal terminal = On([.. program, "stty", "-a"]);
            Assert.That(terminal.Wait(), Is.Zero, terminal.Shown);
            terminal.Expect("tostop");
            return terminal.Shown;
        })];
        Assert.That(seen[1], Is.EqualTo(seen[0]));
    }

    [Test]
    public void An_interactive_shell_survives_the_interrupt_of_its_child()
    {
        using PseudoTerminal terminal = On(Emulate(Busybox, "sh", "-i"));
        terminal.Type("echo started $((40+1)); sleep 1000\n");
        terminal.Expect("started 41");
        terminal.Type(Control('C'));
        terminal.Type("echo status $?\n");
        terminal.Expect($"status {Signaled + SIGINT}");
        terminal.Type("exit 7\n");
        Assert.That(terminal.Wait(), Is.EqualTo(7));
    }

    [Test]
    public void An_interactive_shell_has_jobs()
    {
        using PseudoTerminal terminal = On(Emulate(Busybox, "sh", "-i"));
        terminal.Type("echo started $((40+1)); cat\n");
        terminal.Expect("started 41");
        terminal.Type("line\n");
        terminal.Expect("line\r\nline\r\n");
        terminal.Type(Control('Z'));
        terminal.Expect("Stopped");
        terminal.Expect("$ ");
        terminal.Type("fg\n");
        terminal.Expect("cat\r\n");
        terminal.Type("again\n");
        terminal.Expect("again\r\nagain\r\n");
        terminal.Type(Control('D'));
        terminal.Type("exit 3\n");
        Assert.That(terminal.Wait(), Is.EqualTo(3));
    }
}
