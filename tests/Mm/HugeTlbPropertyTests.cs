using Emulator.Hardware.Memory;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

/// <summary>
/// Random sequences of hugetlb operations of several processes against a model of whole huge pages. In the end the pool is as it was; meanwhile
/// its figures hold together.
/// </summary>
public sealed unsafe class HugeTlbPropertyTests
{
    private const ulong Area = 0x4000_0000, Huge = PageTables.HugeSize;
    private const int Slots = 8, FilePages = 6, PoolPages = 12, Steps = 60;

    /// <summary>A content of a huge page: one byte stands for it.</summary>
    private sealed class Content
    {
        public byte Value;
    }

    private sealed class Slot
    {
        public required bool Shared;
        /// <summary>The pages of the file; null for an anonymous private mapping.</summary>
        public Dictionary<int, Content>? File;
        public bool Truncatable;
        public int Index;
        public Content? Private;

        public Slot Clone() => new() { Shared = Shared, File = File, Truncatable = Truncatable, Index = Index, Private = Private is null ? null : new Content { Value = Private.Value } };

        public byte Read() => Private?.Value ?? (File is not null && File.TryGetValue(Index, out Content? content) ? content.Value : (byte)0);
    }

    [Test]
    public void The_pool_gets_back_what_it_gave([Range(1, 8)] int seed)
    {
        int sequences = int.TryParse(Environment.GetEnvironmentVariable("EMULATOR_MM_SEQUENCES"), out int n) ? n / 8 : 20;
        for (int i = 0; i < sequences; i++)
            Run(new Random(seed * 100_003 + i), $"seed {seed}, sequence {i}");
    }

    private static void Run(Random random, string name)
    {
        using var stand = new MemoryStand(bytes: 64 << 20);
        HugeTlbPool pool = stand.System.HugeTlb.Default;
        pool.Resize(PoolPages);
        long frames = stand.Pages.UsedFrames;
        List<string> trace = [];
        var sequence = new Sequence(stand, random, trace);
        string? wrong = null;
        for (int step = 0; step < Steps && wrong is null; step++)
            wrong = sequence.Step();
        sequence.End();
        wrong ??= (pool.Free, pool.Reserved, pool.Total, pool.Surplus) == (PoolPages, 0, PoolPages, 0) ? null
            : $"the pool ends with free {pool.Free} reserved {pool.Reserved} total {pool.Total} surplus {pool.Surplus}";
        wrong ??= stand.Pages.UsedFrames == frames ? null : $"{stand.Pages.UsedFrames - frames} frames leaked";
        if (wrong is not null)
            Assert.Fail($"{name}: {wrong}\n{string.Join('\n', trace)}");
    }

    private sealed class Sequence
    {
        private readonly MemoryStand _stand;
        private readonly Random _random;
        private readonly List<string> _trace;
        private readonly HugeTlbPool _pool;
        private readonly HugeTlbPageCache _cache;
        private readonly CacheFile _file;
        private readonly Dictionary<int, Content> _filePages = [];
        private readonly List<(Kernel.Memory.Mm Mm, Dictionary<int, Slot> Slots)> _processes = [];
        private int _current;

        public Sequence(MemoryStand stand, Random random, List<string> trace)
        {
            (_stand, _random, _trace) = (stand, random, trace);
            _pool = stand.System.HugeTlb.Default;
            _cache = new HugeTlbPageCache(stand.Pages, _pool);
            _cache.Truncate(null, FilePages * Huge);
            _file = new CacheFile(_cache);
            _processes.Add((stand.Create(), []));
        }

        private Kernel.Memory.Mm Mm => _processes[_current].Mm;

        private Dictionary<int, Slot> Model => _processes[_current].Slots;

        public void End()
        {
            _stand.System.Shootdown.SwitchToKernel(_stand.Vcpu);
            foreach ((Kernel.Memory.Mm mm, _) in _processes)
                mm.Put(null);
            _file.Put();
        }

        public string? Step()
        {
            _current = _random.Next(_processes.Count);
            int slot = _random.Next(Slots), count = 1 + _random.Next(Math.Min(3, Slots - slot)), operation = _random.Next(12);
            _trace.Add($"{operation} process {_current} slot {slot} count {count}");
            return operation switch
            {
                0 => MapAnonymous(slot, count, shared: false),
                1 => MapAnonymous(slot, count, shared: true),
                2 or 3 => MapFile(slot, count),
                4 => Unmap(slot, count),
                5 => Fork(),
                6 => Exit(),
                7 => Punch(),
                8 => Discard(slot, count),
                _ => Touch(slot, count),
            } ?? CheckPool() ?? CheckFrames();
        }

        private static ulong AddressOf(int slot) => Area + (ulong)slot * Huge;

        private void Forget(int slot, int count)
        {
            for (int i = slot; i < slot + count; i++)
                Model.Remove(i);
        }

        private string? MapAnonymous(int slot, int count, bool shared)
        {
            int flags = MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB | (shared ? MAP_SHARED : MAP_PRIVATE) | (_random.Next(3) == 0 ? MAP_NORESERVE : 0);
            long available = _pool.Free - _pool.Reserved;
            long result = Mm.Mmap(null, AddressOf(slot), (ulong)count * Huge, PROT_READ | PROT_WRITE, flags, null, 0);
            if (result < 0)
                return result == -Kernel.Errno.ENOMEM && available < count && (flags & MAP_NORESERVE) == 0 ? null : $"mmap of {count} answered {result} with {available} available";
            Forget(slot, count);
            Dictionary<int, Content>? file = shared ? [] : null;
            for (int i = 0; i < count; i++)
                Model[slot + i] = new Slot { Shared = shared, File = file, Index = i };
            return null;
        }

        private string? MapFile(int slot, int count)
        {
            int index = _random.Next(FilePages - count + 1);
            bool shared = _random.Next(2) == 0;
            long result = Mm.Mmap(null, AddressOf(slot), (ulong)count * Huge, PROT_READ | PROT_WRITE, MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE), _file, (ulong)index * 512);
            if (result < 0)
                return result == -Kernel.Errno.ENOMEM ? null : $"mmap of the file answered {result}";
            Forget(slot, count);
            for (int i = 0; i < count; i++)
                Model[slot + i] = new Slot { Shared = shared, File = _filePages, Truncatable = true, Index = index + i };
            return null;
        }

        private string? Unmap(int slot, int count)
        {
            long result = Mm.Munmap(null, AddressOf(slot), (ulong)count * Huge);
            Forget(slot, count);
            return result == 0 ? null : $"munmap answered {result}";
        }

        private string? Fork()
        {
            if (_processes.Count >= 3)
                return null;
            if (Mm.Fork(null) is not { } child)
                return "fork found no memory";
            _processes.Add((child, Model.ToDictionary(pair => pair.Key, pair => pair.Value.Clone())));
            return null;
        }

        private string? Exit()
        {
            if (_processes.Count == 1)
                return null;
            _stand.System.Shootdown.SwitchToKernel(_stand.Vcpu);
            Mm.Put(null);
            _processes.RemoveAt(_current);
            _current = 0;
            return null;
        }

        private string? Punch()
        {
            int index = _random.Next(FilePages), count = 1 + _random.Next(FilePages - index);
            long result = _cache.PunchHole(null, (ulong)index * Huge, (ulong)count * Huge);
            for (int i = index; i < index + count; i++)
            {
                _filePages.Remove(i);
                // hugetlbfs takes private copies along with the file's pages.
                foreach (Slot slot in _processes.SelectMany(p => p.Slots.Values).Where(s => s.Truncatable && s.Index == i))
                    slot.Private = null;
            }
            return result == 0 ? null : $"the punch answered {result}";
        }

        private string? Discard(int slot, int count)
        {
            Mm.Madvise(null, AddressOf(slot), (ulong)count * Huge, MADV_DONTNEED);
            for (int i = slot; i < slot + count; i++)
            {
                if (Model.TryGetValue(i, out Slot? page))
                    page.Private = null;
            }
            return null;
        }

        private string? Touch(int slot, int count)
        {
            for (int i = slot; i < slot + count; i++)
            {
                bool write = _random.Next(3) > 0;
                FaultOutcome outcome = _stand.Access(Mm, AddressOf(i) + 0x5123, write, out byte* host);
                if (!Model.TryGetValue(i, out Slot? page))
                {
                    if (outcome != FaultOutcome.NotMapped)
                        return $"slot {i} is {outcome}, not mapped";
                    continue;
                }
                // The pool may be empty, and a child may have lost its page to the owner.
                if (outcome == FaultOutcome.BusError)
                    continue;
                if (outcome != FaultOutcome.Done)
                    return $"slot {i} is {outcome}";
                // A fault fills a hole: of the file through a shared mapping, and of a private mapping by a page of its own, even if it only reads.
                if (page.Shared)
                    page.File!.TryAdd(page.Index, new Content());
                else if (page.File is null || !page.File.ContainsKey(page.Index))
                    page.Private ??= new Content();
                if (!write)
                {
                    if (*host != page.Read())
                        return $"slot {i} holds {*host}, not {page.Read()}";
                    continue;
                }
                *host = (byte)_random.Next(256);
                Content content = page.Shared ? page.File![page.Index] : page.Private ??= new Content();
                content.Value = *host;
            }
            return null;
        }

        private string? CheckPool()
        {
            long free = _pool.Free, reserved = _pool.Reserved;
            return free >= 0 && reserved >= 0 && reserved <= free && free <= PoolPages ? null : $"free {free} reserved {reserved}";
        }

        private string? CheckFrames()
        {
            if (_random.Next(6) > 0)
                return null;
            IReadOnlyList<string> errors = new MmChecker(_stand.System).Check();
            return errors.Count == 0 ? null : string.Join('\n', errors.Take(10));
        }
    }
}
