using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm.Properties;

/// <summary>
/// Threads of one process, each with a range, a part of a file and a model of its own, change memory at the same time, while pages of all move and
/// are reclaimed, children are forked and devices look on. Each thread checks what it sees; the whole is checked when all have ended.
/// </summary>
public sealed unsafe class MmParallelTests
{
    private const int Workers = 4, Steps = 250, Looks = 20_000;

    public static IEnumerable<TestCaseData> Machines()
    {
        for (int seed = 1; seed <= 4; seed++)
            yield return new TestCaseData(new MachineOptions { Vcpus = 4, Seed = (ulong)seed }).SetArgDisplayNames($"parallel_{seed}");
        for (int seed = 1; seed <= 6; seed++)
            yield return new TestCaseData(new MachineOptions { Vcpus = 4, Deterministic = true, Seed = (ulong)seed }).SetArgDisplayNames($"seed_{seed}");
    }

    [TestCaseSource(nameof(Machines))]
    public void Threads_see_their_own_changes_and_no_others(MachineOptions options)
    {
        using var machine = new Machine(options with
        {
            MemoryBytes = 96 << 20,
            SwapBytes = 32 << 20,
            LockDep = true,
            Check = true,
            Timeout = TimeSpan.FromSeconds(120),
        });
        long frames = 0, tables = 0;
        machine.Run(_ => (frames, tables) = (machine.Pages.UsedFrames, machine.Pages.TableFrames));
        machine.Run(task => RunWorkers(machine, task, (int)options.Seed));
        machine.Run(task =>
        {
            // Idle vCPUs keep the root table of the last address space they ran.
            foreach (Vcpu vcpu in machine.Platform.Vcpus.Where(v => v != task.Vcpu))
            {
                vcpu.Enter();
                machine.MemorySystem.Shootdown.SwitchToKernel(vcpu);
                vcpu.Leave();
            }
            Assert.That(machine.Pages.UsedFrames, Is.EqualTo(frames), "frames");
            Assert.That(machine.Pages.TableFrames, Is.EqualTo(tables), "tables");
            Assert.That(machine.MemorySystem.Swap.UsedSlots, Is.Zero, "swap slots");
            Assert.That(machine.MemorySystem.AnonVmas.Count, Is.Zero, "anon_vmas");
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    private static void RunWorkers(Machine machine, Task task, int seed)
    {
        OpenFile file = machine.CreateMemoryFile(task, Workers * MmWorker.FilePages << Pfn.Shift);
        var walker = new SharedWalker();
        Assert.That(walker.Register(task, task.Mm), Is.Zero);
        MmWorker[] workers = [.. Enumerable.Range(0, Workers).Select(i => new MmWorker(machine, i, file, new Random(seed * 1000 + i)))];
        foreach (MmWorker worker in workers)
            worker.Attach(task);
        KernelThread[] threads = [.. workers.Select(worker => machine.Spawn(other => worker.Run(other, Steps), task.Mm))];
        KernelThread mover = machine.Spawn(other =>
        {
            for (int i = 0; i < 20; i++)
            {
                machine.MemorySystem.Migration.Compact(other);
                other.PreemptionPoint();
            }
        });
        var random = new Random(seed);
        for (int i = 0; i < Looks && !threads.All(static t => t.HasEnded); i++)
        {
            walker.Look(task.Mm, MmWorker.AddressOf(random.Next(Workers), random.Next(MmWorker.Pages)));
            task.SpinOnce();
        }
        foreach (KernelThread thread in (KernelThread[])[.. threads, mover])
            thread.Join(task);

        foreach (MmWorker worker in workers)
            worker.CheckAll(task);
        walker.Check(task.Mm);
        Assert.That(new MmChecker(machine.MemorySystem).Check(), Is.Empty);
        Assert.That(new TlbChecker(machine.MemorySystem, machine.Platform.Vcpus).Check(), Is.Empty);
        foreach (MmWorker worker in workers)
            worker.Detach(task);
        walker.Unregister(task);
        file.Put();
    }

    /// <summary>A device that walks the tables beside everybody else.</summary>
    private sealed class SharedWalker : MmuNotifier
    {
        private readonly Lock _lock = new();
        private readonly Dictionary<ulong, Pfn> _tlb = [];

        public override MmuNotifierOps Ops => MmuNotifierOps.ArchInvalidateSecondaryTlbs;

        public override void ArchInvalidateSecondaryTlbs(Task? task, Kernel.Memory.Mm mm, ulong start, ulong end)
        {
            lock (_lock)
            {
                foreach (ulong page in _tlb.Keys)
                {
                    if (page >= start && page < end)
                        _tlb.Remove(page);
                }
            }
        }

        public void Look(Kernel.Memory.Mm mm, ulong address)
        {
            lock (_lock)
            {
                if (mm.TryWalk(address, write: false, out Pfn frame))
                    _tlb[address] = frame;
            }
        }

        public void Check(Kernel.Memory.Mm mm)
        {
            foreach ((ulong address, Pfn cached) in _tlb)
            {
                Assert.That(mm.TryWalk(address, write: false, out Pfn frame), Is.True, $"{address:x} is in a walker's TLB and not mapped");
                Assert.That(frame, Is.EqualTo(cached), $"{address:x}");
            }
        }
    }
}
