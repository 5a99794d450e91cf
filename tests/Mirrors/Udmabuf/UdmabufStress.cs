using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors.Udmabuf;

/// <summary>
/// Every design under memfds that change without pause, while memory is shaken: what claims to be sound survives, what does not is caught by every seed. With
/// every second one, half of the buffer's pages are of hugetlb. More seeds: <c>EMULATOR_STRESS_SEEDS=5000 dotnet test --filter UdmabufStress</c>.
/// </summary>
public sealed class UdmabufStress
{
    private static readonly ulong Seeds = ulong.TryParse(Environment.GetEnvironmentVariable("EMULATOR_STRESS_SEEDS"), out ulong seeds) ? seeds : 20;

    public static IEnumerable<TestCaseData> Designs() =>
        from mode in UdmabufModes.All
        from deterministic in (bool[])[true, false]
        select new TestCaseData(mode, deterministic).SetArgDisplayNames(mode.Name, deterministic ? "deterministic" : "parallel");

    [TestCaseSource(nameof(Designs))]
    public void Sound_designs_survive_and_others_are_caught(UdmabufMode mode, bool deterministic)
    {
        int caught = 0;
        for (ulong seed = 1; seed <= Seeds; seed++)
        {
            MachineOptions options = (deterministic ? GuestPrograms.Deterministic(4, seed) : GuestPrograms.Parallel(4)) with
            {
                Udmabuf = new UdmabufOptions(mode),
                SwapBytes = 64 << 20,
                HugePages = 64,
                Disturbance = new DisturbanceRates(1000, 1000, 0, 2000),
                Seed = seed,
            };
            IReadOnlyList<string> wrong = [];
            IReadOnlyList<Incoherence> found = [];
            Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest("udmabuf/stress", ["60", $"{seed}", .. seed % 2 == 1 ? ["huge"] : Array.Empty<string>()]), options, machine =>
            {
                wrong = new MmChecker(machine.MemorySystem).Check();
                found = machine.DmaBufs.Incoherences;
            });
            string replay = $"seed {seed}\n{outcome}";
            // An unsound design gives pages back under devices, so nothing can be said of counts.
            if (mode.Soundness != UdmabufSoundness.Unsound)
                Assert.That(wrong, Is.Empty, replay);
            if (mode.Soundness == UdmabufSoundness.Sound)
            {
                Assert.That(outcome.Status, Is.Zero, replay);
                Assert.That(outcome.Errors, Is.Empty, replay);
                // A static device pins, and shows what it has pinned.
                Assert.That(found.All(static f => f.ByDesign && f.What.Contains("dmabuf_importer0 (static)", StringComparison.Ordinal)), $"{replay}\n{string.Join('\n', found)}");
            }
            else if (outcome.Status != 0 || outcome.Errors.Length > 0)
            {
                caught++;
            }
            // Not a freed frame in what is incoherent by design.
            if (mode.Soundness == UdmabufSoundness.IncoherentByDesign)
                Assert.That((outcome.Errors, found.All(static f => f.ByDesign)), Is.EqualTo(("", true)), replay);
        }
        // Whoever reads looks at every page once more when all is quiet, so no schedule lets a design pass that has left something behind.
        if (mode.Soundness != UdmabufSoundness.Sound)
            Assert.That(caught, Is.EqualTo((int)Seeds));
    }
}
