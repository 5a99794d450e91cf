using Emulator.Kernel;
using Emulator.Kernel.Mirrors;

namespace Emulator.Tests.Fuzz;

/// <summary>Random use of every device that the machine has, in each design of udmabuf that is not broken by intent.</summary>
[Platform("Linux")]
public sealed class DeviceFuzzTests
{
    private const int FirstSeed = 32, Share = 20_000;

    public static IReadOnlyList<UdmabufMode> Designs { get; } = [.. UdmabufModes.All.Where(static mode => mode.Soundness != UdmabufSoundness.Unsound)];

    [TestCaseSource(nameof(Designs))]
    public void Random_use_of_devices_leaves_the_machine_whole(UdmabufMode design) =>
        FuzzFeed.Run(FirstSeed + Designs.ToList().IndexOf(design), FuzzSettings.Quota(Share, Designs.Count), static (world, seed, count) => new DeviceCases(world, seed, count).Make(),
            new MachineOptions { Udmabuf = UdmabufOptions.Default with { Mode = design } });
}
