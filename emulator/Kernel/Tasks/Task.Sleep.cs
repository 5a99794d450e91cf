using Emulator.Kernel.Tasks.Scheduling;

namespace Emulator.Kernel.Tasks;

/// <summary>The task's dealings with the scheduler.</summary>
public sealed unsafe partial class Task
{
    private readonly HostThreadGate _host;

    internal HostThreadGate Host => _host;

    internal SchedulingState Scheduling { get; }

    /// <summary>Announces a sleep: a wake-up from now on ends the next <see cref="Sleep"/>.</summary>
    public void PrepareToSleep() => Machine.Scheduler.PrepareToSleep(this);

    /// <summary>Gives the vCPU away until <see cref="WakeUp"/> or the deadline; returns at once if woken since <see cref="PrepareToSleep"/>.</summary>
    /// <exception cref="TaskKilledException">The machine is being taken down.</exception>
    public void Sleep(long deadlineNs = Clock.Never) => Machine.Scheduler.Sleep(this, deadlineNs);

    /// <summary>Ends this task's sleep. Any thread may call it.</summary>
    public void WakeUp() => Machine.Scheduler.Wake(this);

    /// <summary>Goes to a vCPU and stays there (sched_setaffinity).</summary>
    public void MoveTo(int vcpu)
    {
        Machine.Scheduler.SetAffinity(this, CpuSet.Of(vcpu));
        Machine.Scheduler.Yield(this);
    }

    /// <summary>A place where a deterministic machine may switch to another task. Costs nothing on a parallel one.</summary>
    public void PreemptionPoint() => Machine.Scheduler.PreemptionPoint(this);

    /// <summary>One turn of a spin loop: serves interrupts that others wait for, and lets the deterministic machine run somebody else.</summary>
    public void SpinOnce() => Machine.Scheduler.SpinOnce(this);

    /// <summary>Waits until a host descriptor is ready, without a vCPU.</summary>
    /// <param name="hostFd">A descriptor of the host.</param>
    /// <param name="events">Host poll bits, POLLIN (1) or POLLOUT (4).</param>
    /// <param name="deadlineNs">On the monotonic clock.</param>
    public WaitResult BlockOnHost(int hostFd, short events, long deadlineNs = Clock.Never)
    {
        var queue = new WaitQueue();
        try
        {
            return queue.Wait(this, (Machine.HostPoller, hostFd, events, queue), static s => s.HostPoller.IsReadyOrArm(s.hostFd, s.events, s.queue),
                interruptible: true, deadlineNs);
        }
        finally
        {
            Machine.HostPoller.Disarm(queue);
        }
    }
}
