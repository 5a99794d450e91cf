using Emulator.Kernel;

namespace Emulator.Tests.Guests;

/// <summary>Programs that need more memory than there is: the right one is killed, or the promise is refused.</summary>
public sealed class MemoryPressureTests
{
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

    [Test]
    public void A_promise_beyond_the_commit_limit_is_refused_when_told_so()
    {
        string[] sysctls = ["vm.overcommit_memory=2", "vm.overcommit_ratio=10", "vm.admin_reserve_kbytes=0"];
        var options = new MachineOptions { MemoryBytes = 64 << 20, Sysctls = sysctls };
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest("swapping", "24"), options);
        Assert.That(outcome.Status, Is.Not.Zero);
    }
}
