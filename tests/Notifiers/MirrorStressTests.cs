using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using KernelMutex = Emulator.Kernel.Tasks.Locks.Mutex;
using LockClass = Emulator.Kernel.Tasks.Locks.LockClass;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Notifiers;

/// <summary>Devices of both kinds beside tasks that change the address space in every way: what a device uses is what the tables say, always.</summary>
public sealed class MirrorStressTests
{
    private const ulong Base = 0x2000_0000;
    private const int Pages = 64;
    private static readonly LockClass MirrorLock = new("mirror_lock");

    /// <summary>A shadow: its own table, filled by the canonical loop of Documentation/mm/hmm.rst.</summary>
    private sealed class Mirror : MmuIntervalNotifier
    {
        private readonly KernelMutex _lock = new(MirrorLock);
        private readonly Pfn?[] _table = new Pfn?[Pages];
        private readonly ulong[] _pfns = new ulong[Pages];

        /// <summary>Keeps the entries it is told to drop.</summary>
        public bool IsForgetful { get; init; }

        public int Retries { get; private set; }

        public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
        {
            if (range.Blockable)
                _lock.Lock(task!);
            else if (!_lock.TryLock(task!))
                return false;
            SetSequence(sequence);
            for (int i = 0; i < Pages; i++)
            {
                ulong page = Base + ((ulong)i << 12);
                if (page >= range.Start && page < range.End && !IsForgetful)
                    _table[i] = null;
            }
            _lock.Unlock();
            return true;
        }

        /// <summary>Mirrors everything and checks, under the lock, that all entries are those of the tables.</summary>
        public void Update(Task task, Kernel.Memory.Mm mm, HmmPfn request)
        {
            while (true)
            {
                Array.Clear(_pfns);
                var range = new HmmRange(mm, Base, Base + (Pages << 12), _pfns)
                {
                    Notifier = this,
                    NotifierSequence = ReadBegin(task),
                    DefaultFlags = request,
                };
                int error;
                using (mm.EnterRead(task))
                    error = Hmm.RangeFault(task, range);
                if (error == -Errno.EBUSY)
                {
                    Retries++;
                    continue;
                }
                if (error != 0)
                    return; // A page was unmapped, or read-only.
                using (_lock.Enter(task))
                {
                    if (ReadRetry(range.NotifierSequence))
                    {
                        Retries++;
                        continue;
                    }
                    for (int i = 0; i < Pages; i++)
                        _table[i] = HmmRange.IsValid(_pfns[i]) ? HmmRange.FrameOf(_pfns[i]) : _table[i];
                    Check(mm);
                    return;
                }
            }
        }

        private void Check(Kernel.Memory.Mm mm)
        {
            for (int i = 0; i < Pages; i++)
            {
                if (_table[i] is not { } mirrored)
                    continue;
                Assert.That(mm.TryWalk(Base + ((ulong)i << 12), write: false, out Pfn frame), Is.True, $"page {i} is mirrored and not mapped");
                Assert.That(frame, Is.EqualTo(mirrored), $"page {i}");
            }
        }
    }

    public static IEnumerable<TestCaseData> Machines()
    {
        yield return new TestCaseData(new MachineOptions { Vcpus = 4, LockDep = true }).SetArgDisplayNames("parallel");
        for (ulong seed = 1; seed <= 6; seed++)
            yield return new TestCaseData(new MachineOptions { Vcpus = 4, LockDep = true, Deterministic = true, Seed = seed }).SetArgDisplayNames($"seed_{seed}");
    }

    [TestCaseSource(nameof(Machines))]
    public void A_shadow_and_a_walker_never_use_a_page_that_the_tables_do_not_map(MachineOptions options)
    {
        using var machine = new Machine(options with { MemoryBytes = 64 << 20, SwapBytes = 4 << 20, Timeout = TimeSpan.FromSeconds(120) });
        machine.Run(task =>
        {
            Kernel.Memory.Mm mm = task.Mm;
            Mmap(task, Base, Pages);
            var mirror = new Mirror();
            Assert.That(mirror.Insert(task, mm, Base, Pages << 12), Is.Zero);
            var walker = new Examples.Walker(machine);
            Assert.That(walker.Register(task, mm), Is.Zero);
            KernelThread[] changers = [.. Enumerable.Range(0, 3).Select(i => machine.Spawn(other => ChangeThings(other, new Random((int)options.Seed * 10 + i)), mm))];
            KernelThread device = machine.Spawn(
                other =>
                {
                    for (int i = 0; i < 100; i++)
                        mirror.Update(other, mm, (i % 3) switch { 0 => HmmPfn.None, 1 => HmmPfn.ReqFault, _ => HmmPfn.ReqFault | HmmPfn.ReqWrite });
                },
                mm);
            for (int i = 0; i < 2000; i++)
            {
                walker.TryRead(mm, Base + ((ulong)(i % Pages) << 12), out _);
                task.PreemptionPoint();
            }
            foreach (KernelThread thread in (KernelThread[])[.. changers, device])
                thread.Join(task);
            mirror.Update(task, mm, HmmPfn.None);
            for (int i = 0; i < Pages; i++)
            {
                ulong page = Base + ((ulong)i << 12);
                bool mapped = mm.TryWalk(page, write: false, out Pfn frame);
                Assert.That(walker.TryRead(mm, page, out byte seen), Is.EqualTo(mapped), $"page {i}");
                if (mapped)
                    Assert.That(seen, Is.EqualTo(machine.Memory.BytesOf(frame)[0]), $"page {i}");
            }
            mirror.Remove(task);
            walker.Unregister(task);
        });
        Assert.That(machine.Violations.All, Is.Empty);
    }

    [Test]
    public void The_check_finds_a_mirror_that_does_not_drop_its_entries()
    {
        using var machine = new Machine(new MachineOptions { MemoryBytes = 64 << 20 });
        Assert.That(() => machine.Run(static task =>
        {
            Mmap(task, Base, Pages);
            var mirror = new Mirror { IsForgetful = true };
            mirror.Insert(task, task.Mm, Base, Pages << 12);
            mirror.Update(task, task.Mm, HmmPfn.ReqFault | HmmPfn.ReqWrite);
            task.Mm.Madvise(task, Base, 0x1000, MADV_DONTNEED);
            mirror.Update(task, task.Mm, HmmPfn.None);
        }), Throws.TypeOf<AssertionException>().With.Message.Contains("is mirrored and not mapped"));
    }

    private static void Mmap(Task task, ulong at, int pages) => Assert.That(
        task.Mm.Mmap(task, at, (ulong)pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0), Is.EqualTo((long)at));

    private static void ChangeThings(Task task, Random random)
    {
        for (int i = 0; i < 150; i++)
        {
            int first = random.Next(Pages), count = 1 + random.Next(Pages - first);
            ulong at = Base + ((ulong)first << 12), length = (ulong)count << 12;
            switch (random.Next(10))
            {
                case 0:
                    task.Mm.Munmap(task, at, length);
                    break;
                case 1:
                    Mmap(task, at, count);
                    break;
                case 2:
                    task.Mm.Madvise(task, at, length, MADV_DONTNEED);
                    break;
                case 3:
                    task.Mm.Mprotect(task, at, length, PROT_READ | (random.Next(2) == 0 ? PROT_WRITE : 0));
                    break;
                case 4:
                    task.Mm.Fork(task)?.Put(task);
                    break;
                case 5:
                    task.Mm.Madvise(task, at, length, MADV_PAGEOUT);
                    break;
                case 6:
                    task.Machine.MemorySystem.Migration.Compact(task);
                    break;
                case 7:
                    task.Mm.Madvise(task, at, length, MADV_FREE);
                    break;
                default:
                    for (int page = 0; page < count; page++)
                        task.TryWrite(at + ((ulong)page << 12), random.Next());
                    break;
            }
        }
    }
}
