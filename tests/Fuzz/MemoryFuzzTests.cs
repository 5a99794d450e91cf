using Emulator.Kernel;
using Emulator.Kernel.Memory;

namespace Emulator.Tests.Fuzz;

/// <summary>Random changes of one range of addresses, by several threads and forks, while its pages move and are written to swap.</summary>
[Platform("Linux")]
public sealed class MemoryFuzzTests
{
    private const int Shards = 3, FirstSeed = 16, Share = 20_000;

    [Test]
    public void Random_mappings_leave_the_machine_whole([Range(0, Shards - 1)] int shard) =>
        FuzzFeed.Run(FirstSeed + shard, FuzzSettings.Quota(Share, Shards), static (world, seed, count) => new MemoryCases(world, seed, count).Make(),
            new MachineOptions { Disturbance = shard == 0 ? default : new DisturbanceRates(500, 500, 200, 1000) });
}
