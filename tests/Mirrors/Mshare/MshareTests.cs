using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors;

/// <summary>Guests that share page tables by msharefs: they check themselves, and the machine is looked over when they have ended.</summary>
public sealed class MshareTests
{
    private static readonly string Sources = Path.Combine(GuestPrograms.Root, "tests", "Mirrors", "Mshare", "c");
    private static string _folder = "";

    [OneTimeSetUp]
    public static void Make_the_folder() => _folder = Directory.CreateTempSubdirectory("mshare-").FullName;

    [OneTimeTearDown]
    public static void Remove_the_folder() => Directory.Delete(_folder, recursive: true);

    private static IEnumerable<(string Name, MachineOptions Options)> Machines(ulong seeds)
    {
        foreach (int vcpus in (int[])[1, 4])
        {
            yield return ($"{vcpus}_vcpus", GuestPrograms.Parallel(vcpus));
            for (ulong seed = 1; seed <= seeds; seed++)
                yield return ($"{vcpus}_vcpus_seed_{seed}", GuestPrograms.Deterministic(vcpus, seed));
        }
    }

    public static IEnumerable<TestCaseData> Runs() =>
        from run in (GuestRun[])[Guest("regions"), Guest("sharing"), Guest("devices"), Guest("crowd", "20")]
        from machine in Machines(seeds: 4)
        select new TestCaseData(run, machine.Options).SetArgDisplayNames(run.ToString(), machine.Name);

    [TestCaseSource(nameof(Runs))]
    public void A_guest_finds_all_as_promised(GuestRun run, MachineOptions options) => AssertPasses(run, options);

    [Test]
    public void Contents_survive_reclaim_migration_and_swap([Values(1, 4)] int vcpus, [Values(1UL, 2UL, 3UL)] ulong seed) =>
        AssertPasses(Guest("sharing"), GuestPrograms.Deterministic(vcpus, seed) with { SwapBytes = 64 << 20, Disturbance = new DisturbanceRates(2000, 2000, 500, 5000) });

    [Test]
    public void A_region_has_an_owner_for_the_OOM_killer([Values(1, 4)] int vcpus, [Values] bool deterministic, [Values(1UL, 2UL, 3UL)] ulong seed) =>
        AssertPasses(Guest("owner", "5"), new MachineOptions { Vcpus = vcpus, Deterministic = deterministic, Seed = seed, MemoryBytes = 64 << 20 });

    [Test]
    public void The_report_of_an_owner_that_is_killed_tells_of_memory_as_it_was_then()
    {
        Outcome outcome = EmulatedHost.Command(Guest("owner"), "--sched", "deterministic", "--memory", "64M");
        Assert.That(outcome.Errors, Does.Match("memory    163[0-9][0-9] of 16384 frames in use"), outcome.ToString());
    }

    [Test]
    public void Two_thousand_processes_share_a_region() =>
        AssertPasses(Guest("crowd", "2000") with { Timeout = TimeSpan.FromSeconds(120) }, GuestPrograms.Parallel(2) with { MemoryBytes = 2UL << 30 });

    [Test]
    public void Ten_thousand_regions_come_and_go_without_growth() => AssertPasses(Guest("regions", "10000"), GuestPrograms.Parallel(2));

    [Test]
    public void The_cover_letters_programs_share([Values("processes", "fork")] string way, [Values(1, 4)] int vcpus, [Values] bool deterministic, [Values] MshareVariant variant)
    {
        string donor = Compile("donor"), consumer = Compile("consumer"), both = Compile("both");
        GuestRun run = new(both, way.Equals("fork", StringComparison.Ordinal) ? ["fork"] : ["/programs/" + Path.GetFileName(donor), "/programs/" + Path.GetFileName(consumer)]);
        var options = new MachineOptions { Vcpus = vcpus, Deterministic = deterministic, Seed = 5, MshareVariant = variant, Binds = [new Bind(_folder, "/programs", ReadOnly: true)] };
        Outcome outcome = EmulatedHost.Run(run, options);
        string expected = way.Equals("fork", StringComparison.Ordinal)
            ? "Donated at 0x20000000000\nChild reads: Some random shared text\nParent reads: An answer\n"
            : "Donated at 0x20000000000\nGuest mmap at 0x20000000000:\nSome random shared text\n\nDone\n";
        Assert.That(outcome.Output, Is.EqualTo(expected), outcome.ToString());
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        if (variant == MshareVariant.Corrected)
            Assert.That(outcome.Errors, Is.Empty);
    }

    [Test]
    public void Programs_may_mount_msharefs_themselves()
    {
        Outcome refused = EmulatedHost.Run(Guest("regions"), GuestPrograms.Parallel(1) with { MountMshare = false });
        Assert.That(refused.Status, Is.Not.Zero);
        AssertPasses(Guest("regions", "10", "mount"), GuestPrograms.Parallel(1) with { MountMshare = false });
    }

    [Test]
    public void The_posted_patches_show_their_defects([Values(1, 4)] int vcpus)
    {
        Outcome outcome = EmulatedHost.Run(Guest("posted"), GuestPrograms.Parallel(vcpus) with { MshareVariant = MshareVariant.RfcV3 });
        Assert.That(outcome.Output, Does.EndWith("all passed\n"), outcome.ToString());
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
    }

    [Test]
    public void Lockdep_complains_of_the_posted_patches_alone()
    {
        Outcome posted = EmulatedHost.Run(Guest("posted"), GuestPrograms.Parallel(1) with { MshareVariant = MshareVariant.RfcV3 });
        Assert.That(posted.Errors, Does.Contain("mmap_lock"), posted.ToString());
    }

    private static GuestRun Guest(string name, params string[] arguments) => GuestPrograms.Guest("mshare/" + name, arguments);

    private static void AssertPasses(GuestRun run, MachineOptions options)
    {
        IReadOnlyList<string> wrong = [];
        Outcome outcome = EmulatedHost.Run(run, options, machine => wrong = [.. new MmChecker(machine.MemorySystem).Check(), .. new TlbChecker(machine.MemorySystem, machine.Platform.Vcpus).Check()]);
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        Assert.That(outcome.Errors, Is.Empty, outcome.ToString());
        Assert.That(outcome.Output, Does.EndWith("all passed\n"));
        Assert.That(wrong, Is.Empty);
    }

    /// <summary>Against the installed C library, with the header that programs are given.</summary>
    private static string Compile(string program)
    {
        string output = Path.Combine(_folder, program);
        lock (_folder)
        {
            if (File.Exists(output))
                return output;
            NativeHost.CompileStatic(Path.Combine(Sources, program + ".c"), output, "-I" + Path.Combine(GuestPrograms.Root, "guests", "include"));
            return output;
        }
    }
}
