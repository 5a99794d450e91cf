using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mirrors;

/// <summary>The guests that use /dev/hmm_dmirror*: they check themselves, and the machine is looked over when they have ended.</summary>
public sealed class DmirrorTests
{
    private static readonly string[] Programs = ["mirror", "mirror_migrate", "mirror_exclusive"];

    public static IEnumerable<TestCaseData> Runs()
    {
        foreach (string program in Programs)
        {
            foreach (int vcpus in (int[])[1, 2, 4])
                yield return new TestCaseData(program, GuestPrograms.Parallel(vcpus)).SetArgDisplayNames(program, $"{vcpus}_vcpus");
            for (ulong seed = 1; seed <= 4; seed++)
                yield return new TestCaseData(program, GuestPrograms.Deterministic(4, seed)).SetArgDisplayNames(program, $"seed_{seed}");
        }
    }

    [TestCaseSource(nameof(Runs))]
    public void A_program_that_uses_the_device_finds_all_as_promised(string program, MachineOptions options)
    {
        IReadOnlyList<string> wrong = [];
        Outcome outcome = EmulatedHost.Run(GuestPrograms.Guest(program), options, machine => wrong = new MmChecker(machine.MemorySystem).Check());
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        Assert.That(outcome.Errors, Is.Empty, outcome.ToString());
        Assert.That(wrong, Is.Empty);
        Assert.That(outcome.Output, Does.EndWith("all passed\n"));
    }
}
