using System.Buffers.Binary;
using System.Globalization;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown.Policies;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using AddressSpace = Emulator.Kernel.Memory.Mm;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>
/// More sharers than vCPUs read and write stamped pages, come and go, while pages of the host are unmapped, punched, write-protected and moved, and their frames
/// are used by somebody who notices when another writes to them.
/// </summary>
public sealed class SharedFlushStressTests
{
    private const int Sharers = 7, Pages = 24, Steps = 20_000, Changes = 500;
    private const ulong StampKey = 0x5EED_0000_0000_0000, Poison = 0xDEAD_DEAD_DEAD_DEAD;

    /// <summary>EMULATOR_FLUSH_SEEDS: seeds for each policy.</summary>
    private static readonly ulong _seeds = ulong.TryParse(Environment.GetEnvironmentVariable("EMULATOR_FLUSH_SEEDS"), CultureInfo.InvariantCulture, out ulong seeds) ? seeds : 3;

    private static IEnumerable<TestCaseData> SoundRuns()
    {
        foreach (SharedFlushPolicy policy in SharedFlushPolicies.All.Where(static p => p.IsSound))
        {
            yield return new TestCaseData(new MachineOptions { Vcpus = 4, Seed = 1, FlushPolicy = policy.Name }).SetArgDisplayNames($"{policy.Name}, parallel");
            for (ulong seed = 1; seed <= _seeds; seed++)
                yield return new TestCaseData(new MachineOptions { Vcpus = 4, Seed = seed, Deterministic = true, FlushPolicy = policy.Name }).SetArgDisplayNames($"{policy.Name}, seed {seed}");
        }
    }

    [TestCaseSource(nameof(SoundRuns))]
    public void A_sound_policy_keeps_frames_apart(MachineOptions options)
    {
        (IReadOnlyList<string> wrong, IReadOnlyList<string> rules) = Play(options);
        Assert.That(rules, Is.Empty);
        Assert.That(wrong, Is.Empty);
    }

    private static IEnumerable<string> Broken() => SharedFlushPolicies.All.Where(static p => !p.IsSound).Select(static p => p.Name);

    [TestCaseSource(nameof(Broken))]
    public void The_checker_finds_a_broken_policy_within_three_seeds(string policy)
    {
        for (ulong seed = 1; seed <= 3; seed++)
        {
            if (Play(new MachineOptions { Vcpus = 4, Seed = seed, Deterministic = true, FlushPolicy = policy }).Rules.Count > 0)
                return;
        }
        Assert.Fail("three seeds, and nothing was reported");
    }

    private static (IReadOnlyList<string> Wrong, IReadOnlyList<string> Rules) Play(MachineOptions options)
    {
        using var machine = new Machine(options with { MemoryBytes = 64 << 20, LockDep = true, Check = true, Timeout = TimeSpan.FromSeconds(100) });
        var wrong = new List<string>();
        try
        {
            machine.Run(task => RunAll(machine, task, options, wrong));
        }
        catch (MachineStoppedException) when (machine.Violations.Count > 0)
        {
            // Found, and then whatever comes of it.
        }
        return (wrong, [.. machine.Violations.All.Select(static v => $"{v.Rule}: {v.Text}")]);
    }

    private static void RunAll(Machine machine, Task task, MachineOptions options, List<string> wrong)
    {
        AddressSpace host = AddressSpace.CreateHost(machine.MemorySystem, leaky: false)!;
        var region = new RegionFile(host.Sharing!);
        Map(task, host, 0, Pages);
        KernelThread changer = machine.Spawn(other => Change(machine, other, host, new Random((int)options.Seed), wrong));
        KernelThread[] sharers = [.. Enumerable.Range(0, Sharers).Select(i => machine.Spawn(other => Share(other, region, new Random((int)options.Seed * 100 + i), changer, wrong)))];
        foreach (KernelThread thread in (KernelThread[])[.. sharers, changer])
            thread.Join(task);
        if (SharedFlushPolicies.Find(options.FlushPolicy!)!.IsSound)
        {
            Assert.That(new MmChecker(machine.MemorySystem).Check(), Is.Empty);
            Assert.That(new TlbChecker(machine.MemorySystem, machine.Platform.Vcpus).Check(), Is.Empty);
        }
        host.Put(task);
        region.Put();
    }

    private static void Map(Task task, AddressSpace host, int first, int count) =>
        host.Mmap(task, SharedStand.Page(first), (ulong)count << 12, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, null, 0);

    /// <summary>A program that shares: what it reads of a page is nothing or that page's stamp.</summary>
    private static void Share(Task task, RegionFile region, Random random, KernelThread changer, List<string> wrong)
    {
        // Some see the region elsewhere, some twice.
        ulong[] places = random.Next(3) switch
        {
            0 => [SharedStand.Base + SharedStand.Unit],
            1 => [SharedStand.Base, SharedStand.Base + 2 * SharedStand.Unit],
            _ => [SharedStand.Base],
        };
        Attach(task, region, places);
        Span<byte> word = stackalloc byte[8];
        for (int step = 0; step < Steps && !changer.HasEnded && task.Machine.Violations.Count == 0; step++)
        {
            int page = random.Next(Pages);
            ulong address = places[random.Next(places.Length)] + ((ulong)page << 12) + (ulong)random.Next(512) * 8, stamp = StampKey + (ulong)page;
            if (random.Next(2) == 0)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(word, stamp);
                task.CopyToUser(address, word);
            }
            else if (task.CopyFromUser(address, word))
            {
                ulong read = BinaryPrimitives.ReadUInt64LittleEndian(word);
                if (read != 0 && read != stamp)
                    Note(wrong, $"{task} reads {read:x} in page {page}");
            }
            switch (random.Next(40))
            {
                case 0:
                    foreach (ulong place in places)
                        task.Mm.Munmap(task, place, SharedStand.Unit);
                    Attach(task, region, places);
                    break;
                case < 12:
                    task.Machine.Scheduler.Yield(task);
                    break;
                default:
                    task.PreemptionPoint();
                    break;
            }
        }
    }

    private static void Attach(Task task, RegionFile region, ulong[] places)
    {
        foreach (ulong place in places)
            task.Mm.Mmap(task, place, SharedStand.Unit, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, region, 0);
    }

    /// <summary>Changes the host, and takes up frames that became free.</summary>
    private static void Change(Machine machine, Task task, AddressSpace host, Random random, List<string> wrong)
    {
        var held = new List<Pfn>();
        // Once something is found the memory may be anybody's, page tables included.
        for (int i = 0; i < Changes && machine.Violations.Count == 0; i++)
        {
            int first = random.Next(Pages), count = Math.Min(random.Next(1, 5), Pages - first);
            ulong start = SharedStand.Page(first), length = (ulong)count << 12;
            switch (random.Next(6))
            {
                case 0:
                    host.Munmap(task, start, length);
                    TakeFrames(machine, held, count);
                    Map(task, host, first, count);
                    break;
                case 1:
                    // All of it, with its tables.
                    host.Munmap(task, SharedStand.Base, Pages << 12);
                    TakeFrames(machine, held, Pages);
                    Map(task, host, 0, Pages);
                    break;
                case 2:
                    host.Mprotect(task, start, length, PROT_READ);
                    task.PreemptionPoint();
                    host.Mprotect(task, start, length, PROT_READ | PROT_WRITE);
                    break;
                case 3:
                    machine.MemorySystem.Migration.Compact(task);
                    break;
                default:
                    host.Madvise(task, start, length, MADV_REMOVE);
                    TakeFrames(machine, held, count);
                    break;
            }
            task.PreemptionPoint();
            task.Machine.Scheduler.Yield(task);
            Release(machine, held, wrong);
        }
    }

    private static unsafe void TakeFrames(Machine machine, List<Pfn> held, int count)
    {
        for (int i = 0; i < count && machine.Pages.TryAllocate(PageFlags.Reserved, zero: false, out Pfn frame); i++)
        {
            new Span<ulong>(machine.Pages.Memory.Pointer(frame), 512).Fill(Poison);
            held.Add(frame);
        }
    }

    private static unsafe void Release(Machine machine, List<Pfn> held, List<string> wrong)
    {
        foreach (Pfn frame in held)
        {
            int at = new ReadOnlySpan<ulong>(machine.Pages.Memory.Pointer(frame), 512).IndexOfAnyExcept(Poison);
            if (at >= 0)
                Note(wrong, $"somebody wrote to frame {frame.Value:x}, which is not his any more");
            machine.Pages.Put(frame);
        }
        held.Clear();
    }

    private static void Note(List<string> wrong, string what)
    {
        lock (wrong)
            wrong.Add(what);
    }
}
