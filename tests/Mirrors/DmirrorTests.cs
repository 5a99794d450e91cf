using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors;

/// <summary>The guests that use /dev/hmm_dmirror*: they check themselves, and the machine is looked over when they have ended.</summary>
public sealed class DmirrorTests
{
    private static readonly string[] Programs = ["mirror", "mirror_migrate", "mirror_exclusive"];

    private static IEnumerable<(string Name, MachineOptions Options)> Machines()
    {
        foreach (int vcpus in (int[])[1, 2, 4])
            yield return ($"{vcpus}_vcpus", GuestPrograms.Parallel(vcpus));
        for (ulong seed = 1; seed <= 4; seed++)
            yield return ($"seed_{seed}", GuestPrograms.Deterministic(4, seed));
    }

    public static IEnumerable<TestCaseData> Runs() =>
        from program in Programs
        from machine in Machines()
        select new TestCaseData(program, machine.Options).SetArgDisplayNames(program, machine.Name);

    public static IEnumerable<TestCaseData> OnAllMachines() => Machines().Select(machine => new TestCaseData(machine.Options).SetArgDisplayNames(machine.Name));

    [TestCaseSource(nameof(Runs))]
    public void A_program_that_uses_the_device_finds_all_as_promised(string program, MachineOptions options) =>
        AssertPasses(GuestPrograms.Guest(program), options with { HugePages = 4 });

    [TestCaseSource(nameof(OnAllMachines))]
    public void Threads_count_right_while_their_pages_go_to_devices_and_to_swap(MachineOptions options) =>
        AssertPasses(GuestPrograms.Guest("mirror_migrate", "storm"), options with { SwapBytes = 64 << 20, Disturbance = new DisturbanceRates(2000, 2000, 500, 5000) });

    /// <summary>What an ordinary C library makes of the calls, and the kernel header's names: such a program runs as it is.</summary>
    [TestCaseSource(nameof(OnAllMachines))]
    public void A_program_of_the_hosts_C_library_uses_the_device_by_the_kernels_ABI(MachineOptions options)
    {
        string folder = Directory.CreateTempSubdirectory("dmirror-").FullName;
        try
        {
            string program = Path.Combine(folder, "dmirror");
            NativeHost.CompileStatic(Path.Combine(GuestPrograms.Root, "tests", "Mirrors", "c", "dmirror.c"), program);
            AssertPasses(new GuestRun(program), options);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void AssertPasses(GuestRun run, MachineOptions options)
    {
        IReadOnlyList<string> wrong = [];
        Outcome outcome = EmulatedHost.Run(run, options, machine => wrong = new MmChecker(machine.MemorySystem).Check());
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        Assert.That(outcome.Errors, Is.Empty, outcome.ToString());
        Assert.That(outcome.Output, Does.EndWith("all passed\n"));
        Assert.That(wrong, Is.Empty);
    }
}
