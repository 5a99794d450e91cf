using System.Diagnostics;

namespace Emulator.Kernel;

/// <summary>
/// The machine's time, in nanoseconds. A parallel machine follows the host; a deterministic one counts instructions and jumps
/// when every task waits, so that nothing a guest can see depends on the host.
/// </summary>
public abstract class Clock
{
    /// <summary>CLOCK_MONOTONIC: time since the machine was made, starting at a value that no program mistakes for "never".</summary>
    public abstract long MonotonicNs { get; }

    /// <summary>CLOCK_REALTIME at <see cref="MonotonicNs"/> zero.</summary>
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
    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly long _realtimeAtStart = (TimeProvider.System.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100;
    private readonly long _bootAtStart = Environment.TickCount64 * Millisecond;

    public override long MonotonicNs => _bootAtStart + (long)Stopwatch.GetElapsedTime(_start).TotalNanoseconds;

    public override long RealtimeOffsetNs => _realtimeAtStart - _bootAtStart;
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
