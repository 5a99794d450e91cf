using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;
using KernelMutex = Emulator.Kernel.Tasks.Locks.Mutex;
using KernelSpinLock = Emulator.Kernel.Tasks.Locks.SpinLock;
using KernelTask = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Tasks;

/// <summary>Each rule about locks, kept and broken: the broken ones must be found though nothing ever waits, the kept ones must not be.</summary>
public sealed class LockDepTests
{
    private static readonly LockClass A = new("a"), B = new("b"), C = new("c");

    private static IReadOnlyList<Violation> Run(params Action<KernelTask>[] bodies)
    {
        using var tasks = new KernelTasks(new MachineOptions { Vcpus = 2, Deterministic = true });
        foreach (Action<KernelTask> body in bodies)
            tasks.Add(body);
        tasks.Join(clean: false);
        return tasks.Machine.Violations.All;
    }

    private static string Rules(IReadOnlyList<Violation> violations) => string.Join(", ", violations.Select(v => v.Rule));

    [Test]
    public void One_order_is_right_however_often()
    {
        KernelMutex a = new(A), b = new(B), c = new(C);
        void InOrder(KernelTask task)
        {
            for (int i = 0; i < 10; i++)
            {
                using (a.Enter(task))
                using (b.Enter(task))
                using (c.Enter(task))
                    task.PreemptionPoint();
                using (a.Enter(task))
                using (c.Enter(task))
                    task.PreemptionPoint();
            }
        }
        Assert.That(Run(InOrder, InOrder), Is.Empty);
    }

    /// <summary>A reverse-map walk takes i_mmap_rwsem with the page locked, so nobody waits for a page under that; trying is no waiting.</summary>
    [TestCase(false, "lock order inversion")]
    [TestCase(true, "")]
    public void Pages_are_locked_before_what_leads_to_their_mappings(bool tries, string rule)
    {
        IReadOnlyList<Violation> found = Run(task =>
        {
            MemorySystem system = task.Machine.MemorySystem;
            PageLocks locks = system.PageLocks;
            var rmap = new RwSemaphore(LockClass.MappingsLock);
            Assert.That(system.Pages.TryAllocate(PageFlags.None, zero: false, out Pfn page));
            locks.Lock(task, page);
            using (rmap.EnterRead(task))
                task.PreemptionPoint();
            locks.Unlock(page);
            using (rmap.EnterWrite(task))
            {
                if (tries)
                    Assert.That(locks.TryLock(page));
                else
                    locks.Lock(task, page);
                locks.Unlock(page);
            }
            system.Pages.Put(page);
        });
        Assert.That(Rules(found), Is.EqualTo(rule));
    }

    /// <summary>Reclaim takes i_mmap_rwsem; whoever allocates while holding it might wait for itself. Memory need not be short for that to be found.</summary>
    [Test]
    public void Nobody_allocates_under_a_lock_that_reclaim_takes()
    {
        IReadOnlyList<Violation> found = Run(task =>
        {
            MemorySystem system = task.Machine.MemorySystem;
            var rmap = new RwSemaphore(LockClass.MappingsLock);
            using (system.ReclaimMap.Enter(task))
            using (rmap.EnterRead(task))
                task.PreemptionPoint();
            using (rmap.EnterWrite(task))
            {
                Assert.That(system.Pages.TryAllocate(task, PageFlags.None, zero: false, out Pfn page));
                system.Pages.Put(page);
            }
        });
        Assert.That(Rules(found), Is.EqualTo("lock order inversion"));
        Assert.That(found[0].Text, Does.Contain("fs_reclaim").And.Contain("i_mmap_lock"));
    }

    [Test]
    public void Two_orders_are_reported_though_nobody_ever_waits()
    {
        KernelMutex a = new(A), b = new(B);
        IReadOnlyList<Violation> found = Run(task =>
        {
            using (a.Enter(task, where: "here"))
            using (b.Enter(task, where: "there"))
                task.PreemptionPoint();
            using (task.Operation("munmap", 0x1000, 0x2000))
            using (b.Enter(task, where: "behind"))
            using (a.Enter(task, where: "before"))
                task.PreemptionPoint();
        });
        Assert.That(Rules(found), Is.EqualTo("lock order inversion"));
        Assert.That(found[0].Text, Does.Contain("b -> a: first in behind, then in before, by ").And.Contain("in munmap 1000-2000")
            .And.Contain("a -> b: first in here, then in there, by "));
    }

    [Test]
    public void The_order_is_that_of_classes_not_of_locks()
    {
        KernelMutex a1 = new(A), a2 = new(A), b1 = new(B), b2 = new(B);
        Assert.That(Rules(Run(task =>
        {
            using (a1.Enter(task))
            using (b1.Enter(task))
                task.PreemptionPoint();
            using (b2.Enter(task))
            using (a2.Enter(task))
                task.PreemptionPoint();
        })), Is.EqualTo("lock order inversion"));
    }

    [Test]
    public void A_circle_of_three_names_all_its_steps()
    {
        KernelMutex a = new(A), b = new(B), c = new(C);
        IReadOnlyList<Violation> found = Run(task =>
        {
            foreach ((KernelMutex outer, KernelMutex inner) in ((KernelMutex, KernelMutex)[])[(a, b), (b, c), (c, a)])
            {
                using (outer.Enter(task))
                using (inner.Enter(task))
                    task.PreemptionPoint();
            }
        });
        Assert.That(Rules(found), Is.EqualTo("lock order inversion"));
        Assert.That(found[0].Text, Does.Contain("c -> a").And.Contain("a -> b").And.Contain("b -> c"));
    }

    [Test]
    public void Spin_locks_and_semaphores_take_part()
    {
        var semaphore = new RwSemaphore(A);
        var spin = new KernelSpinLock(B);
        IReadOnlyList<Violation> found = Run(task =>
        {
            using (semaphore.EnterRead(task))
            using (spin.Enter(task))
                task.PreemptionPoint();
            using (spin.Enter(task))
            using (semaphore.EnterWrite(task))
                task.PreemptionPoint();
        });
        Assert.That(Rules(found), Is.EqualTo($"{NotifierRules.MustNotSleep}, lock order inversion"), "a semaphore sleeps, also when nobody has it");
    }

    [Test]
    public void Readers_close_circles_because_a_waiting_writer_keeps_them_out()
    {
        RwSemaphore a = new(A), b = new(B);
        Assert.That(Rules(Run(task =>
        {
            using (a.EnterRead(task))
            using (b.EnterRead(task))
                task.PreemptionPoint();
            using (b.EnterRead(task))
            using (a.EnterRead(task))
                task.PreemptionPoint();
        })), Is.EqualTo("lock order inversion"));
    }

    [TestCase(LockMode.Recursive, LockMode.Recursive, false)]
    [TestCase(LockMode.Recursive, LockMode.Exclusive, true)]
    public void Recursive_readers_wait_for_writers_only(LockMode first, LockMode second, bool reported)
    {
        object srcu = new(), mutex = new();
        IReadOnlyList<Violation> found = Run(task =>
        {
            LockDep lockDep = task.Machine.LockDep!;
            void Take(object what, LockClass lockClass, LockMode mode) => lockDep.Acquire(task, what, lockClass, LockKind.Section, mode, 0, "test");
            Take(srcu, A, first);
            Take(mutex, B, LockMode.Exclusive);
            lockDep.Release(mutex);
            lockDep.Release(srcu);
            Take(mutex, B, LockMode.Exclusive);
            Take(srcu, A, second);
            lockDep.Release(srcu);
            lockDep.Release(mutex);
        });
        Assert.That(Rules(found), Is.EqualTo(reported ? "lock order inversion" : ""));
    }

    [Test]
    public void A_mutex_around_a_grace_period_and_inside_a_read_section_is_a_deadlock()
    {
        var srcu = new Srcu();
        var mutex = new KernelMutex(A);
        IReadOnlyList<Violation> found = Run(task =>
        {
            int slot = srcu.Enter(task);
            using (mutex.Enter(task))
                task.PreemptionPoint();
            srcu.Exit(slot);
            using (mutex.Enter(task))
                srcu.Synchronize(task);
        });
        Assert.That(Rules(found), Is.EqualTo("lock order inversion"));
        Assert.That(found[0].Text, Does.Contain("a -> srcu").And.Contain("srcu (read) -> a"));
    }

    [Test]
    public void A_read_section_may_sleep_and_be_entered_under_a_spin_lock()
    {
        var srcu = new Srcu();
        var spin = new KernelSpinLock(A);
        var mutex = new KernelMutex(B);
        Assert.That(Run(task =>
        {
            using (spin.Enter(task))
                srcu.Exit(srcu.Enter(task));
            int slot = srcu.Enter(task);
            using (mutex.Enter(task))
                task.PreemptionPoint();
            srcu.Exit(slot);
        }), Is.Empty);
    }

    [Test]
    public void Two_locks_of_a_class_need_a_subclass([Values] bool nested)
    {
        KernelMutex outer = new(A), inner = new(A);
        Assert.That(Rules(Run(task =>
        {
            using (outer.Enter(task))
            using (inner.Enter(task, nested ? LockClass.Nested : 0))
                task.PreemptionPoint();
        })), Is.EqualTo(nested ? "" : "possible recursive locking"));
    }

    [Test]
    public void Subclasses_too_have_one_order()
    {
        KernelMutex one = new(A), two = new(A);
        Assert.That(Rules(Run(task =>
        {
            using (one.Enter(task))
            using (two.Enter(task, LockClass.Nested))
                task.PreemptionPoint();
            using (two.Enter(task, LockClass.Nested))
            using (one.Enter(task))
                task.PreemptionPoint();
        })), Is.EqualTo("lock order inversion"));
    }

    [Test]
    public void Trying_a_lock_makes_no_order()
    {
        KernelMutex a = new(A), b = new(B);
        Assert.That(Run(task =>
        {
            using (a.Enter(task))
            using (b.Enter(task))
                task.PreemptionPoint();
            b.Lock(task);
            Assert.That(a.TryLock(task));
            a.Unlock();
            b.Unlock();
        }), Is.Empty);
    }

    [Test]
    public void Sleeping_with_a_spin_lock_held_is_reported([Values] bool holding)
    {
        var spin = new KernelSpinLock(A);
        var queue = new Kernel.Tasks.WaitQueue();
        IReadOnlyList<Violation> found = Run(task =>
        {
            if (holding)
                spin.Lock(task);
            queue.Wait(task, static () => true);
            if (holding)
                spin.Unlock();
        });
        Assert.That(Rules(found), Is.EqualTo(holding ? NotifierRules.MustNotSleep : ""));
        if (holding)
            Assert.That(found[0].Text, Does.Contain("while holding the spin lock a taken in"));
    }

    [Test]
    public void Sleeping_where_the_caller_promised_not_to_block_is_reported()
    {
        var mutex = new KernelMutex(A);
        var spin = new KernelSpinLock(B);
        IReadOnlyList<Violation> found = Run(task =>
        {
            task.NonBlockStart();
            using (spin.Enter(task))
                task.PreemptionPoint();
            using (mutex.Enter(task))
                task.PreemptionPoint();
            task.NonBlockEnd();
            using (mutex.Enter(task))
                task.PreemptionPoint();
        });
        Assert.That(Rules(found), Is.EqualTo(NotifierRules.MustNotSleep), "the mutex, not the spin lock, and only inside the section");
    }

    [Test]
    public void A_lock_held_at_the_end_is_reported()
    {
        var mutex = new KernelMutex(A);
        IReadOnlyList<Violation> found = Run(task =>
        {
            mutex.Lock(task);
            task.Machine.LockDep!.AssertNothingHeld(task, "a system call");
        });
        Assert.That(Rules(found), Is.EqualTo("lock held at exit"));
        Assert.That(found[0].Text, Does.StartWith("a system call ends while holding a taken in "));
    }

    [Test]
    public void Another_task_s_locks_are_its_own()
    {
        KernelMutex a = new(A), b = new(B);
        Assert.That(Run(
            task =>
            {
                using (a.Enter(task))
                {
                    for (int i = 0; i < 5; i++)
                        task.PreemptionPoint();
                }
            },
            task =>
            {
                using (b.Enter(task))
                {
                    for (int i = 0; i < 5; i++)
                        task.PreemptionPoint();
                }
            }), Is.Empty);
    }

    [Test]
    public void A_downgraded_writer_is_a_reader()
    {
        var semaphore = new RwSemaphore(A);
        Assert.That(Run(task =>
        {
            semaphore.LockWrite(task);
            semaphore.Downgrade();
            semaphore.UnlockRead();
            task.Machine.LockDep!.AssertNothingHeld(task, "the test");
        }), Is.Empty);
    }

    /// <summary>Found by fuzzing: the wait had been entered as a lock held.</summary>
    [Test]
    public void A_lock_that_a_stopped_machine_was_waiting_for_is_not_held()
    {
        KernelMutex awaited = new(new LockClass("awaited")), other = new(new LockClass("other"));
        bool left = false;
        var machine = new Machine(new MachineOptions { Vcpus = 2, MemoryBytes = 16 << 20, Deterministic = true, LockDep = true });
        using (machine)
        {
            Assert.That(() => machine.Run(task =>
            {
                using (other.Enter(task))
                    awaited.Lock(task);
                machine.Spawn(waiter =>
                {
                    try
                    {
                        awaited.Lock(waiter);
                    }
                    finally
                    {
                        using (other.Enter(waiter))
                            left = true;
                    }
                });
                for (int i = 0; i < 100; i++)
                    machine.Scheduler.Yield(task);
                machine.StopFor(ExitReason.Stopped);
                task.PrepareToSleep();
                task.Sleep();
            }), Throws.InstanceOf<MachineStoppedException>());
        }
        Assert.That(left, Is.True);
        Assert.That(machine.Violations.All, Is.Empty);
    }
}
