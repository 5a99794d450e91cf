using Emulator.Hardware.Cpu;

namespace Emulator.Kernel.Tasks.Scheduling;

/// <summary>
/// One host thread of the machine runs at a time: it holds the baton. Tasks are on vCPUs as in a parallel machine, but of those only the
/// holder makes progress; a seeded generator decides at every preemption point whether the baton moves and to whom, and how many
/// instructions a quantum has. Time is counted in instructions, and jumps when nobody can run. Nothing else decides anything, so the
/// same seed gives the same run.
/// </summary>
internal sealed class DeterministicScheduler : Scheduler
{
    private const int LongestQuantum = 20_000;
    private const int SwitchOneIn = 16;

    /// <summary>Virtual ns that a vCPU is kept while others wait for one.</summary>
    private const long SliceNs = 50_000;

    /// <summary>Virtual ns that an entry to the kernel costs, so that loops of system calls make time pass.</summary>
    private const long KernelEntryNs = 200;

    private readonly RandomSource _random;
    private readonly VirtualClock _clock;
    private readonly long _limit;
    private Task? _baton;
    private bool _idle;
    private bool _ended;
    private long _executed;

    /// <summary>What <see cref="Quantum"/> gave last, and the last time stamp read.</summary>
    private long _granted, _timestamp;

    internal DeterministicScheduler(Machine machine, VirtualClock clock)
        : base(machine)
    {
        _clock = clock;
        _random = new RandomSource(machine.Options.Seed ^ 0x5C4E_D01E);
        _limit = machine.Options.MaxInstructions ?? long.MaxValue;
        machine.Platform.ReadTimestamp = ReadTimestamp;
    }

    internal override void PreemptionPoint(Task task)
    {
        if (task.Vcpu is not null && _random.Next(SwitchOneIn) == 0)
            PassOn(task);
    }

    internal override void SpinOnce(Task task) => PassOn(task);

    internal override long Quantum(Task task, long most)
    {
        SchedulingState s = task.Scheduling;
        if (s.QuantumLeft <= 0)
            s.QuantumLeft = 1 + _random.Next(LongestQuantum);
        return _granted = Math.Clamp(Math.Min(_limit - _executed, most), 1, s.QuantumLeft);
    }

    /// <summary>RDTSC: the clock and what its holder, the only one who executes anything, has executed since. An instruction that runs singly has no budget to tell by.</summary>
    private unsafe ulong ReadTimestamp()
    {
        VcpuState* state = _baton!.Vcpu!.State;
        long executed = state->Single != 0 ? 0 : _granted - state->Budget;
        _timestamp = Math.Max(_timestamp, _clock.MonotonicNs + executed);
        return (ulong)_timestamp;
    }

    internal override void Executed(Task task, long instructions)
    {
        _executed += instructions;
        task.Scheduling.QuantumLeft -= instructions + KernelEntryNs;
        task.Scheduling.Times.Add(instructions, KernelEntryNs);
        _clock.Advance(instructions + KernelEntryNs);
        Machine.Timers.Fire();
        if (_executed >= _limit)
            Machine.StopFor(ExitReason.InstructionLimit);
    }

    internal override void OnAttention(Task task)
    {
        if (task.Scheduling.QuantumLeft > 0)
            return;
        bool yield;
        lock (Lock)
            yield = HasQueued && _clock.MonotonicNs - task.Scheduling.SliceStart >= SliceNs;
        if (yield)
            Yield(task);
        else
            PassOn(task);
    }

    private protected override void OnNobodyWaits(Task task) => PassOn(task);

    private protected override Task? OnAssigned(Task task)
    {
        if (_baton is null && !_idle)
            return _baton = task;
        if (_idle)
            Machine.HostPoller.Interrupt();
        return null;
    }

    private protected override void OnQueued()
    {
    }

    private protected override int PickIdle(Task task)
    {
        int candidates = 0;
        for (int i = 0; i < Running.Length; i++)
            candidates += Running[i] is null && task.Scheduling.Affinity.Contains(i) ? 1 : 0;
        if (candidates == 0)
            return -1;
        int chosen = _random.Next(candidates);
        for (int i = 0; ; i++)
            if (Running[i] is null && task.Scheduling.Affinity.Contains(i) && chosen-- == 0)
                return i;
    }

    /// <summary>Stalls the caller on its vCPU while another task that has one makes progress.</summary>
    private void PassOn(Task task)
    {
        Task? next;
        lock (Lock)
        {
            next = Pick();
            if (next is null || next == task)
                return;
            _baton = next;
        }
        task.Vcpu!.Park();
        next.Host.Open();
        task.Host.Wait();
        task.Vcpu!.Unpark();
    }

    private Task? Pick()
    {
        int candidates = 0;
        foreach (Task? t in Running)
            candidates += t is null ? 0 : 1;
        if (candidates == 0)
            return null;
        int chosen = _random.Next(candidates);
        foreach (Task? t in Running)
            if (t is not null && chosen-- == 0)
                return t;
        return null;
    }

    private protected override void AfterRelease()
    {
        while (true)
        {
            Task? next;
            lock (Lock)
            {
                next = Pick();
                _baton = next;
                _idle = next is null && Machine.Processes.TaskCount != 0;
                if (next is null && !_idle)
                    return;
            }
            if (next is not null)
            {
                next.Host.Open();
                return;
            }
            Idle();
        }
    }

    /// <summary>Nobody can run: waits for the host if a task does, else jumps to the next timer; with neither, the tasks wait for each other for ever.</summary>
    private void Idle()
    {
        long next = Machine.Timers.NextDeadline;
        bool waitsForHost = Machine.HostPoller.HasArmed;
        if (next == Clock.Never && !waitsForHost && !_ended && !IsStopping)
        {
            _ended = true;
            Machine.StopFor(ExitReason.Deadlock, "every task waits for another one");
        }
        if (waitsForHost || next == Clock.Never)
        {
            // A wait for the host takes real time; as much virtual time passes, at most up to the next timer.
            long wait = next == Clock.Never ? Clock.Never : Math.Max(0, next - _clock.MonotonicNs);
            if (Machine.HostPoller.WaitOnce(wait))
                return;
        }
        if (next != Clock.Never)
            _clock.JumpTo(next);
        Machine.Timers.Fire();
    }
}
