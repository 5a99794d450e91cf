using System.Text.Json;
using Emulator.Claims;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Cli;

public sealed class ClaimsCommandTests
{
    private static Outcome Claims(params string[] words)
    {
        string[] command = EmulatedHost.CommandLine(["claims", .. words]);
        return NativeHost.Run(new GuestRun(command[0], []) { Timeout = TimeSpan.FromSeconds(60) }, command[0], command[1..]);
    }

    [Test]
    public void The_list_has_every_claim()
    {
        Outcome outcome = Claims("list");
        Assert.That(outcome.Status, Is.Zero);
        foreach (Claim claim in ClaimList.All)
            Assert.That(outcome.Output, Does.Contain(claim.Name));
    }

    [Test]
    public void A_run_shows_verdict_evidence_and_counters()
    {
        Outcome outcome = Claims("run", "41", "end-means-freed");
        Assert.That(outcome.Status, Is.Zero);
        Assert.That(outcome.Output, Does.Contain("41  FALSE, as expected: same-tables-need-nothing").And.Contain("frame 0x").And.Contain("shootdown.page_flushes 1")
            .And.Contain("38  PARTLY, as expected").And.EndWith("2 claims tried, 2 as expected, 0 not\n"));
    }

    [Test]
    public void The_README_shows_what_is_printed()
    {
        string[] readme = File.ReadAllLines(Path.Combine(GuestPrograms.Root, "README.md"));
        int command = Array.IndexOf(readme, "$ emulator claims run 4");
        string[] shown = readme[(command + 1)..Array.IndexOf(readme, "```", command)];
        Assert.That(Claims("run", "4").Output.Split('\n')[..^1], Is.EqualTo(shown));
    }

    [Test]
    public void JSON_is_an_object_a_line()
    {
        Outcome outcome = Claims("run", "--json", "41");
        using var json = JsonDocument.Parse(outcome.Output);
        Assert.That(json.RootElement.GetProperty("verdict").GetString(), Is.EqualTo("FALSE"));
        Assert.That(json.RootElement.GetProperty("evidence")[1].GetProperty("counters").GetProperty("shootdown.requests").GetInt32(), Is.EqualTo(1));
    }

    [TestCase("claims: give list or run")]
    [TestCase("claims: give list or run", "frob")]
    [TestCase("claims run: give the numbers of claims, or --all", "run")]
    [TestCase("claims run: give claims or --all, not both", "run", "37", "--all")]
    [TestCase("claims run 999: there is no such claim; 'emulator claims list' shows them", "run", "999")]
    [TestCase("claims: there is no option --bogus", "run", "--bogus", "3")]
    [TestCase("claims: --seed x: not a number", "run", "3", "--seed", "x")]
    [TestCase("--color mauve: give auto, always or never", "list", "--color", "mauve")]
    public void Wrong_usage_is_one_line_and_status_125(string message, params string[] words)
    {
        Outcome outcome = Claims(words);
        Assert.That((outcome.Status, outcome.Errors), Is.EqualTo((125, $"emulator: {message}; try 'emulator --help'\n")));
    }
}
