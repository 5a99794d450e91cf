using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tracing;
using Emulator.Tests.Files;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>What users see of shootdown: the release, the ceiling in /sys, and counters that add up after a real program.</summary>
public sealed class ProfileAndCounterTests
{
    private const string Ceiling = "/sys/kernel/debug/x86/tlb_single_page_flush_ceiling";

    [TestCase("6.1", "6.1.0")]
    [TestCase("6.12", "6.12.0")]
    public void A_profile_says_which_release_it_is(string name, string release)
    {
        Assert.That(KernelProfiles.TryParse(name, out KernelProfile profile));
        using var machine = new Machine(new MachineOptions { Profile = profile });
        Assert.That(machine.Release, Is.EqualTo(release));
    }

    [TestCase("")]
    [TestCase("6")]
    [TestCase("6.10")]
    public void Other_profiles_are_refused(string name) => Assert.That(KernelProfiles.TryParse(name, out _), Is.False);

    [Test]
    public void The_ceiling_is_read_and_set_in_sys()
    {
        using var bench = new FilesBench();
        Assert.That(bench.ReadText(Ceiling), Is.EqualTo("33\n"));
        Assert.That(Store(bench, "7\n"), Is.EqualTo(2));
        Assert.That((bench.ReadText(Ceiling), bench.Machine.MemorySystem.Shootdown.Ceiling), Is.EqualTo(("7\n", 7UL)));
        foreach (string wrong in (string[])["-1\n", "x\n", "\n", "1048577\n", "99999999999\n"])
            Assert.That(Store(bench, wrong), Is.EqualTo(-Errno.EINVAL), wrong);
        Assert.That(bench.ReadText(Ceiling), Is.EqualTo("7\n"));
        Assert.That(Store(bench, "0"), Is.EqualTo(1));
        Assert.That(bench.ReadText(Ceiling), Is.EqualTo("0\n"));
    }

    [Test]
    public void Shootdowns_are_counted_in_proc_interrupts()
    {
        using var bench = new FilesBench();
        Assert.That(bench.ReadText("/proc/interrupts"), Is.EqualTo("           CPU0       \nCAL:          0   Function call interrupts\nTLB:          0   TLB shootdowns\n"));
    }

    private static long Store(FilesBench bench, string text)
    {
        Assert.That(bench.Open(Ceiling, FileAbi.O_WRONLY, out OpenFile? file), Is.Zero);
        long position = 0;
        long result = file!.Write(bench.Task, System.Text.Encoding.ASCII.GetBytes(text), ref position);
        file.Put();
        return result;
    }

    [Test]
    public void Counters_add_up_after_a_program_that_unmaps_on_many_vcpus([Values] KernelProfile profile)
    {
        EmulatedHost.Run(GuestPrograms.Guest("tlb", "4", "200"), new MachineOptions { Vcpus = 4, Profile = profile }, machine =>
        {
            Statistics s = machine.Statistics("tlb", new ExitStatus(ExitReason.Exited), 1);
            using (Assert.EnterMultipleScope())
            {
                Assert.That(s["shootdown.requests"], Is.Positive);
                Assert.That(s["shootdown.ipis_received"], Is.EqualTo(s["shootdown.ipis_sent"]));
                Assert.That(s["shootdown.ipis_sent"], Is.LessThanOrEqualTo(s["ipi.sent"]), "code is invalidated by interrupts, too");
                Assert.That(s["shootdown.nothing_not_loaded"] + s["shootdown.nothing_lazy"] + s["shootdown.nothing_generation"], Is.LessThanOrEqualTo(s["shootdown.ipis_received"]));
                Assert.That(s["shootdown.wait_calls"], Is.LessThanOrEqualTo(s["shootdown.ipis_sent"]));
                Assert.That(s["shootdown.page_flushes"], Is.EqualTo(s["flush.page"]));
                Assert.That(s["shootdown.full_flushes"], Is.LessThanOrEqualTo(s["flush.load_cr3"]));
                Assert.That(s["cycles.total"], Is.GreaterThan(s["cpu.instructions"]));
                if (profile == KernelProfile.V6_1)
                    Assert.That((s["shootdown.skipped_not_loaded"], s["shootdown.mask_trimmed"]), Is.EqualTo((0UL, 0UL)));
            }
        });
    }

    [Test]
    public void Each_counter_is_declared_once_in_its_place()
    {
        Assert.That(ShootdownCounterList.All.Select(c => (int)c.Counter), Is.EqualTo(Enumerable.Range(0, (int)ShootdownCounter.Count)));
        Assert.That(ShootdownCounterList.All.Select(c => c.Name).Concat(CounterList.All.Select(c => c.Name)), Is.Unique);
    }
}
