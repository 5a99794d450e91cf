using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors.Remote;

/// <summary>
/// One process inspects another, which changes its mappings in every way, forks, ends and comes back, while memory is shaken. More seeds:
/// <c>EMULATOR_STRESS_SEEDS=5000 dotnet test --filter InspectorStress</c>.
/// </summary>
public sealed class InspectorStress
{
    private static readonly ulong Seeds = ulong.TryParse(Environment.GetEnvironmentVariable("EMULATOR_STRESS_SEEDS"), out ulong seeds) ? seeds : 20;

    /// <summary>Frames that any program leaves, if they are not reclaimed: those of the files that are there from the start.</summary>
    private static readonly Lazy<long> AtRest = new(() =>
    {
        long left = 0;
        EmulatedHost.Run(GuestPrograms.Guest("hello"), new(), machine => left = LeftIn(machine));
        return left;
    });

    private static long LeftIn(Machine machine) => machine.Pages.UsedFrames - machine.MemorySystem.ReservedFrames;

    private static MachineOptions Shaken(int vcpus, bool deterministic, ulong seed) => (deterministic ? GuestPrograms.Deterministic(vcpus, seed) : GuestPrograms.Parallel(vcpus)) with
    {
        SwapBytes = 64 << 20,
        Disturbance = new DisturbanceRates(400, 600, 20, 1000),
        Seed = seed,
    };

    public static IEnumerable<TestCaseData> Machines() =>
        from device in (string[])["mirror", "map", "both"]
        from deterministic in (bool[])[true, false]
        select new TestCaseData(device, deterministic).SetArgDisplayNames(device, deterministic ? "deterministic" : "parallel");

    [TestCaseSource(nameof(Machines))]
    public void The_inspector_sees_what_the_target_has(string device, bool deterministic)
    {
        int[] vcpus = [1, 2, 8];
        // Both at once are the third case of each: one in five seeds does.
        for (ulong seed = 1; seed <= Seeds; seed += device == "both" ? 5u : 1)
            Survives(Shaken(vcpus[seed % 3], deterministic, seed), "remote/inspector", "1", "30", $"{seed}", device);
    }

    [Test]
    public void What_the_devices_refuse_and_what_closing_leaves_is_as_documented([Values(1, 2, 8)] int vcpus, [Values] bool deterministic) =>
        Survives(deterministic ? GuestPrograms.Deterministic(vcpus, 1) : GuestPrograms.Parallel(vcpus), "remote/checks");

    [Test]
    public void The_one_that_fills_memory_is_killed_and_the_other_goes_on([Values(1, 2, 8)] int vcpus, [Values] bool deterministic) =>
        Survives((deterministic ? GuestPrograms.Deterministic(vcpus, 1) : GuestPrograms.Parallel(vcpus)) with { MemoryBytes = 16 << 20, SwapBytes = 1 << 20 }, "remote/oom");

    [Test]
    public void A_window_may_lie_in_a_region_whose_tables_the_target_shares([Values(1, 2, 8)] int vcpus, [Values] bool deterministic) =>
        Survives(Shaken(vcpus, deterministic, 1) with { LockDep = true, Check = true }, "remote/region");

    [Test]
    public void Ten_thousand_devices_come_and_go_without_growth()
    {
        (long one, long many) = (Peak("1"), Peak("5000"));
        // Two devices each time.
        Assert.That(many, Is.AtMost(one + 64), "frames");
    }

    private static long Peak(string cycles)
    {
        long peak = 0;
        Survives(GuestPrograms.Deterministic(2, 1), machine => peak = machine.Pages.PeakFrames, "remote/checks", cycles);
        return peak;
    }

    [Test]
    public void The_posted_patch_is_caught([Values] bool deterministic)
    {
        int caught = 0;
        for (ulong seed = 1; seed <= Math.Max(5, Seeds / 4) && caught < 2; seed++)
        {
            MachineOptions options = Shaken(2, deterministic, seed) with { RemoteMapVariant = RemoteMapVariant.RfcV6 };
            Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest("remote/inspector", "3", deterministic ? "60" : "300", $"{seed}", "map"), options);
            Assert.That(outcome.Status, Is.AnyOf(0, 1), $"seed {seed} does not end\n{outcome}");
            if (outcome.Status != 0 || outcome.Errors.Length != 0)
                caught++;
        }
        Assert.That(caught, Is.AtLeast(deterministic ? 2 : 1));
    }

    /// <summary>Runs a guest that must succeed, and has nothing broken and nothing left when it has ended.</summary>
    private static void Survives(MachineOptions options, string guest, params string[] arguments) => Survives(options, null, guest, arguments);

    private static void Survives(MachineOptions options, Action<Machine>? inspect, string guest, params string[] arguments)
    {
        IReadOnlyList<string> wrong = [];
        long left = 0;
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest(guest, arguments), options, machine =>
        {
            wrong = new MmChecker(machine.MemorySystem).Check();
            left = LeftIn(machine);
            inspect?.Invoke(machine);
        });
        string replay = $"seed {options.Seed}\n{outcome}";
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Status, Is.Zero, replay);
            Assert.That(outcome.Errors, Is.Empty, replay);
            Assert.That(wrong, Is.Empty, replay);
            Assert.That(left, Is.AtMost(AtRest.Value), $"frames are left: {replay}");
        }
    }
}
