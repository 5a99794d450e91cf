using Emulator.Kernel;

namespace Emulator.Tests.Fuzz;

/// <summary>Periods as long and as short as a program can name, on a machine that would hang where a moment wraps or comes again at once.</summary>
public sealed class TimerBoundsTests
{
    private const int Read = 0, SignalAction = 13, Nanosleep = 35, SetInterval = 38, TimerCreate = 222, TimerSet = 223, TimerFdCreate = 283, TimerFdSet = 286, TimerFdGet = 287;
    private const ulong LongestSeconds = 9_223_372_035, Microsecond = 1000;

    private static readonly MachineOptions Small = new() { MemoryBytes = 64 << 20, Deterministic = true };

    private static void Sleep(KernelCalls calls, ulong seconds, ulong nanoseconds) => calls.Call(Nanosleep, calls.Pass(seconds, nanoseconds), 0);

    [Test]
    public void A_timerfd_with_the_longest_period_expires_once() => KernelCalls.Run(Small, static (calls, _) =>
    {
        ulong timer = (ulong)calls.Call(TimerFdCreate, 1, 0x800), count = calls.Pass(0UL);
        Assert.That(calls.Call(TimerFdSet, timer, 0, calls.Pass(LongestSeconds, 999_999_999, 0, Microsecond), 0), Is.Zero);
        Sleep(calls, 1, 0);
        Assert.That((calls.Call(Read, timer, count, 8), calls.Get<ulong>(count)), Is.EqualTo((8L, 1UL)));
        Sleep(calls, 1, 0);
        Assert.That(calls.Call(Read, timer, count, 8), Is.EqualTo(-Errno.EAGAIN));
    });

    /// <summary>A thousand million periods pass while nobody looks.</summary>
    [Test]
    public void A_timerfd_with_the_shortest_period_takes_nothing() => KernelCalls.Run(Small, static (calls, _) =>
    {
        ulong timer = (ulong)calls.Call(TimerFdCreate, 1, 0x800), count = calls.Pass(0UL), left = calls.Pass(0, 0, 0, 0);
        Assert.That(calls.Call(TimerFdSet, timer, 0, calls.Pass(0, 1, 0, 1), 0), Is.Zero);
        Sleep(calls, 1, 0);
        Assert.That(calls.Call(TimerFdGet, timer, left), Is.Zero);
        Assert.That(calls.Get<ulong>(left + 24), Is.EqualTo(1UL), "the next period");
        Sleep(calls, 1, 0);
        Assert.That((calls.Call(Read, timer, count, 8), calls.Get<ulong>(count)), Is.EqualTo((8L, calls.Get<ulong>(count))));
        Assert.That(calls.Get<ulong>(count), Is.InRange(2_000_000_000UL, 2_001_000_000UL));
    });

    [Test]
    public void Interval_timers_with_the_longest_period_expire_once() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        const int Alarm = 14;
        Ignore(calls, Alarm);
        for (ulong which = 0; which < 3; which++)
            Assert.That(calls.Call(SetInterval, which, calls.Pass(LongestSeconds, 999_999, 0, 1), 0), Is.Zero);
        Sleep(calls, 1, 0);
        Assert.That(machine.Timers.NextDeadline, Is.GreaterThan(machine.Clock.MonotonicNs));
    });

    [Test]
    public void A_timer_with_the_longest_period_whose_signal_is_ignored_expires_once() => KernelCalls.Run(Small, static (calls, machine) =>
    {
        const int Alarm = 14;
        Ignore(calls, Alarm);
        ulong id = calls.Pass(0UL);
        Assert.That(calls.Call(TimerCreate, 1, 0, id), Is.Zero);
        Assert.That(calls.Call(TimerSet, calls.Get<uint>(id), 0, calls.Pass(LongestSeconds, 999_999_999, 0, Microsecond), 0), Is.Zero);
        Sleep(calls, 1, 0);
        Assert.That(machine.Timers.NextDeadline, Is.EqualTo(Clock.Never));
    });

    private static void Ignore(KernelCalls calls, int signal) =>
        Assert.That(calls.Call(SignalAction, (ulong)signal, calls.Pass(1, 0, 0, 0), 0, 8), Is.Zero);
}
