namespace Emulator.Tests.Guests;

/// <summary>What a run takes from the host it gives back.</summary>
public sealed class ResourceTests
{
    /// <summary>What the runtime may open or start meanwhile; a leak in each of many processes or machines exceeds it.</summary>
    private const int Slack = 10;

    [Test]
    public void A_thousand_processes_are_forked_and_reaped_and_everything_returns_to_where_it_was()
        => AssertNothingIsLeft(ResourceProbe.InChild(["fork", "10"], ["fork", "1000"]));

    [Test]
    public void A_hundred_machines_leave_nothing_behind()
        => AssertNothingIsLeft(ResourceProbe.InChild([.. Enumerable.Repeat<string[]>(["hello"], 101)]));

    private static void AssertNothingIsLeft(IReadOnlyList<ResourceProbe> probes)
    {
        ResourceProbe first = probes[0], last = probes[^1];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(probes.Select(probe => probe.Status), Is.All.Zero);
            Assert.That(last.Frames, Is.EqualTo(first.Frames), "frames in use when the last process is gone");
            Assert.That(last.Tables, Is.EqualTo(first.Tables), "page-table frames in use when the last process is gone");
            Assert.That(last.Descriptors, Is.LessThan(first.Descriptors + Slack), "host descriptors");
            Assert.That(last.Threads, Is.LessThan(first.Threads + Slack), "host threads");
        }
    }
}
