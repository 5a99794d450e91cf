using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Tests.Tasks;

public sealed class PendingSignalsTests
{
    private const int RealTime = Signal.SIGRTMIN + 2;

    private static SignalInfo Info(int number, int value = 0) => new(number, SignalInfo.SI_QUEUE) { Value = (ulong)value };

    [Test]
    public void An_ordinary_signal_waits_once_and_a_real_time_one_as_often_as_it_was_sent()
    {
        var pending = new PendingSignals(new KernelMemory(1 << 20));
        for (int i = 0; i < 3; i++)
        {
            pending.Add(Info(Signal.SIGUSR1, i));
            pending.Add(Info(RealTime, i));
        }
        Assert.That(Drain(pending), Is.EqualTo(new[] { (Signal.SIGUSR1, 0UL), (RealTime, 0UL), (RealTime, 1UL), (RealTime, 2UL) }));
    }

    [Test]
    public void The_lowest_number_goes_first_but_a_fault_before_all()
    {
        var pending = new PendingSignals(new KernelMemory(1 << 20));
        foreach (int signal in (int[])[Signal.SIGTERM, Signal.SIGHUP, Signal.SIGSEGV, RealTime])
            pending.Add(Info(signal));
        Assert.That(Drain(pending).Select(s => s.Number), Is.EqualTo(new[] { Signal.SIGSEGV, Signal.SIGHUP, Signal.SIGTERM, RealTime }));
    }

    [Test]
    public void A_signal_outside_the_mask_stays()
    {
        var pending = new PendingSignals(new KernelMemory(1 << 20));
        pending.Add(Info(Signal.SIGHUP));
        Assert.That(pending.Take(~Signal.Bit(Signal.SIGHUP)), Is.Null);
        Assert.That(pending.Mask, Is.EqualTo(Signal.Bit(Signal.SIGHUP)));
        pending.Discard(Signal.Bit(Signal.SIGHUP));
        Assert.That(pending.Mask, Is.Zero);
    }

    [Test]
    public void Equal_seeds_give_equal_numbers()
    {
        RandomSource a = new(5), b = new(5), c = new(6);
        ulong[] first = [.. Enumerable.Range(0, 100).Select(_ => a.NextUInt64())];
        Assert.That(Enumerable.Range(0, 100).Select(_ => b.NextUInt64()), Is.EqualTo(first));
        Assert.That(Enumerable.Range(0, 100).Select(_ => c.NextUInt64()), Is.Not.EqualTo(first));
    }

    private static List<(int Number, ulong Value)> Drain(PendingSignals pending)
    {
        List<(int, ulong)> taken = [];
        while (pending.Take(ulong.MaxValue) is { } info)
            taken.Add((info.Number, info.Value));
        return taken;
    }
}
