using System.Text;
using System.Text.RegularExpressions;
using Emulator.Hardware.Cpu;
using Emulator.Tests.Guests;
using static Iced.Intel.AssemblerRegisters;

namespace Emulator.Tests.Cli;

/// <summary>
/// The formats that people and programs read, against kept texts with what varies masked. EMULATOR_WRITE_GOLDENS=1 writes them anew;
/// look at the difference before it is committed.
/// </summary>
public sealed partial class GoldenTests
{
    /// <summary>Milliseconds that a mask may take.</summary>
    private const int Patience = 10_000;

    private static readonly string Folder = Path.Combine(GuestPrograms.Root, "tests", "Cli", "Goldens");

    private static readonly bool Rewrite = Environment.GetEnvironmentVariable("EMULATOR_WRITE_GOLDENS") is { Length: > 0 };

    [Test]
    public void Help() => Check("help", Outcome("hello", "--help").Output);

    [Test]
    public void Help_of_compare()
    {
        string[] command = EmulatedHost.CommandLine("compare", "--help");
        Check("help-compare", NativeHost.Run(EmulatedHost.CommandSettings, command[0], command[1..]).Output);
    }

    /// <summary>The frame of the table; counts are masked, and one policy leaves nothing to be ordered.</summary>
    [Test]
    public void A_comparison_as_a_table()
    {
        string[] command = EmulatedHost.CommandLine("compare", "--flush", "union-mask", "--sweep", "sharers=1,2", GuestPrograms.Guest("mshare/punch").Program, "{sharers}", "2");
        string table = Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(NativeHost.Run(EmulatedHost.CommandSettings, command[0], command[1..]).Output));
        IEnumerable<string> lines = table.Split('\n').Select(line => line.Trim());
        Check("compare-table", Rules().Replace(Blanks().Replace(Numbers().Replace(string.Join('\n', lines), "N"), " "), "RULE"));
    }

    [TestCase("hello"), TestCase("fork", "2"), TestCase("crash", "null")]
    public void System_calls(string guest, params string[] arguments)
        => Check($"strace-{guest}", Addresses().Replace(Errors(guest, arguments, "--sched", "deterministic", "-q", "--strace"), "0xADDRESS"));

    [Test]
    public void Help_of([Values("list", "explain")] string verb) => Check($"help-{verb}", Command(verb, "--help"));

    [Test]
    public void What_there_is_to_list() => Check("list", Command("list"));

    /// <summary>Some rows of each: a list that grows by a row is no change of format.</summary>
    [TestCase("instructions", "andn r"), TestCase("syscalls", "io_uring"), TestCase("syscalls", "mmap"), TestCase("counters", "disturb."), TestCase("policies", "host-"),
        TestCase("claims", "end-means-freed"), TestCase("udmabuf", "pinned")]
    public void Lists(string what, string filter) => Check($"list-{what}-{filter.Trim('.', '-').Replace(' ', '-')}", Command("list", what, filter) + Command("list", "--json", what, filter));

    [Test]
    public void Why_a_run_ended()
    {
        string file = Path.Combine(Path.GetTempPath(), $"status-{Guid.NewGuid():N}.json");
        try
        {
            Errors("crash", ["write"], "--sched", "deterministic", "--status-file", file);
            string json = File.ReadAllText(file).Replace(file, "FILE", StringComparison.Ordinal).Replace(GuestPrograms.Root, "ROOT", StringComparison.Ordinal);
            Check("status-crash", Addresses().Replace(Varying().Replace(json, "${name}N"), "0xADDRESS"));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [TestCase("null"), TestCase("write"), TestCase("divide"), TestCase("ud2"), TestCase("noexec"), TestCase("abort")]
    public void A_crash(string way) => CheckReport($"crash-{way}", Errors("crash", [way], "--sched", "deterministic"));

    [Test]
    public void A_system_call_that_is_not_implemented_in_one_line() => CheckReport("syscall-brief", Errors("crash", ["syscall"], "--sched", "deterministic"));

    [Test]
    public void A_system_call_that_is_not_implemented() => CheckReport("syscall-fail", Errors("crash", ["syscall"], "--sched", "deterministic", "--unsupported=fail"));

    /// <summary>No guest program has such an instruction, so the report is made here.</summary>
    [Test]
    public void An_instruction_that_is_not_implemented() => CheckReport("instruction", TinyFile().Replace(ReportTests.Report(CpuFeatures.Max, a => a.vaddps(ymm0, ymm1, ymm2)), "tiny"));

    [Test]
    public void An_instruction_of_a_higher_level() => CheckReport("instruction-level", TinyFile().Replace(ReportTests.Report(CpuFeatures.V1, a => a.pshufb(xmm0, xmm1)), "tiny"));

    [Test]
    public void A_program_without_memory() => CheckReport("oom", Errors("oom", ["1000"], "--sched", "deterministic", "--memory", "16M"));

    [Test]
    public void A_fault_of_ours()
    {
        (Outcome outcome, string details) = FailingEmulator.Command(FailingEmulator.AtCall, "--sched", "deterministic", GuestPrograms.Guest("hello").Program);
        CheckReport("bug", BugNumber().Replace(outcome.Errors.Replace(details, "DETAILS", StringComparison.Ordinal), "EMU-BUG-NUMBER"));
    }

    [Test]
    public void Identifiers() => Check("explain", Command("explain"));

    [Test]
    public void An_explanation([Values("EMU-GUEST-CRASH", "EMU-CHECK-STALE")] string id) => Check($"explain-{id}", Command("explain", id));

    /// <summary>The frame of the table, and the one row that every run has; which other rows there are changes with the counters.</summary>
    [Test]
    public void Statistics_as_a_table()
    {
        string[] lines = Errors("hello", [], "--sched", "deterministic", "--stats").Split('\n');
        IEnumerable<string> frame = lines.Where(line => !Row().IsMatch(line) || line.Contains(" cpu.instructions ", StringComparison.Ordinal));
        Check("stats-table", Blanks().Replace(Numbers().Replace(string.Join('\n', frame.Select(line => line.TrimEnd())), "N"), " "));
        Assert.That(lines.Count(Row().IsMatch), Is.GreaterThan(10));
    }

    /// <summary>The schema; each counter's name stands once in the machine's totals and, where it is a vCPU's, in the arrays.</summary>
    [Test]
    public void Statistics_for_programs()
    {
        string json = Errors("hello", [], "--sched", "deterministic", "--vcpus", "2", "--stats=json").Replace(GuestPrograms.Root, "ROOT", StringComparison.Ordinal);
        json = Totals().Replace(json, "{\"NAME\":N,...}");
        json = Arrays().Replace(json, "{\"NAME\":[N,N],...}");
        Check("stats-json", Measured().Replace(json, "${name}N"));
    }

    private static string Command(params string[] words)
    {
        string[] command = EmulatedHost.CommandLine(words);
        Outcome outcome = NativeHost.Run(EmulatedHost.CommandSettings, command[0], command[1..]);
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        return Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(outcome.Output));
    }

    /// <summary>A report without what changes with the guest's code, the kernel's use of frames, and the place of the repository.</summary>
    private static void CheckReport(string name, string report)
    {
        report = Registers().Replace(report.Replace(GuestPrograms.Root, "ROOT", StringComparison.Ordinal), "${name} VALUE");
        report = Counts().Replace(KernelLines().Replace(report, ""), "N ${what}");
        Check(name, Frames().Replace(Addresses().Replace(report, "0xADDRESS"), "frame N"));
    }

    private static Outcome Outcome(string guest, params string[] options) => EmulatedHost.Command(GuestPrograms.Guest(guest), options);

    private static string Errors(string guest, string[] arguments, params string[] options) => EmulatedHost.Command(GuestPrograms.Guest(guest, arguments), options).Errors;

    private static void Check(string name, string actual)
    {
        string path = Path.Combine(Folder, name + ".txt");
        if (Rewrite)
            File.WriteAllText(path, actual);
        Assert.That(actual, Is.EqualTo(File.ReadAllText(path)), $"{path} (EMULATOR_WRITE_GOLDENS=1 writes it anew)");
    }

    /// <summary>Addresses; smaller numbers are flags and commands.</summary>
    [GeneratedRegex("0x[0-9a-f]{5,}", RegexOptions.None, Patience)]
    private static partial Regex Addresses();

    /// <summary>A register and its value in a crash report.</summary>
    [GeneratedRegex(@"\b(?<name>r[a-ds][xpi] |r[bs]p |r[sd]i |r[89]  |r1\d |rip |fs |gs )(?:[0-9a-f]+)(?=\s)", RegexOptions.None, Patience)]
    private static partial Regex Registers();

    [GeneratedRegex(@"\d+ (?<what>instructions executed|of \d+ frames)", RegexOptions.None, Patience)]
    private static partial Regex Counts();

    [GeneratedRegex(@"frame 0x[0-9a-f]+", RegexOptions.None, Patience)]
    private static partial Regex Frames();

    /// <summary>The kernel's own lines, whose figures change with its use of memory.</summary>
    [GeneratedRegex(@"^\[ *\d+\.\d+\].*\n", RegexOptions.Multiline, Patience)]
    private static partial Regex KernelLines();

    [GeneratedRegex(@"/?[^ (]*tiny-[0-9a-f]+", RegexOptions.None, Patience)]
    private static partial Regex TinyFile();

    /// <summary>Figures of the status file.</summary>
    [GeneratedRegex(@"(?<name>""(?:seconds|instruction|instructions)"": )[\d.]+", RegexOptions.None, Patience)]
    private static partial Regex Varying();

    [GeneratedRegex(@"EMU-BUG-[0-9a-f]+", RegexOptions.None, Patience)]
    private static partial Regex BugNumber();

    [GeneratedRegex(@"^ *[\d,]+ +[\d.]* +\w+\.\w+ ", RegexOptions.None, Patience)]
    private static partial Regex Row();

    [GeneratedRegex(@"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\wx])", RegexOptions.None, Patience)]
    private static partial Regex Numbers();

    [GeneratedRegex("─+", RegexOptions.None, Patience)]
    private static partial Regex Rules();

    [GeneratedRegex(" {2,}", RegexOptions.None, Patience)]
    private static partial Regex Blanks();

    [GeneratedRegex(@"(?<=""counters"":)\{(?:""[a-z0-9_.]+"":\d+,?)+\}", RegexOptions.None, Patience)]
    private static partial Regex Totals();

    [GeneratedRegex(@"(?<=""per_vcpu"":)\{(?:""[a-z0-9_.]+"":\[\d+,\d+\],?)+\}", RegexOptions.None, Patience)]
    private static partial Regex Arrays();

    [GeneratedRegex(@"(?<name>""(?:seconds|mips|tlb_l1_hit_rate|tlb_l2_hit_rate)"":)[\d.]+", RegexOptions.None, Patience)]
    private static partial Regex Measured();
}
