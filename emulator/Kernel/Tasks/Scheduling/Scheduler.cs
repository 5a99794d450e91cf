using System.Runtime.CompilerServices;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Smp;

namespace Emulator.Kernel.Tasks.Scheduling;

/// <summary>
/// Hands vCPUs to tasks. A task is in exactly one of these: on a vCPU, in the run queue, asleep. Everything that changes it happens under
/// one leaf lock; saving and loading registers and taking the vCPU's permit happen outside of it, on the task's own thread.
/// </summary>
public abstract class Scheduler
{
    private readonly LinkedList<Task> _runQueue = new();
    private readonly Task?[] _running;
    private volatile bool _stopping;

    private protected Scheduler(Machine machine)
    {
        Machine = machine;
        _running = new Task?[machine.Options.Vcpus];
    }

    protected Machine Machine { get; }

    /// <summary>The task on each vCPU. Guarded by <see cref="Lock"/>.</summary>
    private protected ReadOnlySpan<Task?> Running => _running;

    private protected Lock Lock { get; } = new();

    /// <summary>The machine is being taken down: every sleep ends by <see cref="TaskKilledException"/>.</summary>
    internal bool IsStopping => _stopping;

    /// <summary>Context switches: times that a vCPU was given to a task.</summary>
    public long Switches => Volatile.Read(ref _switches);

    private long _switches;

    /// <summary>Somebody waits for a vCPU. Called with the lock held.</summary>
    private protected bool HasQueued => _runQueue.Count != 0;

    /// <summary>The number of tasks on vCPUs and in the run queue.</summary>
    public int RunnableCount
    {
        get
        {
            lock (Lock)
            {
                int n = _runQueue.Count;
                foreach (Task? t in _running)
                    n += t is null ? 0 : 1;
                return n;
            }
        }
    }

    /// <summary>Gives a new task its host thread; it runs <paramref name="body"/> once it has a vCPU.</summary>
    internal void Start(Task task, Action body)
    {
        Machine.HostThreads.Run(() =>
        {
            task.Host.Wait();
            Attach(task);
            body();
        });
        Task? first;
        lock (Lock)
            first = MakeRunnable(task);
        first?.Host.Open();
    }

    internal void PrepareToSleep(Task task)
    {
        Volatile.Write(ref task.Scheduling.WakePending, false);
        Interlocked.MemoryBarrier(); // Partner: the fence in WaitQueue.Wake.
    }

    internal void Wake(Task task)
    {
        Task? first = null;
        lock (Lock)
        {
            task.Scheduling.WakePending = true;
            if (task.Scheduling.State == RunState.Asleep)
                first = MakeRunnable(task);
        }
        first?.Host.Open();
    }

    internal void Sleep(Task task, long deadlineNs)
    {
        SchedulingState s = task.Scheduling;
        if (deadlineNs != Clock.Never)
        {
            s.SleepTimer ??= new KernelTimer(Machine, task.WakeUp);
            s.SleepTimer.Arm(deadlineNs);
        }
        int vacated;
        lock (Lock)
        {
            ThrowIfStopping();
            if (s.WakePending)
                return;
            s.State = RunState.Asleep;
            vacated = s.Assigned;
        }
        s.VoluntarySwitches++;
        GiveAway(task, vacated);
        if (deadlineNs != Clock.Never)
            s.SleepTimer!.Cancel();
        ThrowIfStopping();
    }

    /// <summary>Lets another runnable task have this vCPU, if one waits for it.</summary>
    internal void Yield(Task task)
    {
        SchedulingState s = task.Scheduling;
        s.NeedsReschedule = false;
        int vacated;
        bool moved;
        Task? first = null;
        lock (Lock)
        {
            vacated = s.Assigned;
            moved = FirstFor(vacated) is not null || !s.Affinity.Contains(vacated);
            if (moved)
                first = MakeRunnable(task);
            else
                s.SliceStart = Machine.Clock.MonotonicNs;
        }
        first?.Host.Open();
        if (moved)
        {
            s.InvoluntarySwitches++;
            GiveAway(task, vacated);
        }
        else
        {
            OnNobodyWaits(task);
        }
    }

    /// <summary>Takes effect when the task next gets a vCPU; the caller of sched_setaffinity yields.</summary>
    internal void SetAffinity(Task task, in CpuSet affinity)
    {
        lock (Lock)
        {
            task.Scheduling.Affinity = affinity;
            if (task.Scheduling.State == RunState.Running && !affinity.Contains(task.Scheduling.Assigned))
            {
                task.Scheduling.NeedsReschedule = true;
                Machine.Platform.Vcpus[task.Scheduling.Assigned].RequestAttention();
            }
        }
    }

    /// <summary>Ends a task's life with the scheduler; called on its own thread, which goes back to the pool afterwards.</summary>
    internal void Exit(Task task)
    {
        int vacated;
        lock (Lock)
        {
            task.Scheduling.State = RunState.Exited;
            vacated = task.Scheduling.Assigned;
        }
        task.Scheduling.SleepTimer?.Cancel();
        Detach(task);
        Vacate(vacated);
        AfterRelease();
    }

    /// <summary>Makes every sleep throw and every running task come to the kernel.</summary>
    internal void Stop(IEnumerable<Task> tasks)
    {
        lock (Lock)
            _stopping = true;
        foreach (Task task in tasks)
            Wake(task);
        foreach (Vcpu vcpu in Machine.Platform.Vcpus)
            vcpu.RequestAttention();
    }

    /// <summary>Interrupts the task's guest code if it is executing any, so that it looks at its signals and flags.</summary>
    internal void Kick(Task task)
    {
        lock (Lock)
        {
            if (task.Scheduling.State == RunState.Running)
                Machine.Platform.Vcpus[task.Scheduling.Assigned].RequestAttention();
        }
    }

    /// <inheritdoc cref="Task.PreemptionPoint"/>
    internal abstract void PreemptionPoint(Task task);

    /// <inheritdoc cref="Task.SpinOnce"/>
    internal abstract void SpinOnce(Task task);

    /// <summary>Instructions that the task may execute before it must come back to the kernel.</summary>
    internal abstract long Quantum(Task task, long most);

    /// <summary>The task has executed <paramref name="instructions"/> and comes to the kernel, for whatever reason.</summary>
    internal abstract void Executed(Task task, long instructions);

    /// <summary>Guest code was interrupted, or its quantum is over: the moment to switch.</summary>
    internal abstract void OnAttention(Task task);

    /// <summary>A task was put on a vCPU. Called with the lock held.</summary>
    /// <returns>The task, if its thread may go on; its gate is opened without the lock, which it would otherwise find held: the host often lets it run at once.</returns>
    private protected abstract Task? OnAssigned(Task task);

    /// <summary>The caller's thread has given its vCPU away and is about to park or to end.</summary>
    private protected abstract void AfterRelease();

    /// <summary>A task yielded, but no other one waits for its vCPU.</summary>
    private protected virtual void OnNobodyWaits(Task task)
    {
    }

    /// <summary>A task joined the run queue and found no vCPU. Called with the lock held.</summary>
    private protected abstract void OnQueued();

    /// <summary>Which idle vCPU a task gets: the one it ran on last, or else the first.</summary>
    private protected virtual int PickIdle(Task task)
    {
        SchedulingState s = task.Scheduling;
        if (s.Last >= 0 && _running[s.Last] is null && s.Affinity.Contains(s.Last))
            return s.Last;
        for (int i = 0; i < _running.Length; i++)
            if (_running[i] is null && s.Affinity.Contains(i))
                return i;
        return -1;
    }

    /// <returns>As <see cref="OnAssigned"/>.</returns>
    private Task? MakeRunnable(Task task)
    {
        task.Scheduling.State = RunState.Runnable;
        int vcpu = PickIdle(task);
        if (vcpu >= 0)
            return Assign(task, vcpu);
        _runQueue.AddLast(task);
        OnQueued();
        return null;
    }

    private Task? Assign(Task task, int vcpu)
    {
        SchedulingState s = task.Scheduling;
        _running[vcpu] = task;
        s.State = RunState.Running;
        s.Assigned = vcpu;
        s.SliceStart = Machine.Clock.MonotonicNs;
        s.NeedsReschedule = false;
        _switches++;
        return OnAssigned(task);
    }

    private void Vacate(int vcpu)
    {
        Task? first = null;
        lock (Lock)
        {
            _running[vcpu] = null;
            if (FirstFor(vcpu) is { } next)
            {
                _runQueue.Remove(next);
                first = Assign(next.Value, vcpu);
            }
        }
        first?.Host.Open();
    }

    private LinkedListNode<Task>? FirstFor(int vcpu)
    {
        for (LinkedListNode<Task>? n = _runQueue.First; n is not null; n = n.Next)
            if (n.Value.Scheduling.Affinity.Contains(vcpu))
                return n;
        return null;
    }

    private void GiveAway(Task task, int vacated)
    {
        Detach(task);
        Vacate(vacated);
        AfterRelease();
        task.Host.Wait();
        Attach(task);
    }

    private unsafe void Detach(Task task)
    {
        Vcpu vcpu = task.Vcpu!;
        Unsafe.CopyBlock(task.SavedRegisters, &vcpu.State->Registers, (uint)sizeof(VcpuRegisters));
        task.Vcpu = null;
        vcpu.Occupant = null;
        Machine.MemorySystem.Shootdown.EnterLazy(vcpu);
        vcpu.Leave();
    }

    private unsafe void Attach(Task task)
    {
        SchedulingState s = task.Scheduling;
        Vcpu vcpu = Machine.Platform.Vcpus[s.Assigned];
        s.Last = s.Assigned;
        vcpu.Enter();
        Unsafe.CopyBlock(&vcpu.State->Registers, task.SavedRegisters, (uint)sizeof(VcpuRegisters));
        task.Vcpu = vcpu;
        vcpu.Occupant = task;
        task.LoadMm();
        s.Times.Restart();
    }

    private void ThrowIfStopping()
    {
        if (_stopping)
            throw new TaskKilledException();
    }
}
