using System.Globalization;
using Emulator.Kernel;
using Emulator.Tests.Guests;

namespace Emulator.Tests.Fuzz;

/// <summary>What many machines with fuzzing guests leave in the host's process, measured in one that does nothing else.</summary>
[Platform("Linux")]
public sealed class FuzzLeakTests
{
    /// <summary>The word by which the test assembly, as a program, knows that it is to do this.</summary>
    public const string Word = "fuzz-leaks";

    private const int Rounds = 6, WarmRounds = 2;

    /// <summary>What heaps and the runtime may move by; one machine's memory for each round would be more.</summary>
    private const long SlackMegabytes = 48;
    private const int SlackCount = 12;

    [Test]
    public void The_hosts_memory_threads_and_descriptors_come_back()
    {
        Outcome outcome = NativeHost.Run(new("") { Timeout = TimeSpan.FromMinutes(5) }, NativeHost.Find("dotnet") ?? Environment.ProcessPath!,
            [typeof(FuzzLeakTests).Assembly.Location, Word]);
        Assert.That(outcome.Status, Is.Zero, outcome.ToString());
        long[][] rounds = [.. outcome.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(static line => line.Split(' ').Select(static word => long.Parse(word, CultureInfo.InvariantCulture)).ToArray())];
        long[] warm = rounds[WarmRounds - 1], last = rounds[^1];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(last[0], Is.LessThan(warm[0] + SlackMegabytes), $"MiB of the process:\n{outcome.Output}");
            Assert.That(last[1], Is.LessThan(warm[1] + SlackCount), "descriptors");
            Assert.That(last[2], Is.LessThan(warm[2] + SlackCount), "threads");
        }
    }

    /// <summary>The child's part: after each round a line with MiB of memory, descriptors and threads.</summary>
    public static IEnumerable<string> Run()
    {
        for (int round = 0; round < Rounds; round++)
        {
            int seed = 1000 + round * 10;
            FuzzFeed.Run(seed, 4000, static (world, s, count) => new CommonCalls(world, s, count).Make(), new MachineOptions());
            FuzzFeed.Run(seed + 1, 2000, static (world, s, count) => new DeviceCases(world, s, count).Make(), new MachineOptions());
            CodeFuzzTests.RunModifyingCode(seed + 2, 1500);
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect();
            string[] status = File.ReadAllLines("/proc/self/status");
            long kilobytes = long.Parse(Array.Find(status, static line => line.StartsWith("VmRSS:", StringComparison.Ordinal))!.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
            yield return string.Create(CultureInfo.InvariantCulture,
                $"{kilobytes / 1024} {Directory.GetFiles("/proc/self/fd").Length} {Directory.GetDirectories("/proc/self/task").Length}");
        }
    }
}
