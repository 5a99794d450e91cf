using Emulator.Kernel;

namespace Emulator.Tests.Guests;

/// <summary>Every guest gives in the emulator what it gives on the host's kernel: output, errors, status.</summary>
public sealed class GuestTests
{
    private static readonly int[] VcpuCounts = [1, 2, 4, 16];

    public static IEnumerable<TestCaseData> ParallelRuns() =>
        from run in GuestPrograms.All
        from vcpus in GuestPrograms.Concurrent.Contains(run) ? VcpuCounts : [1]
        select new TestCaseData(run, vcpus).SetArgDisplayNames(run.ToString(), $"{vcpus}_vcpus");

    public static IEnumerable<TestCaseData> DeterministicRuns() =>
        from run in GuestPrograms.All
        from seed in GuestPrograms.Concurrent.Contains(run) ? new ulong[] { 1, 2 } : [1]
        select new TestCaseData(run, seed).SetArgDisplayNames(run.ToString(), $"seed_{seed}");

    [TestCaseSource(nameof(ParallelRuns))]
    public void A_guest_gives_what_it_gives_on_the_host(GuestRun run, int vcpus)
    {
        AssertAsOnHost(run, EmulatedHost.Run(run, GuestPrograms.Parallel(vcpus)));
    }

    [TestCaseSource(nameof(DeterministicRuns))]
    public void A_seed_gives_the_same_run_twice(GuestRun run, ulong seed)
    {
        string firstCounters = "", secondCounters = "";
        Outcome first = EmulatedHost.Run(run, GuestPrograms.Deterministic(2, seed), machine => firstCounters = EmulatedHost.Counters(machine));
        Outcome second = EmulatedHost.Run(run, GuestPrograms.Deterministic(2, seed), machine => secondCounters = EmulatedHost.Counters(machine));
        AssertAsOnHost(run, first);
        using (Assert.EnterMultipleScope())
        {
            second.AssertIs(first);
            Assert.That(secondCounters, Is.EqualTo(firstCounters));
        }
    }

    private static void AssertAsOnHost(GuestRun run, Outcome outcome)
    {
        if (!NativeHost.IsLinux64)
        {
            Assert.That(outcome.Output, Does.Not.Contain("FAIL"));
            return;
        }
        outcome.AssertIs(NativeHost.Reference(run));
    }
}
