using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;

namespace Emulator.Tests.Guests;

/// <summary>Programs that need more memory than there is, and programs whose memory is changed under them: they notice nothing, or the right one is killed.</summary>
public sealed class MemoryPressureTests
{
    private static readonly ulong[] Seeds = [1, 2, 3];

    private static readonly bool[] Modes = [false, true];

    private static readonly DisturbanceRates Rates = new(Migrate: 400, Reclaim: 300, Split: 20, Fill: 1000);

    private static readonly GuestRun[] Shaken =
    [
        GuestPrograms.Guest("threads", "4"), GuestPrograms.Guest("fork", "20"), GuestPrograms.Guest("tlb", "4", "100"),
        GuestPrograms.Guest("litmus", "5000"), GuestPrograms.Guest("swapping", "4"), GuestPrograms.Guest("selfmod", "50"),
    ];

    public static IEnumerable<TestCaseData> ShakenRuns() =>
        from run in Shaken
        from seed in Seeds
        from deterministic in Modes
        select new TestCaseData(run, seed, deterministic).SetArgDisplayNames(run.ToString(), $"seed_{seed}", deterministic ? "deterministic" : "parallel");

    [TestCaseSource(nameof(ShakenRuns))]
    public void A_guest_does_not_notice_that_its_memory_is_shaken(GuestRun run, ulong seed, bool deterministic)
    {
        var options = new MachineOptions { Vcpus = 4, Deterministic = deterministic, Seed = seed, SwapBytes = 64 << 20, Disturbance = Rates };
        Outcome outcome = EmulatedHost.Run(run, options, static machine => AssertNothingLeft(machine));
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        Assert.That(outcome.Output, Does.Not.Contain("FAIL"));
    }

    /// <summary>Processors walk tables at any time, also those with nothing to run: if they are not told that tables go, they read freed ones.</summary>
    [Test]
    public void Tables_that_go_without_a_word_to_idle_processors_are_found([Values] bool told, [Range(1, 3)] int seed)
    {
        var options = new MachineOptions { Vcpus = 2, Deterministic = true, Seed = (ulong)seed, Disturbance = new DisturbanceRates(Migrate: 0, Reclaim: 0, Split: 0, Fill: 50_000) };
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest("tables"), options, prepare: machine => machine.MemorySystem.Shootdown.ForgetsFreedTables = !told);
        if (told)
            outcome.AssertIs(new Outcome("ok tables come and go\nall passed\n", "", 0));
        else
            Assert.That(outcome.Errors, Does.Contain(CheckerRules.FreedTable));
    }

    [TestCase(1, false)]
    [TestCase(4, false)]
    [TestCase(2, true)]
    public void Contents_survive_swapping(int vcpus, bool deterministic)
    {
        var options = new MachineOptions { Vcpus = vcpus, Deterministic = deterministic, Seed = 7, MemoryBytes = 16 << 20, SwapBytes = 96 << 20 };
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest("swapping"), options, static machine =>
        {
            Assert.That(machine.MemorySystem.Events[VmEvent.SwapOut], Is.GreaterThan(4000));
            Assert.That(machine.MemorySystem.Events[VmEvent.SwapIn], Is.GreaterThan(4000));
            AssertNothingLeft(machine);
        });
        outcome.AssertIs(new Outcome("contents are right\n", "", 0));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void The_process_that_uses_most_is_killed_when_memory_is_out(bool deterministic)
    {
        var options = new MachineOptions { Deterministic = deterministic, Seed = 1, MemoryBytes = 32 << 20 };
        string log = "";
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest("oom"), options, machine => log = string.Join('\n', machine.KernelLog.Lines));
        outcome.AssertIs(new Outcome("greedy ends by signal 9\nsmall lives: 1\n", "", 0));
        Assert.That(log, Does.Match(@"\] oom\.elf invoked oom-killer: gfp_mask="));
        Assert.That(log, Does.Match(@"\] Out of memory: Killed process 4 \(oom\.elf\) total-vm:\d+kB, anon-rss:\d+kB, file-rss:\d+kB, shmem-rss:\d+kB, UID:1000 pgtables:\d+kB oom_score_adj:0"));
    }

    /// <summary>Reclaim and the killer serve whoever needs memory, not faults alone; what a file holds counts for nobody, so its writer has to be named.</summary>
    [Test]
    public void Whoever_needs_memory_for_what_is_killed([Values("0 shared", "0 tables", "500 file")] string how, [Values] bool deterministic, [Values("16M", "32M")] string memory)
    {
        var options = new MachineOptions { Deterministic = deterministic, Seed = 1, MemoryBytes = ulong.Parse(memory[..2], null) << 20, LockDep = true };
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest("oom", how.Split(' ')), options, static machine =>
        {
            Assert.That(machine.Violations.All, Is.Empty);
            AssertNothingLeft(machine);
        });
        outcome.AssertIs(new Outcome("greedy ends by signal 9\nsmall lives: 1\n", "", 0));
    }

    [Test]
    public void A_promise_beyond_the_commit_limit_is_refused_when_told_so()
    {
        string[] sysctls = ["vm.overcommit_memory=2", "vm.overcommit_ratio=10", "vm.admin_reserve_kbytes=0"];
        var options = new MachineOptions { MemoryBytes = 64 << 20, Sysctls = sysctls };
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest("swapping", "24"), options);
        Assert.That(outcome.Status, Is.Not.Zero);
    }

    /// <summary>All programs are gone: what frames and swap slots are left belong to the files of the machine's own tree.</summary>
    private static void AssertNothingLeft(Machine machine) => Assert.That(new MmChecker(machine.MemorySystem).Check(), Is.Empty);
}
