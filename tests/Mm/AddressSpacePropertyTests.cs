using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using FsCheck;
using FsCheck.Fluent;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

/// <summary>
/// Random sequences of memory operations of several processes, against <see cref="AddressSpaceModel"/>. Each access goes through a vCPU's
/// TLB, so a flush that is missing shows as a stale byte or a permission that should be gone.
/// </summary>
public sealed unsafe class AddressSpacePropertyTests
{
    private const ulong Area = 0x1000_0000;
    private const int AreaPages = 48, FilePages = 12, Steps = 60;

    [Test]
    public void Random_operations_leave_what_a_plain_table_of_pages_says()
    {
        int sequences = int.TryParse(Environment.GetEnvironmentVariable("EMULATOR_MM_SEQUENCES"), out int n) ? n : 1500;
        ulong seed = ulong.TryParse(Environment.GetEnvironmentVariable("EMULATOR_MM_SEED"), out ulong s) ? s : 20260101;
        Gen<int[]> script = Gen.Choose(0, int.MaxValue - 1).ArrayOf(Steps * 5);
        Config config = Config.QuickThrowOnFailure.WithMaxTest(sequences).WithReplay(seed, 1);
        Check.One(config, Prop.ForAll(Arb.From(script, Shrink), Run));
    }

    /// <summary>Leaves out whole operations, from halves down to single ones.</summary>
    private static IEnumerable<int[]> Shrink(int[] script)
    {
        for (int size = script.Length / 10 * 5; size >= 5; size = size / 10 * 5)
        {
            for (int at = 0; at + size <= script.Length; at += size)
                yield return [.. script[..at], .. script[(at + size)..]];
        }
    }

    private static bool Run(int[] script)
    {
        using var stand = new MemoryStand();
        long frames = stand.Pages.UsedFrames, tables = stand.Pages.TableFrames;
        var run = new Sequence(stand);
        string? wrong = null;
        for (int i = 0; i + 5 <= script.Length && wrong is null; i += 5)
            wrong = run.Step(script.AsSpan(i, 5));
        run.End();
        stand.System.Shootdown.SwitchToKernel(stand.Vcpu);
        wrong ??= stand.Pages.UsedFrames != frames ? $"{stand.Pages.UsedFrames - frames} frames leaked" : null;
        wrong ??= stand.Pages.TableFrames != tables ? $"{stand.Pages.TableFrames - tables} tables leaked" : null;
        wrong ??= stand.System.AnonVmas.Count != 0 ? $"{stand.System.AnonVmas.Count} anon_vmas leaked" : null;
        return wrong is null ? true : throw new AssertionException(wrong);
    }

    private sealed class Sequence
    {
        private readonly MemoryStand _stand;
        private readonly List<(Kernel.Memory.Mm Mm, AddressSpaceModel Model)> _processes = [];
        private readonly List<(CacheFile File, ShmemPageCache Cache, ModelObject Model)> _files = [];
        private readonly List<Pfn> _pinned = [];
        private int _current, _steps;

        public Sequence(MemoryStand stand)
        {
            _stand = stand;
            _processes.Add((stand.Create(), new AddressSpaceModel()));
            for (int i = 0; i < 2; i++)
            {
                var cache = new ShmemPageCache(stand.Pages);
                cache.Truncate(null, FilePages << 12);
                _files.Add((new CacheFile(cache), cache, new ModelObject(FilePages)));
            }
        }

        private Kernel.Memory.Mm Mm => _processes[_current].Mm;

        private AddressSpaceModel Model => _processes[_current].Model;

        public void End()
        {
            Mm.UnpinUserPages(_pinned.ToArray(), dirty: true);
            foreach ((Kernel.Memory.Mm mm, _) in _processes)
                mm.Put(null);
            foreach ((CacheFile file, _, _) in _files)
                file.Put();
        }

        /// <summary>One operation, then a look at a few pages; null or what is wrong.</summary>
        public string? Step(ReadOnlySpan<int> r)
        {
            ulong start = Area + ((ulong)(r[1] % AreaPages) << 12);
            int pages = Math.Min(1 + r[2] % 8, AreaPages - r[1] % AreaPages);
            string? wrong = (r[0] % 20) switch
            {
                0 or 1 => MapAnonymous(start, pages, r[3], shared: false),
                2 => MapAnonymous(start, pages, r[3], shared: true),
                3 or 4 => MapFile(start, pages, r[3], r[4]),
                5 => Unmap(start, pages),
                6 or 7 => Protect(start, pages, r[3]),
                8 => Discard(start, pages),
                9 => Move(start, pages, r[3]),
                10 => Fork(),
                11 => Exit(),
                12 => Truncate(r[3], r[4]),
                13 => Switch(r[3]),
                14 => Compact(),
                15 => Pin(start, pages, r[3], r[4]),
                _ => Touch(start, pages, (byte)r[3], write: r[4] % 3 != 0),
            };
            return wrong ?? CheckSome(r[4]) ?? CheckTree() ?? CheckFrames();
        }

        private static int Prot(int r) => (r % 4) switch { 0 => PROT_NONE, 1 => PROT_READ, _ => PROT_READ | PROT_WRITE };

        private void Enter(ulong start, int pages, int prot, bool shared, ModelObject? file, int index)
        {
            for (int i = 0; i < pages; i++)
            {
                Model.Pages[start + ((ulong)i << 12)] = new ModelPage
                {
                    Readable = prot != 0,
                    Writable = (prot & PROT_WRITE) != 0,
                    Shared = shared,
                    Object = file,
                    Index = index + i,
                };
            }
        }

        private string? MapAnonymous(ulong start, int pages, int r, bool shared)
        {
            int flags = MAP_ANONYMOUS | MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE);
            long result = Mm.Mmap(null, start, (ulong)pages << 12, Prot(r), flags, null, 0);
            Enter(start, pages, Prot(r), shared, shared ? new ModelObject(pages) : null, 0);
            return result == (long)start ? null : $"mmap answered {result}";
        }

        private string? MapFile(ulong start, int pages, int r, int which)
        {
            (CacheFile file, _, ModelObject model) = _files[which % 2];
            int index = which / 2 % FilePages;
            bool shared = which / 32 % 2 == 0;
            long result = Mm.Mmap(null, start, (ulong)pages << 12, Prot(r), MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE), file, (ulong)index);
            Enter(start, pages, Prot(r), shared, model, index);
            return result == (long)start ? null : $"mmap of a file answered {result}";
        }

        private string? Unmap(ulong start, int pages)
        {
            long result = Mm.Munmap(null, start, (ulong)pages << 12);
            Model.Remove(start, pages);
            return result == 0 ? null : $"munmap answered {result}";
        }

        private string? Protect(ulong start, int pages, int r)
        {
            long result = Mm.Mprotect(null, start, (ulong)pages << 12, Prot(r));
            // What lies before the first hole is changed.
            for (int i = 0; i < pages && Model.Pages.TryGetValue(start + ((ulong)i << 12), out ModelPage? page); i++)
                (page.Readable, page.Writable) = (Prot(r) != 0, (Prot(r) & PROT_WRITE) != 0);
            long expected = Model.Covers(start, pages) ? 0 : -Errno.ENOMEM;
            return result == expected ? null : $"mprotect answered {result}, not {expected}";
        }

        private string? Discard(ulong start, int pages)
        {
            long result = Mm.Madvise(null, start, (ulong)pages << 12, MADV_DONTNEED);
            for (int i = 0; i < pages; i++)
            {
                if (Model.Pages.TryGetValue(start + ((ulong)i << 12), out ModelPage? page))
                    page.Private = null;
            }
            long expected = Model.Covers(start, pages) ? 0 : -Errno.ENOMEM;
            return result == expected ? null : $"madvise answered {result}, not {expected}";
        }

        private string? Move(ulong start, int pages, int r)
        {
            ulong target = Area + ((ulong)(r % AreaPages) << 12);
            pages = Math.Min(pages, AreaPages - r % AreaPages);
            if (target < start + ((ulong)pages << 12) && start < target + ((ulong)pages << 12))
                return null;
            long result = Mm.Mremap(null, start, (ulong)pages << 12, (ulong)pages << 12, MREMAP_MAYMOVE | MREMAP_FIXED, target);
            if (!Model.Pages.ContainsKey(start))
                return result == -Errno.EFAULT ? null : $"mremap of nothing answered {result}";
            // Linux empties the target before it finds out whether the source is one mapping.
            Model.Remove(target, pages);
            if (result == -Errno.EFAULT)
                return null;
            for (int i = 0; i < pages; i++)
                Model.Pages[target + ((ulong)i << 12)] = Model.Pages[start + ((ulong)i << 12)];
            Model.Remove(start, pages);
            return result == (long)target ? null : $"mremap answered {result}";
        }

        private string? Fork()
        {
            if (_processes.Count >= 4)
                return null;
            if (Mm.Fork(null) is not { } child)
                return "fork found no memory";
            _processes.Add((child, Model.Fork()));
            return null;
        }

        private string? Exit()
        {
            if (_processes.Count == 1)
                return null;
            Mm.Put(null);
            _processes.RemoveAt(_current);
            _current = 0;
            return null;
        }

        private string? Truncate(int which, int r)
        {
            (_, ShmemPageCache cache, ModelObject model) = _files[which % 2];
            cache.Truncate(null, (ulong)(r % (FilePages + 1)) << 12);
            model.Truncate(r % (FilePages + 1));
            // What lies beyond the end goes, copies of private mappings too.
            foreach (ModelPage page in _processes.SelectMany(p => p.Model.Pages.Values).Where(p => p.Object == model && p.IsBeyondEnd))
                page.Private = null;
            return null;
        }

        private string? Switch(int r)
        {
            _current = r % _processes.Count;
            return null;
        }

        /// <summary>Every page that may moves to another frame.</summary>
        private string? Compact()
        {
            _stand.System.Migration.Compact(null);
            return null;
        }

        /// <summary>Pins pages, or gives up half of the pins there are.</summary>
        private string? Pin(ulong start, int pages, int r, int unpin)
        {
            if (unpin % 3 == 0)
            {
                int half = (_pinned.Count + 1) / 2;
                Mm.UnpinUserPages(_pinned.GetRange(0, half).ToArray(), dirty: false);
                _pinned.RemoveRange(0, half);
                return null;
            }
            bool write = r % 2 == 0;
            Span<Pfn> frames = stackalloc Pfn[pages];
            int taken = Mm.PinUserPages(null, start, (write ? FollFlags.Write : FollFlags.None) | (r / 2 % 2 == 0 ? FollFlags.Longterm : FollFlags.None), frames);
            int expected = 0;
            while (expected < pages && Model.Pages.TryGetValue(start + ((ulong)expected << 12), out ModelPage? page)
                && page.Readable && !page.IsBeyondEnd && (!write || page.Writable))
                expected++;
            for (int i = 0; i < taken; i++)
            {
                _pinned.Add(frames[i]);
                byte* data = _stand.Pages.Memory.Pointer(frames[i]);
                ModelPage page = Model.Pages[start + ((ulong)i << 12)];
                if (*data != page.Read())
                    return $"the pinned page of {start + ((ulong)i << 12):x} holds {*data}, not {page.Read()}";
                if (write)
                {
                    *data = (byte)r;
                    page.Write((byte)r);
                }
            }
            return taken == expected || (expected == 0 && taken == -Errno.EFAULT) ? null : $"{taken} pages pinned, not {expected}";
        }

        /// <summary>Counts and reverse maps agree with page tables.</summary>
        private string? CheckFrames()
        {
            if (++_steps % 8 != 0)
                return null;
            IReadOnlyList<string> errors = new MmChecker(_stand.System).Check();
            return errors.Count == 0 ? null : string.Join('\n', errors);
        }

        private string? Touch(ulong start, int pages, byte value, bool write)
        {
            for (int i = 0; i < pages; i++)
            {
                ulong address = start + ((ulong)i << 12);
                FaultOutcome outcome = _stand.Access(Mm, address, write, out byte* host);
                string? wrong = Compare(address, outcome, host, write);
                if (wrong is not null)
                    return wrong;
                if (outcome == FaultOutcome.Done && write)
                {
                    *host = value;
                    Model.Pages[address].Write(value);
                }
            }
            return null;
        }

        private string? Compare(ulong address, FaultOutcome outcome, byte* host, bool write)
        {
            FaultOutcome expected =
                !Model.Pages.TryGetValue(address, out ModelPage? page) ? FaultOutcome.NotMapped
                : !page.Readable || (write && !page.Writable) ? FaultOutcome.Forbidden
                : page.IsBeyondEnd ? FaultOutcome.BusError
                : FaultOutcome.Done;
            if (outcome != expected)
                return $"{(write ? "write" : "read")} of {address:x} is {outcome}, not {expected}";
            return expected == FaultOutcome.Done && !write && *host != page!.Read() ? $"{address:x} holds {*host}, not {page.Read()}" : null;
        }

        private string? CheckSome(int r)
        {
            for (int i = 0; i < 4; i++)
            {
                ulong address = Area + ((ulong)((r + i * 13) % AreaPages) << 12);
                FaultOutcome outcome = _stand.Access(Mm, address, write: false, out byte* host);
                if (Compare(address, outcome, host, write: false) is { } wrong)
                    return wrong;
            }
            return null;
        }

        private string? CheckTree()
        {
            ulong pages = 0, previousEnd = 0;
            foreach (Vma vma in Mm.SnapshotVmas())
            {
                if (vma.Start < previousEnd || vma.End <= vma.Start)
                    return $"VMA {vma} overlaps its predecessor or is empty";
                previousEnd = vma.End;
                pages += vma.Pages;
            }
            if (pages != (ulong)Model.Pages.Count || pages != Mm.TotalPages)
                return $"{pages} pages in VMAs, {Mm.TotalPages} counted, {Model.Pages.Count} mapped";
            return null;
        }
    }
}
