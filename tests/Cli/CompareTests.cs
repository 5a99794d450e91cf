using System.Text;
using Emulator.Cli.Commands;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Cli;

/// <summary><c>emulator compare</c>: the same counts each time, one row a run, and what it says of wrong use.</summary>
internal sealed class CompareTests
{
    private static readonly string Tlb = GuestPrograms.Guest("tlb").Program;

    private static Outcome Compare(params string[] words)
    {
        string[] command = EmulatedHost.CommandLine(["compare", .. words]);
        return NativeHost.Run(EmulatedHost.CommandSettings, command[0], command[1..]);
    }

    /// <summary>Lines of CSV without their last field, the host's time.</summary>
    private static string[] Counts(Outcome outcome) => [.. outcome.Output.TrimEnd().Split('\n').Select(line => line[..line.LastIndexOf(',')])];

    [Test]
    public void Two_comparisons_with_the_same_seed_give_the_same_counts()
    {
        string[] words = ["--csv", "--seed", "3", "--vcpus", "2,4", "--sweep", "threads=2,3", Tlb, "{threads}", "20"];
        Outcome first = Compare(words), second = Compare(words);
        Assert.That(first.Status, Is.Zero, first.Errors);
        Assert.That(Counts(first), Is.EqualTo(Counts(second)));
        Assert.That(Counts(first).Skip(1).Select(line => string.Join(",", line.Split(",")[1..3])).Distinct(StringComparer.Ordinal), Is.EqualTo(["2,2", "4,2", "2,3", "4,3"]));
    }

    [Test]
    public void A_guest_that_fails_is_reported_in_its_row_and_in_the_status()
    {
        Outcome outcome = Compare("--csv", GuestPrograms.Guest("crash").Program, "write");
        Assert.That(outcome.Status, Is.EqualTo(1));
        Assert.That(Counts(outcome).Skip(1).Select(line => line.Split(',')[4]), Is.All.EqualTo("SIGSEGV"));
        Assert.That(outcome.Errors, Is.Empty, "the guest's words are not shown");
    }

    [Test]
    public void Designs_of_udmabuf_are_compared_by_what_a_hole_costs_and_broken_ones_come_last()
    {
        string[] words = ["--csv", "--udmabuf", "all", "--vcpus", "2", GuestPrograms.Guest("udmabuf/refill").Program, "4", "1", "2", "1", "0", "2"];
        Outcome first = Compare(words), second = Compare(words);
        Assert.That(first.Status, Is.EqualTo(1), first.Errors);
        Assert.That(Counts(first), Is.EqualTo(Counts(second)));
        string[] header = Counts(first)[0].Split(',');
        Dictionary<string, string[]> rows = Counts(first).Skip(1).Select(line => line.Split(',')).ToDictionary(row => row[^1], StringComparer.Ordinal);
        string Of(string design, string column) => rows[design][Array.IndexOf(header, column)];
        Assert.That(rows["update-mapping"][4], Does.Match("^[0-9]+ broken rules$"));
        // Three devices that follow, each told once a hole; the static one is not, and its four pages are orphans.
        foreach (string design in (string[])["hmm", "file-notifier", "allocator-export"])
            Assert.That((Of(design, "revokes"), Of(design, "maps"), Of(design, "pages_taken"), Of(design, "orphans"), rows[design][4]), Is.EqualTo(("6", "6", "8", "8", "")), design);
        Assert.That((Of("pinned", "maps"), Of("pinned", "orphans"), Of("allocator-export", "move_notifies")), Is.EqualTo(("0", "32", "6")));
    }

    [TestCase("/no/such/program", 127, "emulator: /no/such/program does not exist\n")]
    [TestCase("/tmp", 126, "emulator: /tmp is a directory\n")]
    public void What_is_no_program_is_named_as_by_run(string program, int status, string message) =>
        Assert.That(Compare(program), Is.EqualTo(new Outcome("", message, status)));

    [TestCase("--udmabuf", "pinned,list_limit=9,nonsense", "the modes are")]
    [TestCase("--flush", "nonsense", "the policies are")]
    [TestCase("--vcpus", "0", "give numbers from 1 to 256")]
    [TestCase("--vcpus", "4,many", "give numbers from 1 to 256")]
    [TestCase("--sweep", "sharers", "write NAME=VALUE,VALUE")]
    [TestCase("--sweep", "sharers=1,,2", "write NAME=VALUE,VALUE")]
    [TestCase("--memory", "lots", "give a size")]
    [TestCase("--thp", "sometimes", "give always, madvise or never")]
    public void Wrong_use_is_told_in_one_line(string option, string value, string words)
    {
        Outcome outcome = Compare(option, value, Tlb);
        Assert.That(outcome.Status, Is.EqualTo(125));
        Assert.That(outcome.Errors, Does.Contain(words).And.EndsWith("try 'emulator --help'\n"));
    }

    [TestCase("a {n} {n}b", ExpectedResult = "guest a 7 7b")]
    [TestCase("a b", ExpectedResult = "guest a b 7")]
    public string A_swept_argument_takes_the_place_of_its_name_or_the_last_one(string arguments)
        => string.Join(' ', new Sweep("n", ["7"]).Apply([.. $"guest {arguments}".Split(' ').Select(Encoding.UTF8.GetBytes)], "7").Select(Encoding.UTF8.GetString));

    [TestCase("a=1,2,3", ExpectedResult = "a: 1 2 3")]
    [TestCase("a=", ExpectedResult = null)]
    [TestCase("=1", ExpectedResult = null)]
    public string? Sweeps_are_a_name_and_values(string text) => Sweep.Parse(text) is { } sweep ? $"{sweep.Name}: {string.Join(' ', sweep.Values)}" : null;
}
