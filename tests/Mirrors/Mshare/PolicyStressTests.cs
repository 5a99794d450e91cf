using System.Globalization;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Shootdown.Policies;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors.Mshare;

/// <summary>
/// Many processes share tables and change them under each other (guests/mshare/stress.c). Under a sound policy nobody ever reads what is not
/// there; under a broken one the guest's own data and the kernel's checker both say so, or the suite is blind.
/// </summary>
[Parallelizable(ParallelScope.Children)]
public sealed class PolicyStressTests
{
    /// <summary>Within so many seeds a broken policy has been seen by both.</summary>
    private const ulong Needed = 5;

    private const ulong SuiteSeeds = 20;

    /// <summary>Seeds for each sound policy; EMULATOR_STRESS_SEEDS asks for thousands.</summary>
    private static ulong Seeds =>
        ulong.TryParse(Environment.GetEnvironmentVariable("EMULATOR_STRESS_SEEDS"), NumberStyles.None, CultureInfo.InvariantCulture, out ulong count) ? count : SuiteSeeds;

    public static IEnumerable<TestCaseData> Sound => PolicyStress.Sound.Select(static p => new TestCaseData(p).SetArgDisplayNames(p.Name));

    public static IEnumerable<TestCaseData> Broken => PolicyStress.Broken.Select(static p => new TestCaseData(p).SetArgDisplayNames(p.Name));

    [TestCaseSource(nameof(Sound))]
    public void A_sound_policy_lets_nobody_see_what_is_not_there(SharedFlushPolicy policy)
    {
        for (ulong seed = 1; seed <= Seeds; seed++)
        {
            StressRun run = PolicyStress.Deterministic(policy, seed);
            Assert.That(run.IsClean, $"{run.Outcome}\nreplay: {PolicyStress.Replay(policy, seed)}");
            Assert.That(run.Requests, Is.GreaterThan(50), "blind: the policy had nothing to do");
        }
    }

    [TestCaseSource(nameof(Sound))]
    public void Nor_do_processes_at_full_speed(SharedFlushPolicy policy)
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        for (ulong seed = 1; seed == 1 || clock.ElapsedMilliseconds < 500; seed++)
        {
            StressRun run = PolicyStress.Parallel(policy, seed, rounds: 60);
            Assert.That(run.IsClean, $"{policy.Name}: {run.Outcome}");
        }
    }

    [TestCaseSource(nameof(Broken))]
    public void A_broken_policy_is_seen_by_the_guest_and_by_the_checker(SharedFlushPolicy policy) => DemandSeen(policy, rounds: 40, Needed);

    [Test]
    public void A_suite_that_cannot_tell_a_broken_policy_says_that_it_is_blind() =>
        Assert.That(() => DemandSeen(PolicyStress.Broken.First(), rounds: 0, seeds: 2), Throws.InstanceOf<AssertionException>().With.Message.Contains("blind"));

    [Test]
    public void A_replay_shows_the_same()
    {
        SharedFlushPolicy policy = PolicyStress.Broken.First();
        string first = PolicyStress.Deterministic(policy, 1).Outcome.ToString();
        Assert.That(first, Does.Contain("FAIL").And.Contain("policy none").And.Contain("rip 0x").And.Contain("stress.elf:0x"));
        Assert.That(PolicyStress.Deterministic(policy, 1).Outcome.ToString(), Is.EqualTo(first));
    }

    [Test]
    public void The_command_ends_with_the_line_that_replays_what_it_found()
    {
        string program = GuestPrograms.Guest("mshare/stress").Program;
        string[] options = ["--vcpus", "3", "--sched", "deterministic", "--seed", "1", "--flush", "none", "--check"];
        Outcome outcome = EmulatedHost.Command(new GuestRun(program, "5", "40", "1"), options);
        Assert.That(outcome.Errors, Does.Contain(CheckerRules.FreedFrame).And.EndsWith($"emulator: replay: emulator run {string.Join(' ', options)} {program} 5 40 1\n"));
    }

    private static void DemandSeen(SharedFlushPolicy policy, int rounds, ulong seeds)
    {
        bool guest = false, checker = false;
        for (ulong seed = 1; seed <= seeds && !(guest && checker); seed++)
        {
            StressRun run = PolicyStress.Deterministic(policy, seed, rounds);
            guest |= run.GuestSawIt;
            checker |= run.CheckerSawIt;
        }
        if (!guest || !checker)
            throw new AssertionException($"blind: in {seeds} seeds {policy.Name} was{(guest ? "" : " not")} seen by the guest and{(checker ? "" : " not")} by the checker");
    }
}
