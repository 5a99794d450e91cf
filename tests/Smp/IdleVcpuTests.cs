using Emulator.Hardware.Memory;
using Emulator.Kernel;

namespace Emulator.Tests.Smp;

/// <summary>vCPUs without a task cost the host nothing: by counts, since processor time is also that of everybody else.</summary>
internal sealed class IdleVcpuTests
{
    private const long Nap = 100 * Clock.Millisecond;

    /// <summary>The event loop waits when its thread starts, when the timer is armed, and after it has fired.</summary>
    private const int MostWaits = 4;

    [Test]
    public void While_all_sixteen_are_idle_nothing_runs()
    {
        using var machine = new Machine(new MachineOptions { Vcpus = 16 });
        machine.Run(task =>
        {
            int threads = machine.HostThreads.Alive;
            long switches = machine.Scheduler.Switches, waits = machine.HostPoller.Waits;
            task.PrepareToSleep();
            task.Sleep(machine.Clock.MonotonicNs + Nap);
            using (Assert.EnterMultipleScope())
            {
                Assert.That(threads, Is.EqualTo(1), "host threads of a machine with one task");
                Assert.That(machine.HostThreads.Alive, Is.EqualTo(threads), "threads afterwards");
                Assert.That(machine.Scheduler.Switches - switches, Is.EqualTo(1), "vCPUs given to a task");
                Assert.That(machine.HostPoller.Waits - waits, Is.LessThanOrEqualTo(MostWaits), "turns of the event loop");
                Assert.That(machine.Platform.Total(Counter.IpisReceived) + machine.Platform.Total(Counter.IpisServedIdle), Is.Zero, "interrupts");
            }
        });
    }
}
