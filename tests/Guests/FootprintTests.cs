using System.Globalization;

namespace Emulator.Tests.Guests;

/// <summary>What the whole process costs the host, as its kernel counts it: the guest looks into the emulator's own file of /proc.</summary>
public sealed class FootprintTests
{
    /// <summary>What is allowed beside what the guest touches, and what dd touches.</summary>
    private const long AllowanceKib = 120 << 10, TouchedKib = 256 << 10;

    /// <summary>The size of the memory, even above the host's, and the number of vCPUs do not count.</summary>
    [TestCase("4G", "1"), TestCase("512G", "16")]
    public void Memory_costs_what_the_guest_touches(string memory, string vcpus)
    {
        if (!NativeHost.IsLinux64 || NativeHost.Find("busybox") is not { } busybox)
        {
            Assert.Ignore("no busybox here (Debian: apt-get install busybox-static)");
            return;
        }
        Outcome outcome = EmulatedHost.Command(
            new(busybox, "sh", "-c", "dd if=/dev/zero of=/dev/null bs=256M count=1 2>/dev/null; sed -n 's/VmHWM:[^0-9]*//p' /status"),
            "--memory", memory, "--vcpus", vcpus, "--bind", "/proc/self/status:/status:ro");
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        long peak = long.Parse(outcome.Output.Split(' ')[0], CultureInfo.InvariantCulture);
        Assert.That(peak, Is.GreaterThan(TouchedKib).And.LessThan(TouchedKib + AllowanceKib), "kB");
    }
}
