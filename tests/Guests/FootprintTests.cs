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

    /// <summary>Nearly all of the memory becomes huge pages of the guest's, of which it touches a byte each.</summary>
    [Test]
    public void A_byte_in_each_huge_page_costs_little_of_them()
    {
        const int Count = 1900;
        string folder = Directory.CreateTempSubdirectory("emulator-footprint-").FullName;
        try
        {
            string source = Path.Combine(folder, "sparse.c"), program = Path.Combine(folder, "sparse");
            File.WriteAllText(source, $$"""
                #include <stdio.h>
                #include <string.h>
                #include <sys/mman.h>
                int main(void)
                {
                    char line[100], *p = mmap(0, {{Count}}ul << 21, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
                    for (unsigned long i = 0; i < {{Count}}; i++)
                        p[i << 21] = 1;
                    for (FILE *status = fopen("/status", "r"); fgets(line, sizeof line, status);)
                        if (!strncmp(line, "VmHWM:", 6))
                            fputs(line + 6, stdout);
                }
                """);
            NativeHost.CompileStatic(source, program);
            Outcome outcome = EmulatedHost.Command(new(program), "--bind", "/proc/self/status:/status:ro");
            Assert.That(outcome.Status, Is.Zero, outcome.ToString());
            long peak = long.Parse(outcome.Output.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[0], CultureInfo.InvariantCulture);
            Assert.That(peak, Is.LessThan(Count * 4 + AllowanceKib), "kB");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
