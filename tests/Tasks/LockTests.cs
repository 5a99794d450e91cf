using Emulator.Kernel;
using Emulator.Kernel.Tasks;
using KernelMutex = Emulator.Kernel.Tasks.Locks.Mutex;
using KernelSpinLock = Emulator.Kernel.Tasks.Locks.SpinLock;
using LockClass = Emulator.Kernel.Tasks.Locks.LockClass;
using RwSemaphore = Emulator.Kernel.Tasks.Locks.RwSemaphore;

namespace Emulator.Tests.Tasks;

/// <summary>Locks and the wait primitive, under both schedulers. Every <see cref="Task.PreemptionPoint"/> is a chance to go wrong.</summary>
public sealed class LockTests
{
    private const int Tasks = 6, Rounds = 300;

    public static IEnumerable<TestCaseData> Machines()
    {
        foreach (int vcpus in (int[])[1, 2, 4])
        {
            yield return new TestCaseData(new MachineOptions { Vcpus = vcpus }).SetArgDisplayNames($"parallel_{vcpus}");
            for (ulong seed = 1; seed <= 3; seed++)
                yield return new TestCaseData(new MachineOptions { Vcpus = vcpus, Deterministic = true, Seed = seed }).SetArgDisplayNames($"seed_{seed}_{vcpus}");
        }
    }

    [TestCaseSource(nameof(Machines))]
    public void A_mutex_admits_one_task_at_a_time(MachineOptions options)
    {
        using var tasks = new KernelTasks(options);
        var mutex = new KernelMutex(new LockClass("test"));
        int inside = 0, sum = 0;
        for (int i = 0; i < Tasks; i++)
        {
            tasks.Add(task =>
            {
                for (int round = 0; round < Rounds; round++)
                {
                    using (mutex.Enter(task))
                    {
                        Assert.That(++inside, Is.EqualTo(1));
                        task.PreemptionPoint();
                        sum++;
                        inside--;
                    }
                }
            });
        }
        tasks.Join();
        Assert.That(sum, Is.EqualTo(Tasks * Rounds));
        Assert.That(mutex.IsHeld, Is.False);
    }

    [TestCaseSource(nameof(Machines))]
    public void A_spin_lock_admits_one_task_at_a_time(MachineOptions options)
    {
        using var tasks = new KernelTasks(options);
        var spin = new KernelSpinLock(new LockClass("test"));
        int sum = 0;
        for (int i = 0; i < Tasks; i++)
        {
            tasks.Add(task =>
            {
                for (int round = 0; round < Rounds; round++)
                {
                    using (spin.Enter(task))
                    {
                        int before = sum;
                        task.PreemptionPoint();
                        sum = before + 1;
                    }
                }
            });
        }
        tasks.Join();
        Assert.That(sum, Is.EqualTo(Tasks * Rounds));
    }

    [TestCaseSource(nameof(Machines))]
    public void A_writer_is_alone_and_readers_are_not_kept_out_for_ever(MachineOptions options)
    {
        using var tasks = new KernelTasks(options);
        var semaphore = new RwSemaphore(new LockClass("test"));
        int readers = 0, writers = 0, reads = 0, writes = 0;
        for (int i = 0; i < Tasks; i++)
        {
            bool writes1 = i % 3 == 0;
            tasks.Add(task =>
            {
                for (int round = 0; round < Rounds; round++)
                {
                    if (writes1)
                    {
                        semaphore.LockWrite(task);
                        Assert.That((Interlocked.Increment(ref writers), Volatile.Read(ref readers)), Is.EqualTo((1, 0)));
                        task.PreemptionPoint();
                        writes++;
                        Interlocked.Decrement(ref writers);
                        semaphore.UnlockWrite();
                    }
                    else
                    {
                        using (semaphore.EnterRead(task))
                        {
                            Interlocked.Increment(ref readers);
                            Assert.That(Volatile.Read(ref writers), Is.Zero);
                            task.PreemptionPoint();
                            Interlocked.Increment(ref reads);
                            Interlocked.Decrement(ref readers);
                        }
                    }
                }
            });
        }
        tasks.Join();
        Assert.That((reads, writes), Is.EqualTo((Rounds * 4, Rounds * 2)));
        Assert.That(semaphore.IsHeld, Is.False);
    }

    [TestCaseSource(nameof(Machines))]
    public void No_wake_up_is_lost_between_two_tasks_that_hand_a_token_on(MachineOptions options)
    {
        using var tasks = new KernelTasks(options);
        var queue = new WaitQueue();
        int turn = 0;
        for (int i = 0; i < 3; i++)
        {
            int mine = i;
            tasks.Add(task =>
            {
                for (int round = 0; round < Rounds; round++)
                {
                    Assert.That(queue.Wait(task, () => Volatile.Read(ref turn) % 3 == mine), Is.EqualTo(WaitResult.Ok));
                    Volatile.Write(ref turn, turn + 1);
                    queue.WakeAll();
                }
            });
        }
        tasks.Join();
        Assert.That(turn, Is.EqualTo(3 * Rounds));
    }

    [TestCaseSource(nameof(Machines))]
    public void A_wait_ends_at_its_deadline_and_not_before(MachineOptions options)
    {
        using var tasks = new KernelTasks(options);
        tasks.Add(task =>
        {
            Clock clock = tasks.Machine.Clock;
            long deadline = clock.MonotonicNs + 5 * Clock.Millisecond;
            Assert.That(new WaitQueue().Wait(task, static () => false, interruptible: true, deadline), Is.EqualTo(WaitResult.TimedOut));
            Assert.That(clock.MonotonicNs, Is.GreaterThanOrEqualTo(deadline));
        });
        tasks.Join();
    }

    [TestCaseSource(nameof(Machines))]
    public void A_signal_ends_an_interruptible_wait(MachineOptions options)
    {
        using var tasks = new KernelTasks(options);
        var queue = new WaitQueue();
        Emulator.Kernel.Tasks.Task? sleeper = null;
        tasks.Add(task =>
        {
            Volatile.Write(ref sleeper, task);
            Assert.That(queue.Wait(task, static () => false), Is.EqualTo(WaitResult.Interrupted));
        });
        tasks.Add(task =>
        {
            while (Volatile.Read(ref sleeper) is null)
                task.SpinOnce();
            sleeper!.Send(new SignalInfo(Signal.SIGUSR1, SignalInfo.SI_USER));
        });
        tasks.Join();
    }
}
