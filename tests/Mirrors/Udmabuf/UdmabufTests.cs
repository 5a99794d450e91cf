using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Mirrors;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors.Udmabuf;

/// <summary>The guests of /dev/udmabuf, in each design of the driver, on many machines; each machine is looked over when they have ended.</summary>
public sealed class UdmabufTests
{
    private const string ByDesign = "incoherent by design: pages 0 to 3 of a buffer of 16 left the file; mappings and devices keep the old ones";

    /// <summary>Frames that any program leaves: those of the files that are there from the start.</summary>
    private static readonly Lazy<long> AtRest = new(() =>
    {
        long left = 0;
        EmulatedHost.Run(GuestPrograms.Guest("hello"), new(), machine => left = machine.Pages.UsedFrames - machine.MemorySystem.ReservedFrames);
        return left;
    });

    private static IEnumerable<(string Name, MachineOptions Options)> Machines()
    {
        foreach (int vcpus in (int[])[1, 2, 4])
            yield return ($"{vcpus}_vcpus", GuestPrograms.Parallel(vcpus));
        for (ulong seed = 1; seed <= 3; seed++)
            yield return ($"seed_{seed}", GuestPrograms.Deterministic(4, seed));
    }

    public static IEnumerable<TestCaseData> Designs() =>
        from mode in UdmabufModes.All
        from machine in Machines()
        select new TestCaseData(mode, machine.Options).SetArgDisplayNames(mode.Name, machine.Name);

    [TestCaseSource(nameof(Designs))]
    public void The_kernels_selftest_passes_unless_pages_are_pinned_and_then_the_report_says_why(UdmabufMode mode, MachineOptions options)
    {
        IReadOnlyList<Incoherence> found = [];
        Outcome outcome = Run(mode, options with { HugePages = 32 }, machine => found = machine.DmaBufs.Incoherences, "udmabuf/selftest", "24");
        if (mode == UdmabufModes.Pinned)
        {
            Assert.That(outcome.Status, Is.EqualTo(1), outcome.ToString());
            Assert.That(outcome.Output, Does.Contain("page 0 of the buffer has 'b', its memfd 'c'").And.Contain("FAIL test-5").And.Contain("FAIL test-6"));
            Assert.That(found.Select(static f => f.ToString()), Has.Some.EqualTo(ByDesign));
        }
        else
        {
            Assert.That(outcome.Status, Is.Zero, outcome.ToString());
            Assert.That(outcome.Output, Does.EndWith("all passed\n"));
            Assert.That(found, Is.Empty);
        }
    }

    public static IEnumerable<TestCaseData> Checks() =>
        from mode in (UdmabufMode[])[UdmabufModes.Pinned, UdmabufModes.FileNotifier, UdmabufModes.AllocatorExport]
        from profile in Enum.GetValues<KernelProfile>()
        from machine in Machines()
        select new TestCaseData(mode, machine.Options with { Profile = profile }).SetArgDisplayNames(mode.Name, profile.ToString(), machine.Name);

    [TestCaseSource(nameof(Checks))]
    public void What_the_device_refuses_and_what_its_buffers_do_is_as_in_the_kernel(UdmabufMode mode, MachineOptions options)
    {
        Outcome outcome = Run(mode, options with { HugePages = 8 }, null, "udmabuf/checks", options.Profile == KernelProfile.V6_1 ? "61" : "612");
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        Assert.That(outcome.Output, Does.EndWith("all passed\n"));
    }

    public static IEnumerable<TestCaseData> Coherence() =>
        from mode in UdmabufModes.All
        where mode.Soundness != UdmabufSoundness.Unsound
        from machine in Machines()
        select new TestCaseData(mode, machine.Options).SetArgDisplayNames(mode.Name, machine.Name);

    [TestCaseSource(nameof(Coherence))]
    public void Everybody_sees_what_the_file_holds_but_for_those_who_pin(UdmabufMode mode, MachineOptions options)
    {
        IReadOnlyList<Incoherence> found = [];
        Outcome outcome = Run(mode, options with { HugePages = 32 }, machine => found = machine.DmaBufs.Incoherences, "udmabuf/coherence", mode.Name, "4");
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        Assert.That(outcome.Output, Does.EndWith("all passed\n"));
        // The static device pins, and that is said; in a sound design nothing else is out of date.
        Assert.That(found, Is.Not.Empty.And.All.Property(nameof(Incoherence.ByDesign)).True);
        if (mode.Soundness == UdmabufSoundness.Sound)
            Assert.That(found.Select(static f => f.What), Has.All.Contain("dmabuf_importer0 (static)"));
    }

    [Test]
    public void The_design_that_hears_of_faults_alone_is_caught([Values] bool deterministic)
    {
        (long freed, long violations, IReadOnlyList<Incoherence> found) = (0, 0, []);
        MachineOptions options = (deterministic ? GuestPrograms.Deterministic(2, 5) : GuestPrograms.Parallel(2)) with { Udmabuf = new UdmabufOptions(UdmabufModes.UpdateMapping) };
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest("udmabuf/coherence", "update-mapping"), options, machine =>
        {
            freed = machine.DmaBufs[DmaBufCounter.FreedReads] + machine.DmaBufs[DmaBufCounter.FreedWrites];
            (violations, found) = (machine.Violations.Count, machine.DmaBufs.Incoherences);
        });
        Assert.That(outcome.Status, Is.Not.Zero, outcome.ToString());
        Assert.That((freed, violations), Is.Not.EqualTo((0L, 0L)), outcome.ToString());
        Assert.That(outcome.Errors, Does.Contain("a device touches a buffer's frames only while its mapping keeps them"));
        Assert.That(found, Has.Some.Property(nameof(Incoherence.ByDesign)).False);
    }

    [Test]
    public void Ten_thousand_buffers_come_and_go_without_growth([ValueSource(typeof(UdmabufModes), nameof(UdmabufModes.All))] UdmabufMode mode)
    {
        IReadOnlyList<long> counts = [];
        Outcome outcome = Run(mode, GuestPrograms.Parallel(2), machine => counts = [machine.DmaBufs[DmaBufCounter.Exports], machine.DmaBufs[DmaBufCounter.Releases]],
            "udmabuf/lifetimes", NeedsMaker(mode) ? ["10000", "maker"] : ["10000"]);
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        Assert.That(counts[0], Is.EqualTo(10000 + 720).And.EqualTo(counts[1]));
    }

    [TestCaseSource(nameof(Designs))]
    public void Who_waits_for_a_device_finds_its_work_done(UdmabufMode mode, MachineOptions options) =>
        Assert.That(Run(mode, options, null, "udmabuf/fences").Output, Does.EndWith("all passed\n"));

    public static IEnumerable<TestCaseData> Lifetimes() =>
        from mode in UdmabufModes.All
        from machine in Machines()
        select new TestCaseData(mode, machine.Options).SetArgDisplayNames(mode.Name, machine.Name);

    [TestCaseSource(nameof(Lifetimes))]
    public void What_keeps_a_buffer_is_given_up_in_every_order(UdmabufMode mode, MachineOptions options) =>
        Assert.That(Run(mode, options, null, "udmabuf/lifetimes", NeedsMaker(mode) ? ["10", "maker"] : ["10"]).Output, Does.EndWith("all passed\n"));

    /// <summary>Only this one has nothing where its maker has nothing mapped.</summary>
    private static bool NeedsMaker(UdmabufMode mode) => mode == UdmabufModes.Hmm;

    [TestCase(1024, 64), TestCase(8, 1), TestCase(2000, 100)]
    public void Limits_are_options_and_parameters(int items, int megabytes)
    {
        MachineOptions options = GuestPrograms.Parallel(1) with { Udmabuf = new UdmabufOptions(UdmabufModes.FileNotifier, items, megabytes) };
        Assert.That(Run(UdmabufModes.FileNotifier, options, null, "udmabuf/limits", $"{items}", $"{megabytes}").Output, Does.EndWith("all passed\n"));
    }

    [TestCase("pinned", true)]
    [TestCase("hmm,list_limit=8", true)]
    [TestCase("file-notifier,list_limit=8,size_limit_mb=1", true)]
    [TestCase("", false)]
    [TestCase("Pinned", false)]
    [TestCase("pinned,", false)]
    [TestCase("pinned,list_limit", false)]
    [TestCase("pinned,list_limit=-1", false)]
    [TestCase("pinned,list_limit=99999999999", false)]
    [TestCase("pinned,size_limit_mb=100000", false)]
    [TestCase("pinned,other=1", false)]
    public void Options_are_a_design_and_limits(string text, bool good) => Assert.That(UdmabufOptions.TryParse(text, out _, out _), Is.EqualTo(good));

    /// <summary>Runs a guest, and has nothing broken and nothing left when it has ended.</summary>
    internal static Outcome Run(UdmabufMode mode, MachineOptions options, Action<Machine>? inspect, string guest, params string[] arguments)
    {
        IReadOnlyList<string> wrong = [];
        long left = 0;
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest(guest, arguments), options with { Udmabuf = options.Udmabuf with { Mode = mode } }, machine =>
        {
            wrong = new MmChecker(machine.MemorySystem).Check();
            left = machine.Pages.UsedFrames - machine.MemorySystem.ReservedFrames;
            inspect?.Invoke(machine);
        });
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Errors, Is.Empty, outcome.ToString());
            Assert.That(wrong, Is.Empty);
            Assert.That(left, Is.EqualTo(AtRest.Value), "frames are left");
        }
        return outcome;
    }
}
