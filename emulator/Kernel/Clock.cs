using System.Diagnostics;

namespace Emulator.Kernel;

/// <summary>
/// The machine's time, in nanoseconds. A parallel machine follows the host; a deterministic one counts instructions and jumps
/// when every task waits, so that nothing a guest can see depends on the host.
/// </summary>
public abstract class Clock
{
    /// <summary>CLOCK_MONOTONIC, and what RDTSC reads. Never near zero, which programs take for "never".</summary>
    public abstract long MonotonicNs { get; }

    /// <summary>CLOCK_REALTIME at <see cref="MonotonicNs"/> zero; the same for the machine's life, because nobody may set a clock.</summary>
    public abstract long RealtimeOffsetNs { get; }

    public long RealtimeNs => MonotonicNs + RealtimeOffsetNs;

    public const long Second = 1_000_000_000;
    public const long Millisecond = 1_000_000;

    /// <summary>The deadline that never comes.</summary>
    public const long Never = long.MaxValue;
}

/// <summary>The host's clock.</summary>
public sealed class HostClock : Clock
{
    /// <summary>Both the monotonic and the wall clock of the host are read once, so that the guest's never part.</summary>
    private readonly long _realtimeOffset = (TimeProvider.System.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100 - Now;

    public override long MonotonicNs => Now;

    public override long RealtimeOffsetNs => _realtimeOffset;

    private static long Now => Stopwatch.GetTimestamp() * (Second / Stopwatch.Frequency);
}

/// <summary>Time that passes only by executed instructions and by the scheduler's jumps. One nanosecond is one instruction.</summary>
public sealed class VirtualClock : Clock
{
    /// <summary>2026-01-01T00:00:00Z: after every certificate and file that a guest may carry, and the same in every run.</summary>
    private const long Epoch = 1_767_225_600L * Second;

    private long _now = Second;

    public override long MonotonicNs => Volatile.Read(ref _now);

    public override long RealtimeOffsetNs => Epoch;

    internal void Advance(long ns) => Volatile.Write(ref _now, _now + ns);

    internal void JumpTo(long ns) => Volatile.Write(ref _now, Math.Max(_now, ns));
}
