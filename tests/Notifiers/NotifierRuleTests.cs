using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;
using static Emulator.Kernel.Memory.MmanAbi;
using KernelMutex = Emulator.Kernel.Tasks.Locks.Mutex;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Notifiers;

/// <summary>Each rule broken on purpose: it is reported, with the rule's text and what the task was doing.</summary>
public sealed class NotifierRuleTests
{
    private static readonly LockClass DeviceLock = new("device_lock");

    /// <summary>Runs code that breaks one rule; what else it breaks may be reported, too.</summary>
    private static Violation Break(string rule, Action<Task> body, MachineOptions? options = null, bool stops = false)
    {
        using var machine = new Machine((options ?? new MachineOptions()) with { MemoryBytes = 64 << 20, Timeout = TimeSpan.FromSeconds(60) });
        if (stops)
            Assert.That(() => machine.Run(body), Throws.TypeOf<MachineStoppedException>().With.Message.Contains(nameof(ExitReason.Deadlock)));
        else
            machine.Run(body);
        IReadOnlyList<Violation> all = machine.Violations.Take();
        Assert.That(all.Select(static v => v.Rule), Does.Contain(rule));
        return all.First(v => v.Rule == rule);
    }

    private static ulong Map(Task task)
    {
        ulong at = (ulong)task.Mm.Mmap(task, 0, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, null, 0);
        Assert.That(task.TryWrite(at, 1), Is.True);
        return at;
    }

    private static void Munmap(Task task, ulong at) => Assert.That(task.Mm.Munmap(task, at, 0x1000), Is.Zero);

    [Test]
    public void A_callback_that_announces_a_change_of_its_own_is_a_circle_to_lockdep()
    {
        Violation v = Break("recursive locking", static task =>
        {
            ulong at = Map(task), other = Map(task);
            var probe = new IntervalProbe
            {
                On = (caller, _, _) =>
                {
                    var range = new MmuNotifierRange(task.Mm, other, other + 0x1000, MmuNotifyEvent.Clear);
                    task.Mm.InvalidateRangeStart(caller, range);
                    task.Mm.InvalidateRangeEnd(caller, range);
                    return true;
                },
            };
            Assert.That(probe.Insert(task, task.Mm, at, 0x1000), Is.Zero);
            Munmap(task, at);
            probe.Remove(task);
        }, new MachineOptions { LockDep = true });
        Assert.That(v.Text, Does.Contain("mmu_notifier_invalidate_range_start"));
    }

    [Test]
    public void A_notifier_of_both_kinds_is_refused()
    {
        Violation v = Break(NotifierRules.OneKind, static task =>
        {
            var both = new Probe { Start = static (_, _) => 0, Flush = static (_, _, _) => { } };
            Assert.That(both.Register(task, task.Mm), Is.EqualTo(-Errno.EINVAL));
            Assert.That(both.Mm, Is.Null);
        });
        Assert.That(v.Text, Does.Contain("InvalidateRangeStart"));
    }

    [Test]
    public void Linux_6_1_allowed_both_kinds_in_one_and_called_the_second_at_each_end_too()
    {
        using var machine = new Machine(new MachineOptions { Profile = KernelProfile.V6_1 });
        machine.Run(static task =>
        {
            List<string> events = [];
            var both = new Probe
            {
                Start = (_, _) =>
                {
                    events.Add("start");
                    return 0;
                },
                Flush = (_, _, _) => events.Add("range"),
                End = (_, _) => events.Add("end"),
            };
            Assert.That(both.Register(task, task.Mm), Is.Zero);
            Munmap(task, Map(task));
            both.Unregister(task);
            Assert.That(events, Is.EqualTo((string[])["start", "range", "end", "range"]));
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    [Test]
    public void An_address_space_without_users_takes_no_notifier() => Break(NotifierRules.UsersWhileRegistering, static task =>
    {
        var mm = Kernel.Memory.Mm.Create(task.Machine.MemorySystem)!;
        mm.Put(task);
        Assert.That(new Probe().Register(task, mm), Is.EqualTo(-Errno.EINVAL));
        Assert.That(new IntervalProbe().Insert(task, mm, 0, 0x1000), Is.EqualTo(-Errno.EINVAL));
    });

    [Test]
    public void A_notifier_is_registered_once() => Break(NotifierRules.RegisterOnce, static task =>
    {
        var probe = new Probe();
        Assert.That(probe.Register(task, task.Mm), Is.Zero);
        Assert.That(probe.Register(task, task.Mm), Is.EqualTo(-Errno.EINVAL));
        probe.Unregister(task);
    });

    [Test]
    public void A_change_that_is_announced_and_not_ended_is_found_when_its_operation_ends()
    {
        Violation v = Break(NotifierRules.EndFollowsStart, static task =>
        {
            using (task.Operation("outer"))
            using (task.Operation("careless", 0x1000, 0x2000))
                task.Mm.InvalidateRangeStart(task, new MmuNotifierRange(task.Mm, 0x1000, 0x2000, MmuNotifyEvent.Clear));
        });
        Assert.That(v.Operations, Is.EqualTo((string[])["outer", "careless 1000-2000"]));
        Assert.That(v.ToString(), Does.Contain(NotifierRules.EndFollowsStart).And.Contain("outer > careless"));
    }

    [Test]
    public void A_change_that_ends_without_a_beginning_is_reported() => Break(NotifierRules.EndFollowsStart, static task =>
        task.Mm.InvalidateRangeEnd(task, new MmuNotifierRange(task.Mm, 0x1000, 0x2000, MmuNotifyEvent.Clear)));

    [Test]
    public void Start_may_not_refuse_what_may_block()
    {
        Violation v = Break(NotifierRules.StartMayFailOnlyNonBlockable, static task =>
        {
            var probe = new Probe { Start = static (_, _) => -Errno.EAGAIN };
            probe.Register(task, task.Mm);
            Munmap(task, Map(task)); // Goes on all the same.
            probe.Unregister(task);
        });
        Assert.That(v.Operations, Has.Some.StartsWith("munmap"));
    }

    [Test]
    public void A_notifier_whose_start_may_fail_has_no_end() => Break(NotifierRules.FailingStartHasNoEnd, static task =>
    {
        var probe = new Probe { Start = static (_, r) => r.Blockable ? 0 : -Errno.EAGAIN, End = static (_, _) => { } };
        probe.Register(task, task.Mm);
        var range = new MmuNotifierRange(task.Mm, 0x1000, 0x2000, MmuNotifyEvent.Unmap, Blockable: false);
        Assert.That(task.Mm.InvalidateRangeStart(task, range), Is.EqualTo(-Errno.EAGAIN));
        probe.Unregister(task);
    });

    [Test]
    public void An_interval_notifier_may_not_refuse_what_may_block() => Break(NotifierRules.IntervalMayFailOnlyNonBlockable, static task =>
    {
        ulong at = Map(task);
        var probe = new IntervalProbe { On = static (_, _, _) => false };
        probe.Insert(task, task.Mm, at, 0x1000);
        Munmap(task, at);
        probe.Remove(task);
    });

    [Test]
    public void A_callback_that_does_not_set_the_sequence_is_reported() => Break(NotifierRules.SequenceIsSet, static task =>
    {
        ulong at = Map(task);
        var probe = new IntervalProbe { On = static (_, _, _) => true };
        probe.Insert(task, task.Mm, at, 0x1000);
        Munmap(task, at);
        probe.Remove(task);
    });

    [Test]
    public void A_callback_that_sets_another_sequence_is_reported() => Break(NotifierRules.SequenceIsOdd, static task =>
    {
        ulong at = Map(task);
        IntervalProbe? probe = null;
        probe = new IntervalProbe
        {
            On = (_, _, sequence) =>
            {
                probe!.SetSequence(sequence + 1);
                return true;
            },
        };
        probe.Insert(task, task.Mm, at, 0x1000);
        Munmap(task, at);
        probe.Remove(task);
    });

    [TestCase(false)]
    [TestCase(true)]
    public void Read_begin_inside_the_callback_is_reported_and_after_set_seq_it_waits_for_itself(bool afterSet)
    {
        Violation v = Break(NotifierRules.NoReadBeginInCallback, task =>
        {
            ulong at = Map(task);
            IntervalProbe? probe = null;
            probe = new IntervalProbe
            {
                On = (current, _, sequence) =>
                {
                    if (afterSet)
                        probe!.SetSequence(sequence);
                    probe!.ReadBegin(current);
                    probe.SetSequence(sequence);
                    return true;
                },
            };
            probe.Insert(task, task.Mm, at, 0x1000);
            Munmap(task, at);
            probe.Remove(task);
        }, stops: afterSet);
        Assert.That(v.Operations, Has.Some.StartsWith("munmap").And.Some.StartsWith("mmu_interval invalidate"));
    }

    [Test]
    public void Removing_an_interval_notifier_inside_its_callback_waits_for_itself() => Break(NotifierRules.NoRemoveInCallback, static task =>
    {
        ulong at = Map(task);
        IntervalProbe? probe = null;
        probe = new IntervalProbe
        {
            On = (current, _, sequence) =>
            {
                probe!.SetSequence(sequence);
                probe.Remove(current);
                return true;
            },
        };
        probe.Insert(task, task.Mm, at, 0x1000);
        Munmap(task, at);
    }, stops: true);

    [Test]
    public void Unregistering_inside_a_callback_waits_for_itself() => Break(NotifierRules.NoRemoveInCallback, static task =>
    {
        Probe? probe = null;
        probe = new Probe { End = (current, _) => probe!.Unregister(current) };
        probe.Register(task, task.Mm);
        Munmap(task, Map(task));
    }, stops: true);

    [Test]
    public void Registering_inside_a_callback_waits_for_the_lock_it_runs_under() => Break(NotifierRules.NoRegisterInCallback, static task =>
    {
        var probe = new Probe { End = static (current, range) => new Probe().Register(current, range.Mm) };
        probe.Register(task, task.Mm);
        Munmap(task, Map(task));
    }, stops: true);

    [Test]
    public void Registration_with_the_lock_held_wants_the_lock_held() => Break(NotifierRules.RegisterUnderMmapLock, static task =>
    {
        var probe = new Probe();
        Assert.That(probe.RegisterLocked(task, task.Mm), Is.Zero);
        probe.Unregister(task);
    });

    [Test]
    public void The_arch_callback_must_not_sleep()
    {
        Violation v = Break(NotifierRules.MustNotSleep, static task =>
        {
            var probe = new Probe { Flush = static (current, _, _) => current!.MightSleep("a device's mailbox") };
            probe.Register(task, task.Mm);
            Munmap(task, Map(task));
            probe.Unregister(task);
        });
        Assert.That(v.Text, Does.Contain("a device's mailbox"));
        Assert.That(v.Operations, Has.Some.StartsWith("arch_invalidate_secondary_tlbs"));
    }

    [Test]
    public void The_watcher_over_locks_sees_a_mutex_taken_in_the_arch_callback()
    {
        using var machine = new Machine(new MachineOptions { LockDep = true });
        machine.Run(static task =>
        {
            var mutex = new KernelMutex(DeviceLock);
            var probe = new Probe
            {
                Flush = (current, _, _) =>
                {
                    using (mutex.Enter(current!))
                    {
                    }
                },
            };
            probe.Register(task, task.Mm);
            Munmap(task, Map(task));
            probe.Unregister(task);
        });
        Assert.That(machine.Violations.Take().Select(static v => v.Text), Has.Some.Contains("device_lock"));
    }

    [Test]
    public void A_callback_of_a_range_that_is_not_blockable_must_not_sleep() => Break(NotifierRules.MustNotSleep, static task =>
    {
        var probe = new Probe
        {
            Start = static (current, _) =>
            {
                current!.MightSleep("a mutex");
                return 0;
            },
        };
        probe.Register(task, task.Mm);
        var range = new MmuNotifierRange(task.Mm, 0x1000, 0x2000, MmuNotifyEvent.Unmap, Blockable: false);
        Assert.That(task.Mm.InvalidateRangeStart(task, range), Is.Zero);
        task.Mm.InvalidateRangeEnd(task, range);
        probe.Unregister(task);
    });

    [Test]
    public void A_change_is_not_announced_under_a_page_table_lock()
    {
        using var machine = new Machine(new MachineOptions { LockDep = true });
        machine.Run(static task =>
        {
            var range = new MmuNotifierRange(task.Mm, 0x1000, 0x2000, MmuNotifyEvent.Clear);
            using (task.Mm.PageTableLock.Enter(task))
                task.Mm.InvalidateRangeStart(task, range);
            task.Mm.InvalidateRangeEnd(task, range);
        });
        Assert.That(machine.Violations.Take().Select(static v => v.Text), Has.Some.Contains("page_table_lock"));
    }

    [Test]
    public void Every_rule_is_broken_by_some_test()
    {
        string tests = string.Concat(Directory.EnumerateFiles(Path.Combine(Guests.GuestPrograms.Root, "tests", "Notifiers"), "*.cs").Select(File.ReadAllText));
        foreach (System.Reflection.FieldInfo rule in typeof(NotifierRules).GetFields())
            Assert.That(tests, Does.Contain($"{nameof(NotifierRules)}.{rule.Name}"));
    }

    [Test]
    public void Hmm_range_fault_wants_the_mmap_lock() => Break(NotifierRules.MmapLockHeld, static task =>
    {
        ulong at = Map(task);
        Assert.That(Hmm.RangeFault(task, new HmmRange(task.Mm, at, at + 0x1000, new ulong[1])), Is.Zero);
    });

    [Test]
    public void A_device_lock_under_which_memory_is_allocated_and_which_a_callback_takes_closes_a_circle()
    {
        using var machine = new Machine(new MachineOptions { LockDep = true });
        machine.Run(static task =>
        {
            var mutex = new KernelMutex(DeviceLock);
            var probe = new Probe
            {
                Start = (current, _) =>
                {
                    using (mutex.Enter(current!))
                        return 0;
                },
            };
            probe.Register(task, task.Mm);
            Munmap(task, Map(task));
            using (mutex.Enter(task))
            using (task.Machine.MemorySystem.ReclaimMap.Enter(task))
            {
            }
            probe.Unregister(task);
        });
        Assert.That(machine.Violations.Take().Select(static v => $"{v.Rule}: {v.Text}"), Has.Some.StartsWith("lock order inversion").And.Some.Contains("fs_reclaim"));
    }

    [Test]
    public void A_well_behaved_notifier_breaks_nothing()
    {
        using var machine = new Machine(new MachineOptions { LockDep = true });
        machine.Run(static task =>
        {
            ulong at = Map(task);
            var shadow = new Probe { Start = static (_, _) => 0, End = static (_, _) => { }, Released = static (_, _) => { } };
            var interval = new IntervalProbe();
            Assert.That(shadow.Register(task, task.Mm), Is.Zero);
            Assert.That(interval.Insert(task, task.Mm, at, 0x2000), Is.Zero);
            Munmap(task, at);
            interval.Remove(task);
            shadow.Unregister(task);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }
}
