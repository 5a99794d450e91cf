using Emulator.Hardware.Smp;

namespace Emulator.Kernel.Tasks.Scheduling;

/// <summary>As many tasks run at once as there are vCPUs; a tick ends time slices while others wait.</summary>
internal sealed class ParallelScheduler : Scheduler
{
    private const long SliceNs = 4 * Clock.Millisecond;
    private const long Unlimited = long.MaxValue / 2;

    private readonly KernelTimer _tick;
    private readonly long? _limit;
    private long _executed;

    internal ParallelScheduler(Machine machine)
        : base(machine)
    {
        _tick = new KernelTimer(machine, Tick);
        _limit = machine.Options.MaxInstructions;
    }

    internal override void PreemptionPoint(Task task)
    {
    }

    internal override void SpinOnce(Task task) => task.Vcpu?.ServeRequests();

    // With a limit on instructions each vCPU takes small shares, so that the total overshoots by little.
    internal override long Quantum(Task task, long most) =>
        Math.Min(most, _limit is { } limit ? Math.Clamp(limit - Volatile.Read(ref _executed), 1, 100_000) : Unlimited);

    internal override void Executed(Task task, long instructions)
    {
        if (_limit is { } limit && Interlocked.Add(ref _executed, instructions) >= limit)
            Machine.StopFor(ExitReason.InstructionLimit);
    }

    internal override void OnAttention(Task task)
    {
        if (task.Scheduling.NeedsReschedule)
            Yield(task);
    }

    // A guest that spins on sched_yield waits for another vCPU, whose host thread may need this processor.
    private protected override void OnNobodyWaits(Task task) => Thread.Yield();

    private protected override Task? OnAssigned(Task task) => task;

    private protected override void AfterRelease()
    {
    }

    private protected override void OnQueued()
    {
        if (_tick.DeadlineNs == Clock.Never)
            _tick.Arm(Machine.Clock.MonotonicNs + SliceNs);
    }

    private void Tick()
    {
        lock (Lock)
        {
            long now = Machine.Clock.MonotonicNs;
            if (!HasQueued)
                return;
            foreach (Task? task in Running)
            {
                if (task is null || now - task.Scheduling.SliceStart < SliceNs / 2)
                    continue;
                task.Scheduling.NeedsReschedule = true;
                Machine.Platform.Vcpus[task.Scheduling.Assigned].RequestAttention();
            }
            _tick.Arm(now + SliceNs);
        }
    }
}
