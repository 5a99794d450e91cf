using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Tests.Mm;

/// <summary>
/// Random sequences of operations on a few megabytes that huge pages map, or did, or will: whatever is split, collapsed, shared and moved, programs
/// see what <see cref="AddressSpaceModel"/> says, and counts agree with tables.
/// </summary>
public sealed unsafe class HugePagePropertyTests
{
    private const ulong Area = 0x4000_0000, Huge = PageTables.HugeSize;
    private const int Regions = 3, Pages = Regions * 512, Steps = 50;

    [Test]
    public void Huge_pages_never_show([Range(1, 8)] int seed)
    {
        int sequences = int.TryParse(Environment.GetEnvironmentVariable("EMULATOR_MM_SEQUENCES"), out int n) ? n / 8 : 25;
        for (int i = 0; i < sequences; i++)
            Run(new Random(seed * 100_003 + i), $"seed {seed}, sequence {i}");
    }

    private static void Run(Random random, string name)
    {
        using var stand = new MemoryStand(bytes: 192 << 20);
        long frames = stand.Pages.UsedFrames, tables = stand.Pages.TableFrames;
        var sequence = new Sequence(stand, random);
        List<string> trace = [];
        string? wrong = null;
        for (int step = 0; step < Steps && wrong is null; step++)
            wrong = sequence.Step(trace);
        sequence.End();
        stand.System.Shootdown.SwitchToKernel(stand.Vcpu);
        wrong ??= stand.Pages.UsedFrames != frames ? $"{stand.Pages.UsedFrames - frames} frames leaked" : null;
        wrong ??= stand.Pages.TableFrames != tables ? $"{stand.Pages.TableFrames - tables} tables leaked" : null;
        wrong ??= stand.System.HugePages.Mapped != 0 ? $"{stand.System.HugePages.Mapped} huge pages counted as mapped" : null;
        if (wrong is not null)
            Assert.Fail($"{name}: {wrong}\n{string.Join('\n', trace)}");
    }

    private sealed class Sequence
    {
        private readonly MemoryStand _stand;
        private readonly Random _random;
        private readonly List<(Kernel.Memory.Mm Mm, AddressSpaceModel Model)> _processes = [];
        private readonly List<Pfn> _pinned = [];
        private int _current;

        public Sequence(MemoryStand stand, Random random)
        {
            _stand = stand;
            _random = random;
            _processes.Add((stand.Create(), new AddressSpaceModel()));
        }

        private Kernel.Memory.Mm Mm => _processes[_current].Mm;

        private AddressSpaceModel Model => _processes[_current].Model;

        public void End()
        {
            Mm.UnpinUserPages(_pinned.ToArray(), dirty: true);
            foreach ((Kernel.Memory.Mm mm, _) in _processes)
                mm.Put(null);
        }

        public string? Step(List<string> trace)
        {
            (ulong start, int pages) = Place();
            int operation = _random.Next(16);
            trace.Add($"{operation} process {_current} {start:x} {pages} pages");
            return operation switch
            {
                0 or 1 => Map(start, pages),
                2 => Unmap(start, pages),
                3 => Protect(start, pages),
                4 => Discard(start, pages),
                5 => Move(start, pages),
                6 => Fork(),
                7 => Exit(),
                8 => Advise(start, pages),
                9 => Collapse(start, pages),
                10 => Split(start),
                11 => Pin(start),
                _ => Touch(start, pages),
            } ?? CheckSome() ?? CheckFrames();
        }

        /// <summary>Often whole huge pages, sometimes a few pages anywhere.</summary>
        private (ulong Start, int Pages) Place()
        {
            _current = _random.Next(_processes.Count);
            if (_random.Next(2) == 0)
            {
                int region = _random.Next(Regions);
                return (Area + (ulong)region * Huge, 512 * (1 + _random.Next(Regions - region)));
            }
            int first = _random.Next(Pages);
            return (Area + ((ulong)first << 12), Math.Min(1 + _random.Next(40), Pages - first));
        }

        private string? Map(ulong start, int pages)
        {
            long result = Mm.Mmap(null, start, (ulong)pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0);
            for (int i = 0; i < pages; i++)
                Model.Pages[start + ((ulong)i << 12)] = new ModelPage { Readable = true, Writable = true };
            if (pages >= 512)
                Mm.Madvise(null, start, (ulong)pages << 12, MADV_HUGEPAGE);
            return result == (long)start ? null : $"mmap answered {result}";
        }

        private string? Unmap(ulong start, int pages)
        {
            long result = Mm.Munmap(null, start, (ulong)pages << 12);
            Model.Remove(start, pages);
            return result == 0 ? null : $"munmap answered {result}";
        }

        private string? Protect(ulong start, int pages)
        {
            bool readable = _random.Next(4) > 0, writable = readable && _random.Next(2) == 0;
            Mm.Mprotect(null, start, (ulong)pages << 12, (readable ? PROT_READ : PROT_NONE) | (writable ? PROT_WRITE : PROT_NONE));
            for (int i = 0; i < pages && Model.Pages.TryGetValue(start + ((ulong)i << 12), out ModelPage? page); i++)
                (page.Readable, page.Writable) = (readable, writable);
            return null;
        }

        private string? Discard(ulong start, int pages)
        {
            Mm.Madvise(null, start, (ulong)pages << 12, MADV_DONTNEED);
            for (int i = 0; i < pages; i++)
            {
                if (Model.Pages.TryGetValue(start + ((ulong)i << 12), out ModelPage? page))
                    page.Private = null;
            }
            return null;
        }

        private string? Move(ulong start, int pages)
        {
            (ulong target, _) = Place2(pages);
            if (target < start + ((ulong)pages << 12) && start < target + ((ulong)pages << 12))
                return null;
            long result = Mm.Mremap(null, start, (ulong)pages << 12, (ulong)pages << 12, MREMAP_MAYMOVE | MREMAP_FIXED, target);
            if (!Model.Pages.ContainsKey(start))
                return result == -Errno.EFAULT ? null : $"mremap of nothing answered {result}";
            Model.Remove(target, pages);
            if (result == -Errno.EFAULT)
                return null;
            for (int i = 0; i < pages; i++)
                Model.Pages[target + ((ulong)i << 12)] = Model.Pages[start + ((ulong)i << 12)];
            Model.Remove(start, pages);
            return result == (long)target ? null : $"mremap answered {result}";
        }

        private (ulong Start, int Pages) Place2(int pages)
        {
            int first = pages % 512 == 0 && _random.Next(3) > 0 ? 512 * _random.Next((Pages - pages) / 512 + 1) : _random.Next(Pages - pages + 1);
            return (Area + ((ulong)first << 12), pages);
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

        private string? Advise(ulong start, int pages)
        {
            Mm.Madvise(null, start, (ulong)pages << 12, _random.Next(3) == 0 ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
            return null;
        }

        private string? Collapse(ulong start, int pages)
        {
            long result = Mm.Madvise(null, start, (ulong)pages << 12, MADV_COLLAPSE);
            return result is 0 or -Errno.EINVAL or -Errno.EAGAIN or -Errno.ENOMEM ? null : $"MADV_COLLAPSE answered {result}";
        }

        private string? Split(ulong start)
        {
            ulong* entry = Mm.Tables.Find(start, out int level);
            if (entry is not null && PageTables.IsMapped(*entry))
                _stand.System.HugePages.SplitPage(null, PageTables.FrameOf(*entry, start, level));
            return null;
        }

        private string? Pin(ulong start)
        {
            if (_random.Next(3) == 0)
            {
                Mm.UnpinUserPages(_pinned.ToArray(), dirty: true);
                _pinned.Clear();
                return null;
            }
            Span<Pfn> frame = stackalloc Pfn[1];
            if (Mm.PinUserPages(null, start, FollFlags.Write, frame) != 1)
                return null;
            _pinned.Add(frame[0]);
            byte* data = _stand.Pages.Memory.Pointer(frame[0]);
            ModelPage page = Model.Pages[start];
            if (*data != page.Read())
                return $"the pinned page of {start:x} holds {*data}, not {page.Read()}";
            *data = (byte)_random.Next(256);
            page.Write(*data);
            return null;
        }

        private string? Touch(ulong start, int pages)
        {
            for (int i = 0; i < Math.Min(pages, 6); i++)
            {
                ulong address = start + ((ulong)_random.Next(pages) << 12);
                bool write = _random.Next(3) > 0;
                FaultOutcome outcome = _stand.Access(Mm, address, write, out byte* host);
                if (Compare(address, outcome, host, write) is { } wrong)
                    return wrong;
                if (outcome == FaultOutcome.Done && write)
                {
                    *host = (byte)_random.Next(256);
                    Model.Pages[address].Write(*host);
                }
            }
            return null;
        }

        private string? Compare(ulong address, FaultOutcome outcome, byte* host, bool write)
        {
            FaultOutcome expected =
                !Model.Pages.TryGetValue(address, out ModelPage? page) ? FaultOutcome.NotMapped
                : !page.Readable || (write && !page.Writable) ? FaultOutcome.Forbidden
                : FaultOutcome.Done;
            if (outcome != expected)
                return $"{(write ? "write" : "read")} of {address:x} is {outcome}, not {expected}";
            return expected == FaultOutcome.Done && !write && *host != page!.Read() ? $"{address:x} holds {*host}, not {page.Read()}" : null;
        }

        /// <summary>Pages that were written are where mistakes would show.</summary>
        private string? CheckSome()
        {
            foreach ((ulong address, ModelPage page) in Model.Pages)
            {
                if (page.Private is null && _random.Next(64) > 0)
                    continue;
                FaultOutcome outcome = _stand.Access(Mm, address, write: false, out byte* host);
                if (Compare(address, outcome, host, write: false) is { } wrong)
                    return wrong;
            }
            return null;
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
