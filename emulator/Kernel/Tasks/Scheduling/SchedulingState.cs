using Emulator.Hardware.Smp;

namespace Emulator.Kernel.Tasks.Scheduling;

internal enum RunState
{
    New,

    /// <summary>Has a vCPU, or has been given one and is about to take it.</summary>
    Running,

    /// <summary>Waits in the run queue.</summary>
    Runnable,

    Asleep,
    Exited,
}

/// <summary>What the scheduler knows of a task. Guarded by the scheduler's lock except where said.</summary>
/// <param name="measured">Processor time is the host's; otherwise the scheduler counts it.</param>
internal sealed class SchedulingState(bool measured)
{
    public RunState State;

    /// <summary>Somebody called Wake since PrepareToSleep.</summary>
    public bool WakePending;

    /// <summary>The vCPU that it runs on, or has been given.</summary>
    public int Assigned = -1;

    /// <summary>Where it ran last: its TLB entries may still be there.</summary>
    public int Last = -1;

    /// <summary>Monotonic time at which the current slice began.</summary>
    public long SliceStart;

    /// <summary>The slice is over and somebody else waits. Written by the tick, read by the task.</summary>
    public volatile bool NeedsReschedule;

    /// <summary>Deterministic machines: instructions left before the task may be switched at an instruction boundary.</summary>
    public long QuantumLeft;

    public CpuSet Affinity = CpuSet.All;

    /// <summary>SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, and nice value: kept and reported; all tasks are scheduled alike.</summary>
    public int Policy;

    public int Nice;

    /// <summary>As ioprio_set takes it; 0 when it was never set.</summary>
    public int IoPriority;

    public TaskTimes Times { get; } = new(measured);

    public long VoluntarySwitches;
    public long InvoluntarySwitches;

    public KernelTimer? SleepTimer;
}

/// <summary>A set of vCPUs as sched_setaffinity passes it: up to 256.</summary>
internal struct CpuSet : IEquatable<CpuSet>
{
    public const int Capacity = 256;

    private ulong _w0, _w1, _w2, _w3;

    public static CpuSet All => new() { _w0 = ~0UL, _w1 = ~0UL, _w2 = ~0UL, _w3 = ~0UL };

    public static CpuSet Of(int cpu)
    {
        CpuSet set = default;
        set[cpu >> 6] = 1UL << (cpu & 63);
        return set;
    }

    public ulong this[int word]
    {
        readonly get => word switch { 0 => _w0, 1 => _w1, 2 => _w2, _ => _w3 };
        set
        {
            switch (word)
            {
                case 0: _w0 = value; break;
                case 1: _w1 = value; break;
                case 2: _w2 = value; break;
                default: _w3 = value; break;
            }
        }
    }

    public readonly bool Contains(int cpu) => (this[cpu >> 6] >> (cpu & 63) & 1) != 0;

    public readonly bool Equals(CpuSet other) => _w0 == other._w0 && _w1 == other._w1 && _w2 == other._w2 && _w3 == other._w3;

    public override readonly bool Equals(object? obj) => obj is CpuSet other && Equals(other);

    public override readonly int GetHashCode() => HashCode.Combine(_w0, _w1, _w2, _w3);
}
