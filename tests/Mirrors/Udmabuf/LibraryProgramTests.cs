using Emulator.Kernel;
using Emulator.Kernel.Mirrors;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors.Udmabuf;

/// <summary>Programs of the host's C library for the kernel's own headers run as they are: selftest and abi would run on a Linux with /dev/udmabuf as well.</summary>
public sealed class LibraryProgramTests
{
    private static readonly string Sources = Path.Combine(GuestPrograms.Root, "tests", "Mirrors", "Udmabuf", "c");

    private static string _folder = "";

    [OneTimeSetUp]
    public static void Compile()
    {
        _folder = Directory.CreateTempSubdirectory("udmabuf-").FullName;
        foreach (string program in (string[])["selftest", "abi", "engine", "mirrored"])
            NativeHost.CompileStatic(Path.Combine(Sources, program + ".c"), Path.Combine(_folder, program));
    }

    [OneTimeTearDown]
    public static void Remove() => Directory.Delete(_folder, recursive: true);

    private static IEnumerable<(string Name, MachineOptions Options)> Machines() =>
    [
        ("1_vcpu", GuestPrograms.Parallel(1)), ("4_vcpus", GuestPrograms.Parallel(4)), ("seed_1", GuestPrograms.Deterministic(4, 1)), ("seed_2", GuestPrograms.Deterministic(2, 2)),
    ];

    public static IEnumerable<TestCaseData> Designs() =>
        from mode in UdmabufModes.All
        from machine in Machines()
        select new TestCaseData(mode, machine.Options with { Udmabuf = new UdmabufOptions(mode), HugePages = 32 }).SetArgDisplayNames(mode.Name, machine.Name);

    [TestCaseSource(nameof(Designs))]
    public void The_threads_selftest_passes_unless_pages_are_pinned_and_then_the_report_says_why(UdmabufMode mode, MachineOptions options)
    {
        IReadOnlyList<Incoherence> found = [];
        Outcome outcome = EmulatedHost.Run(new GuestRun(Path.Combine(_folder, "selftest"), ["24"]), options, machine => found = machine.DmaBufs.Incoherences);
        string passed = string.Concat(Enumerable.Range(1, 4).Select(static i => $"ok {i} {Names[i - 1]}\n"));
        Assert.That(outcome.Errors, Is.Empty, outcome.ToString());
        if (mode == UdmabufModes.Pinned)
        {
            const string different = "# page 0 of the buffer has 'a', its memfd 'b'\n";
            Assert.That((outcome.Status, outcome.Output), Is.EqualTo((1, $"{passed}{different}not ok 5 {Names[4]}\n{different}not ok 6 {Names[5]}\n")), outcome.ToString());
            Assert.That(found, Is.Not.Empty.And.All.Property(nameof(Incoherence.ByDesign)).True);
            Assert.That(found[0].What, Is.EqualTo("pages 0 to 3 of a buffer of 16 left the file; mappings and devices keep the old ones"));
        }
        else
        {
            Assert.That((outcome.Status, outcome.Output), Is.EqualTo((0, $"{passed}ok 5 {Names[4]}\nok 6 {Names[5]}\n")), outcome.ToString());
            Assert.That(found, Is.Empty);
        }
    }

    private static readonly string[] Names =
    [
        "an offset that is not page-aligned", "a size that is not page-aligned", "a descriptor that is no memfd", "a buffer", "a hole in a memfd", "a hole in a memfd of huge pages",
    ];

    public static IEnumerable<TestCaseData> OnAllMachines() =>
        from mode in (UdmabufMode[])[UdmabufModes.Pinned, UdmabufModes.FileNotifier, UdmabufModes.AllocatorExport]
        from machine in Machines()
        select new TestCaseData(machine.Options with { Udmabuf = new UdmabufOptions(mode) }).SetArgDisplayNames(mode.Name, machine.Name);

    [TestCaseSource(nameof(OnAllMachines))]
    public void What_the_headers_have_works_between_threads_and_over_fork_and_exec(MachineOptions options)
    {
        // The program runs itself again.
        Outcome outcome = EmulatedHost.Run(new GuestRun(Path.Combine(_folder, "abi")), options with { Binds = [new Bind(_folder, _folder)] });
        Assert.That((outcome.Status, outcome.Errors), Is.EqualTo((0, "")), outcome.ToString());
        Assert.That(outcome.Output, Does.EndWith("all passed\n"));
    }

    [TestCaseSource(nameof(OnAllMachines))]
    public void An_engine_that_shows_a_buffer_ends_its_jobs_whoever_uses_and_changes_it(MachineOptions options)
    {
        Outcome outcome = EmulatedHost.Run(new GuestRun(Path.Combine(_folder, "engine")), options with { LockDep = true });
        Assert.That((outcome.Status, outcome.Output, outcome.Errors), Is.EqualTo((0, "all ended\n", "")), outcome.ToString());
    }

    public static IEnumerable<TestCaseData> CoherentMachines() =>
        from mode in UdmabufModes.All
        where mode.Soundness == UdmabufSoundness.Sound
        from machine in Machines()
        select new TestCaseData(machine.Options with { Udmabuf = new UdmabufOptions(mode) }).SetArgDisplayNames(mode.Name, machine.Name);

    [TestCaseSource(nameof(CoherentMachines))]
    public void A_process_that_maps_a_buffer_can_be_mirrored_without_breaking_the_order_of_locks(MachineOptions options)
    {
        IReadOnlyList<string> broken = [];
        Outcome outcome = EmulatedHost.Run(new GuestRun(Path.Combine(_folder, "mirrored")), options with { LockDep = true, Check = true },
            machine => broken = [.. machine.Violations.All.Select(static v => v.ToString())]);
        Assert.That((outcome.Status, outcome.Output, outcome.Errors), Is.EqualTo((0, "all the same\n", "")), outcome.ToString());
        Assert.That(broken, Is.Empty);
    }

    [Test]
    public void Engines_are_refused_when_there_is_no_memory_for_their_tasks()
    {
        Outcome outcome = EmulatedHost.Run(new GuestRun(Path.Combine(_folder, "engine"), ["open"]), GuestPrograms.Parallel(2) with { MemoryBytes = 2 << 20 });
        // Whoever took the last memory may be killed for it.
        Assert.That(outcome.Status, Is.Zero.Or.EqualTo(128 + 9), outcome.ToString());
    }

    /// <summary>On the host itself; nearly none has the device where tests run.</summary>
    [Test]
    public void On_a_host_with_the_device_the_first_four_tests_pass_too()
    {
        Outcome native = NativeHost.Run(new GuestRun(Path.Combine(_folder, "selftest")));
        if (native.Status == 4)
            Assert.Ignore("no /dev/udmabuf here");
        Assert.That(native.Output, Does.StartWith("ok 1 ").And.Contain("ok 4 "));
    }
}
