using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Tasks;

/// <summary>Machines without a guest program.</summary>
public sealed class KernelThreadTests
{
    private static ulong Map(Task task, int pages) =>
        (ulong)task.Mm.Mmap(task, 0, (ulong)pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, null, 0);

    private static Machine Small(MachineOptions? options = null) => new((options ?? new MachineOptions()) with { MemoryBytes = 16 << 20, LockDep = true });

    [Test]
    public void What_the_code_throws_is_thrown_to_who_waits()
    {
        using Machine machine = Small();
        Assert.That(() => machine.Run(static _ => throw new FormatException("mine")), Throws.TypeOf<FormatException>().With.Message.EqualTo("mine"));
        machine.Run(task =>
        {
            KernelThread child = machine.Spawn(static _ => throw new FormatException("the child's"));
            Assert.That(() => child.Join(task), Throws.TypeOf<FormatException>());
        });
    }

    [Test]
    public void A_machine_runs_code_again_and_again_and_keeps_no_memory_of_it()
    {
        using Machine machine = Small();
        long before = 0;
        for (int i = 0; i < 50; i++)
        {
            machine.Run(task =>
            {
                ulong at = Map(task, 100);
                for (ulong page = 0; page < 100; page++)
                    Assert.That(task.TryWrite(at + (page << 12), page), Is.True);
            });
            if (i == 0)
                before = machine.Pages.UsedFrames;
        }
        Assert.That(machine.Pages.UsedFrames, Is.EqualTo(before));
        Assert.That(machine.Processes.TaskCount, Is.Zero);
        Assert.That(machine.Violations.All, Is.Empty);
    }

    [Test]
    public void A_fork_has_its_own_copy_and_a_spawn_may_share()
    {
        using Machine machine = Small(new MachineOptions { Vcpus = 3 });
        machine.Run(task =>
        {
            ulong at = Map(task, 1);
            task.TryWrite(at, 1);
            machine.Fork(task, child =>
            {
                Assert.That(child.TryRead(at, out int seen) ? seen : -1, Is.EqualTo(1));
                child.TryWrite(at, 2);
            }).Join(task);
            Assert.That(task.TryRead(at, out int mine) ? mine : -1, Is.EqualTo(1));
            machine.Spawn(other => other.TryWrite(at, 3), task.Mm).Join(task);
            Assert.That(task.TryRead(at, out mine) ? mine : -1, Is.EqualTo(3));
        });
    }

    [Test]
    public void A_memory_file_is_shared_by_all_who_map_it()
    {
        using Machine machine = Small();
        machine.Run(task =>
        {
            Emulator.Kernel.Files.OpenFile file = machine.CreateMemoryFile(task, 0x3000);
            ulong at = (ulong)task.Mm.Mmap(task, 0, 0x3000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
            machine.Spawn(other =>
            {
                ulong there = (ulong)other.Mm.Mmap(other, 0, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 2);
                other.TryWrite(there, 77);
            }).Join(task);
            Assert.That(task.TryRead(at + 0x2000, out int seen) ? seen : -1, Is.EqualTo(77));
            file.Put();
        });
    }

    [Test]
    public void Code_that_waits_for_ever_ends_as_a_deadlock_or_at_the_time_out()
    {
        static void Forever(Task task) => new WaitQueue().Wait(task, static () => false, interruptible: false);
        using (Machine machine = Small(new MachineOptions { Deterministic = true }))
            Assert.That(() => machine.Run(Forever), Throws.TypeOf<MachineStoppedException>().With.Property("Status").Property("Reason").EqualTo(ExitReason.Deadlock));
        using (Machine machine = Small(new MachineOptions { Timeout = TimeSpan.FromMilliseconds(100) }))
            Assert.That(() => machine.Run(Forever), Throws.TypeOf<MachineStoppedException>().With.Property("Status").Property("Reason").EqualTo(ExitReason.TimedOut));
    }

    [Test]
    public void The_same_seed_gives_the_same_order()
    {
        static List<int> Order(ulong seed)
        {
            using Machine machine = Small(new MachineOptions { Deterministic = true, Seed = seed, Vcpus = 2 });
            List<int> order = [];
            machine.Run(task =>
            {
                KernelThread[] threads = [.. Enumerable.Range(0, 4).Select(i => machine.Spawn(other =>
                {
                    for (int round = 0; round < 20; round++)
                    {
                        order.Add(i);
                        other.SpinOnce();
                    }
                }))];
                foreach (KernelThread thread in threads)
                    thread.Join(task);
            });
            return order;
        }

        List<int> first = Order(3);
        Assert.That(Order(3), Is.EqualTo(first));
        Assert.That(Order(4), Is.Not.EqualTo(first));
    }
}
