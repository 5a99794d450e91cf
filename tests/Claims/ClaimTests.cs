using Emulator.Claims;

namespace Emulator.Tests.Claims;

public sealed class ClaimTests
{
    /// <summary>Kept apart from what the scenarios themselves expect.</summary>
    private static readonly Dictionary<string, Verdict> Verdicts = new(StringComparer.Ordinal)
    {
        ["1"] = Verdict.Partly, ["2"] = Verdict.Partly, ["3"] = Verdict.False, ["4"] = Verdict.Partly, ["5"] = Verdict.Partly, ["6"] = Verdict.True, ["7"] = Verdict.True, ["8"] = Verdict.True, ["9"] = Verdict.False,
        ["10"] = Verdict.False, ["11"] = Verdict.True, ["12"] = Verdict.True, ["13"] = Verdict.True, ["15"] = Verdict.True, ["16"] = Verdict.True, ["17"] = Verdict.False, ["18"] = Verdict.True,
        ["20"] = Verdict.True, ["21"] = Verdict.True, ["22"] = Verdict.True, ["23"] = Verdict.True, ["24"] = Verdict.True, ["25"] = Verdict.False, ["26"] = Verdict.False,
        ["27"] = Verdict.True, ["28"] = Verdict.False, ["29"] = Verdict.False, ["30"] = Verdict.False, ["31"] = Verdict.True, ["32"] = Verdict.False, ["34"] = Verdict.True,
        ["37"] = Verdict.True, ["38"] = Verdict.Partly, ["39"] = Verdict.Partly, ["40"] = Verdict.False, ["41"] = Verdict.False,
        ["42"] = Verdict.True, ["42b"] = Verdict.True, ["43"] = Verdict.Partly, ["44"] = Verdict.Partly, ["45"] = Verdict.Partly, ["46"] = Verdict.False, ["47"] = Verdict.False,
        ["48"] = Verdict.False, ["49"] = Verdict.False, ["50"] = Verdict.True, ["51"] = Verdict.True, ["52"] = Verdict.True, ["53"] = Verdict.True, ["54"] = Verdict.False,
        ["55"] = Verdict.True, ["56"] = Verdict.True, ["57"] = Verdict.True, ["58"] = Verdict.True,
        ["60"] = Verdict.True, ["61"] = Verdict.Partly, ["62"] = Verdict.True, ["63"] = Verdict.True, ["64"] = Verdict.True,
    };

    private static IEnumerable<string> Numbers => ClaimList.All.Select(static c => c.Number);

    [TestCaseSource(nameof(Numbers))]
    public void The_verdict_is_the_expected_one_whatever_the_seed(string number)
    {
        Claim claim = ClaimList.Find(number)!;
        Assert.That(Verdicts, Does.ContainKey(number));
        for (ulong seed = 0; seed < 3; seed++)
        {
            ClaimResult result = claim.Run(seed);
            string seen = string.Join('\n', result.Evidence.Cases.SelectMany(static c => c.Lines.Prepend(c.Title)));
            Assert.That(result.Verdict, Is.EqualTo(Verdicts[number]), $"seed {seed}\n{seen}");
            Assert.That(result.IsAsExpected);
            Assert.That(result.Evidence.Cases.Sum(static c => c.Lines.Count), Is.Positive);
        }
    }

    [Test]
    public void The_same_seed_gives_the_same_evidence()
    {
        static string Evidence() => string.Join('\n', ClaimList.Find("40")!.Run(7).Evidence.Cases
            .SelectMany(static c => c.Lines.Concat(c.Counters.Select(static p => p.ToString()))));
        string first = Evidence();
        Assert.That(Evidence(), Is.EqualTo(first));
    }

    [Test]
    public void Claims_are_listed_once_and_in_order()
    {
        string[] numbers = [.. Numbers];
        Assert.That(numbers, Is.Unique);
        Assert.That(numbers, Is.EquivalentTo(Verdicts.Keys));
        Assert.That(numbers.Select(static n => int.Parse(n.TrimEnd('b'))), Is.Ordered);
        Assert.That(ClaimList.All.Select(static c => c.Name), Is.Unique);
    }

    private sealed class Doubtful : Claim
    {
        public override string Number => "0";
        public override string Name => "doubtful";
        public override string Text => "";
        public override string Source => "";
        public override string Reason => "";
        public override Verdict Expected => Verdict.True;

        protected override Verdict Try(Evidence evidence)
        {
            Require(false, "the detector is blind");
            return Verdict.True;
        }
    }

    [Test]
    public void A_failed_control_makes_a_verdict_inconclusive()
    {
        ClaimResult result = new Doubtful().Run();
        Assert.That((result.Verdict, result.IsAsExpected), Is.EqualTo((Verdict.Inconclusive, false)));
        Assert.That(result.Evidence.Cases[^1].Lines, Is.EqualTo(["the detector is blind"]));
    }
}
