using Emulator.Hardware.Smp;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Shootdown.Policies;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors.Mshare;

/// <summary>What one run of the stress guest showed.</summary>
/// <param name="Outcome">Of the guest; broken rules of the kernel are among its errors.</param>
/// <param name="Requests">Flushes that the policy was asked for.</param>
public sealed record StressRun(Outcome Outcome, ulong Requests)
{
    private static readonly Outcome _clean = new("ok stress\nall passed\n", "", 0);

    /// <summary>The guest saw nothing wrong, the kernel's checkers neither, and it ended.</summary>
    public bool IsClean => Outcome == _clean;

    /// <summary>A process read, or could store, what it must not.</summary>
    public bool GuestSawIt => Outcome.Output.Contains("FAIL", StringComparison.Ordinal) && Outcome.Output.Contains(": worker ", StringComparison.Ordinal);

    public bool CheckerSawIt =>
        Outcome.Errors.Contains(CheckerRules.FreedFrame, StringComparison.Ordinal) || Outcome.Errors.Contains(CheckerRules.FreedTable, StringComparison.Ordinal)
        || Outcome.Errors.Contains(CheckerRules.Stale, StringComparison.Ordinal);
}

/// <summary>Runs guests/mshare/stress.c under a policy, with memory that is migrated, reclaimed and looked ahead at.</summary>
public static class PolicyStress
{
    private const int Vcpus = 3;
    private static readonly DisturbanceRates _rates = new(Migrate: 300, Reclaim: 300, Split: 0, Fill: 1000);

    public static IEnumerable<SharedFlushPolicy> Sound => SharedFlushPolicies.All.Where(p => p.IsSound);

    public static IEnumerable<SharedFlushPolicy> Broken => SharedFlushPolicies.All.Where(p => !p.IsSound);

    /// <summary>One seed decides the guest's choices and the machine's.</summary>
    public static StressRun Deterministic(SharedFlushPolicy policy, ulong seed, int rounds = 40) => Run(
        policy,
        new MachineOptions { Vcpus = Vcpus, Deterministic = true, Seed = seed, MaxInstructions = 40_000_000 },
        ["5", $"{rounds}", $"{seed}"]);

    /// <summary>On threads of the host: not repeatable, but with real races.</summary>
    public static StressRun Parallel(SharedFlushPolicy policy, ulong seed, int rounds) =>
        Run(policy, new MachineOptions { Vcpus = 4 }, ["7", $"{rounds}", $"{seed}"]);

    /// <summary>The command that shows a deterministic run again.</summary>
    public static string Replay(SharedFlushPolicy policy, ulong seed, int rounds = 40) =>
        $"emulator run --sched deterministic --seed {seed} --vcpus {Vcpus} --memory 64M --swap 64M --disturb migrate={_rates.Migrate},reclaim={_rates.Reclaim},fill={_rates.Fill} "
        + $"--flush {policy.Name} --check --lockdep guests/bin/mshare/stress.elf 5 {rounds} {seed}";

    private static StressRun Run(SharedFlushPolicy policy, MachineOptions options, string[] arguments)
    {
        ulong requests = 0;
        Outcome outcome = EmulatedHost.Run(
            GuestPrograms.Guest("mshare/stress", arguments) with { Timeout = TimeSpan.FromSeconds(60) },
            options with { FlushPolicy = policy.Name, MemoryBytes = 64 << 20, SwapBytes = 64 << 20, Disturbance = _rates },
            machine => requests = machine.MemorySystem.Shootdown.Total(ShootdownCounter.SharedRequests));
        return new StressRun(outcome, requests);
    }
}
