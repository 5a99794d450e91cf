using Emulator.Kernel;

namespace Emulator.Tests.Guests;

/// <summary>What a run takes from the host it gives back. Alone in the process, because it counts the process's own threads and descriptors.</summary>
[TestFixture, NonParallelizable]
public sealed class ResourceTests
{
    /// <summary>What the runtime and the test framework may open or start meanwhile; a leak in each of many processes or machines exceeds it.</summary>
    private const int Slack = 20;

    [Test]
    public void A_thousand_processes_are_forked_and_reaped_and_everything_returns_to_where_it_was()
    {
        (long frames, long tables) = (-1, -1);
        Outcome Fork(string count) => EmulatedHost.Run(GuestPrograms.Guest("fork", count), GuestPrograms.Parallel(1), machine =>
            (frames, tables) = (machine.Pages.UsedFrames, machine.Pages.TableFrames));
        Assume.That(Fork("10").Status, Is.Zero);
        (long framesOfFew, long tablesOfFew) = (frames, tables);

        (int descriptors, int threads) = Count();
        Outcome outcome = Fork("1000");
        (int descriptorsAfter, int threadsAfter) = Count();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Status, Is.Zero, outcome.ToString());
            Assert.That(outcome.Output, Does.Contain("1000 processes"));
            Assert.That(frames, Is.EqualTo(framesOfFew), "frames in use when the last process is gone");
            Assert.That(tables, Is.EqualTo(tablesOfFew), "page-table frames in use when the last process is gone");
            Assert.That(descriptorsAfter, Is.LessThan(descriptors + Slack), "host descriptors");
            Assert.That(threadsAfter, Is.LessThan(threads + Slack), "host threads");
        }
    }

    [Test]
    public void A_hundred_machines_leave_no_descriptor_behind()
    {
        GuestRun run = GuestPrograms.Guest("hello");
        EmulatedHost.Run(run, GuestPrograms.Parallel(1));
        (int descriptors, int threads) = Count();
        for (int i = 0; i < 100; i++)
            Assert.That(EmulatedHost.Run(run, GuestPrograms.Parallel(1)).Status, Is.Zero);
        (int descriptorsAfter, int threadsAfter) = Count();
        using (Assert.EnterMultipleScope())
        {
            Assert.That(descriptorsAfter, Is.LessThan(descriptors + Slack), "host descriptors");
            Assert.That(threadsAfter, Is.LessThan(threads + Slack), "host threads");
        }
    }

    /// <summary>Descriptors and threads of this process; zero where the host does not say.</summary>
    private static (int Descriptors, int Threads) Count()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return OperatingSystem.IsLinux() ? (Directory.GetFiles("/proc/self/fd").Length, Directory.GetDirectories("/proc/self/task").Length) : (0, 0);
    }
}
