using Emulator.Kernel;

namespace Emulator.Tests.Fuzz;

/// <summary>Any system call with any arguments, by several threads and processes at once: the machine stays whole, and the host untouched.</summary>
[Platform("Linux")]
public sealed class SyscallFuzzTests
{
    private const int Shards = 4, Share = 40_000;

    [Test]
    public void Random_calls_leave_the_machine_whole([Range(0, Shards - 1)] int shard) =>
        FuzzFeed.Run(shard, FuzzSettings.Quota(Share, Shards), static (world, seed, count) => new CommonCalls(world, seed, count).Make(), new MachineOptions());
}
