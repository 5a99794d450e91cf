using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Mm.Properties;

/// <summary>A process's devices, of both kinds, and one that only counts.</summary>
internal sealed unsafe partial class MmSequence
{
    private sealed class Devices(MmSequence sequence, SimulatedProcess process, bool broken)
    {
        private readonly Mirror _mirror = new(broken);
        private readonly Walker _walker = new();
        private readonly Balance _balance = new();
        private readonly ulong[] _pfns = new ulong[Step.AreaPages];

        private Task Task => sequence._task;

        private Kernel.Memory.Mm Mm => process.Mm;

        public string? Attach()
        {
            int error = _mirror.Insert(Task, Mm, Area, (ulong)Step.AreaPages << 12);
            if (error == 0)
                error = _walker.Register(Task, Mm);
            if (error == 0)
                error = _balance.Register(Task, Mm);
            return Expect("attaching devices", error, 0);
        }

        public void Detach()
        {
            _mirror.Remove(Task);
            _walker.Unregister(Task);
            _balance.Unregister(Task);
        }

        public string? Check() => _mirror.Check(Mm) ?? _walker.Check(Mm) ?? _balance.Check();

        /// <summary>The process has ended: nothing is translated any more.</summary>
        public string? CheckReleased() =>
            _mirror.Count + _walker.Count > 0 ? "a device translates addresses of a process that has ended" : _balance.IsReleased ? null : "release was not called";

        /// <summary>hmm_range_fault, then use: 0 takes what is there, 1 reads, 2 writes.</summary>
        public string? UseMirror(int start, int pages, int how)
        {
            var request = how switch { 0 => HmmPfn.None, 1 => HmmPfn.ReqFault, _ => HmmPfn.ReqFault | HmmPfn.ReqWrite };
            HmmRange range;
            int result, attempts = 0;
            do
            {
                _pfns.AsSpan(0, pages).Clear();
                range = new HmmRange(Mm, AddressOf(start), AddressOf(start + pages), _pfns.AsMemory(0, pages))
                {
                    Notifier = _mirror,
                    NotifierSequence = _mirror.ReadBegin(Task),
                    DefaultFlags = request,
                };
                using (Mm.EnterRead(Task))
                    result = Hmm.RangeFault(Task, range);
                // Its own faults may change entries that were there: each copy on write makes it begin again.
            }
            while (result == -Errno.EBUSY && attempts++ < pages);
            int accessible = process.Model.Accessible(start, pages, how == 2);
            // Those before the one that failed have been faulted in.
            for (int i = start; how == 2 && i < start + accessible; i++)
                process.Model[i]!.ForWrite();
            if (result == -Errno.EFAULT && process.Model.HasHuge(start, pages))
                return null;
            if (how != 0 && accessible < pages)
                return result is -Errno.EFAULT or -Errno.EPERM ? null : $"hmm_range_fault answered {result} for pages that can not be had";
            if (result != 0 || _mirror.ReadRetry(range.NotifierSequence))
                return $"hmm_range_fault answered {result}, with nobody else there";
            for (int i = 0; i < pages; i++)
            {
                if (!HmmRange.IsValid(_pfns[i]) && how != 0)
                    return $"hmm_range_fault made nothing of {AddressOf(start + i):x}";
                if (HmmRange.IsValid(_pfns[i]) && UseMirrored(start + i, _pfns[i], how == 2) is { } wrong)
                    return $"mirror: {wrong}";
            }
            return null;
        }

        private string? UseMirrored(int page, ulong pfn, bool write)
        {
            ModelPage? expected = process.Model[page];
            if (expected is null || !expected.Allows(HmmRange.IsWritable(pfn)) || (write && !HmmRange.IsWritable(pfn)))
                return $"{AddressOf(page):x} has rights that it should not have, or lacks some";
            Pfn frame = HmmRange.FrameOf(pfn);
            _mirror.Set(AddressOf(page), frame, HmmRange.IsWritable(pfn));
            return UseFrame(expected, page, frame, write);
        }

        /// <summary>Accesses of the walker, with page requests where the tables do not allow them.</summary>
        public string? UseWalker(IEnumerable<int> pages, bool write)
        {
            foreach (int page in pages)
            {
                bool possible = process.Model.Accessible(page, 1, write) == 1;
                bool translated = _walker.TryTranslate(Mm, AddressOf(page), write, out Pfn frame);
                for (int attempt = 0; attempt < 10 && !translated; attempt++)
                {
                    if (Mm.HandleFault(Task, AddressOf(page), FaultFlags.Remote | (write ? FaultFlags.Write : FaultFlags.Read)) != FaultOutcome.Done)
                        break;
                    translated = _walker.TryTranslate(Mm, AddressOf(page), write, out frame);
                }
                if (!translated && process.Model[page] is { Huge: true })
                    continue;
                if (translated != possible)
                    return $"walker: {AddressOf(page):x} is {(translated ? "" : "not ")}translated for {(write ? "writing" : "reading")}";
                if (translated && UseFrame(process.Model[page]!, page, frame, write) is { } wrong)
                    return $"walker: {wrong}";
            }
            return null;
        }

        private string? UseFrame(ModelPage page, int index, Pfn frame, bool write)
        {
            if (write)
                PageAllocator.SetFlags(ref sequence._machine.Pages[sequence._machine.Pages.HeadOf(frame)], PageFlags.Dirty);
            return sequence.Use(page, AddressOf(index), frame, write);
        }
    }

    /// <summary>Whether the tables map an address to a frame now, with no fewer rights. Leaves accessed flags alone.</summary>
    private static bool IsMapped(Kernel.Memory.Mm mm, ulong address, Pfn frame, bool writable)
    {
        ulong* entry = mm.Tables.Find(address, out int level);
        return entry is not null && (*entry & (ulong)Pte.Present) != 0 && PageTables.FrameOf(*entry, address, level) == frame
            && (!writable || (*entry & (ulong)Pte.Writable) != 0);
    }

    /// <summary>A shadow with its own table. A broken one forgets to forget the last page of what changes.</summary>
    private sealed class Mirror(bool broken) : MmuIntervalNotifier
    {
        private readonly Dictionary<ulong, (Pfn Frame, bool Writable)> _table = [];

        public int Count => _table.Count;

        public void Set(ulong address, Pfn frame, bool writable) => _table[address] = (frame, writable);

        public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
        {
            SetSequence(sequence);
            ulong end = broken ? range.End - 0x1000 : range.End;
            foreach (ulong page in _table.Keys)
            {
                if (page >= range.Start && page < end)
                    _table.Remove(page);
            }
            return true;
        }

        public string? Check(Kernel.Memory.Mm mm)
        {
            foreach ((ulong address, (Pfn frame, bool writable)) in _table)
            {
                if (!IsMapped(mm, address, frame, writable))
                    return $"the mirror has {frame} for {address:x}{(writable ? ", writable" : "")}, the tables do not";
            }
            return null;
        }
    }

    /// <summary>A device that walks the tables and is told where CPUs flush.</summary>
    private sealed class Walker : MmuNotifier
    {
        private readonly Dictionary<ulong, (Pfn Frame, bool Writable)> _tlb = [];

        public override MmuNotifierOps Ops => MmuNotifierOps.ArchInvalidateSecondaryTlbs | MmuNotifierOps.Release;

        public int Count => _tlb.Count;

        // Later flushes of the ending process are not told any more.
        public override void Release(Task? task, Kernel.Memory.Mm mm) => _tlb.Clear();

        public bool TryTranslate(Kernel.Memory.Mm mm, ulong address, bool write, out Pfn frame)
        {
            if (_tlb.TryGetValue(address, out (Pfn Frame, bool Writable) cached) && (cached.Writable || !write))
            {
                frame = cached.Frame;
                return true;
            }
            if (!mm.TryWalk(address, write, out frame))
                return false;
            _tlb[address] = (frame, write);
            return true;
        }

        public override void ArchInvalidateSecondaryTlbs(Task? task, Kernel.Memory.Mm mm, ulong start, ulong end)
        {
            foreach (ulong page in _tlb.Keys)
            {
                if (page >= start && page < end)
                    _tlb.Remove(page);
            }
        }

        public string? Check(Kernel.Memory.Mm mm)
        {
            foreach ((ulong address, (Pfn frame, bool writable)) in _tlb)
            {
                if (!IsMapped(mm, address, frame, writable))
                    return $"the walker has {frame} for {address:x}{(writable ? ", writable" : "")}, the tables do not";
            }
            return null;
        }
    }

    /// <summary>Each start has its end, and nothing comes after release.</summary>
    private sealed class Balance : MmuNotifier
    {
        private readonly List<(ulong, ulong, MmuNotifyEvent)> _open = [];
        private string? _wrong;

        public override MmuNotifierOps Ops => MmuNotifierOps.InvalidateRangeStart | MmuNotifierOps.InvalidateRangeEnd | MmuNotifierOps.Release;

        public bool IsReleased { get; private set; }

        public override int InvalidateRangeStart(Task? task, in MmuNotifierRange range)
        {
            if (IsReleased)
                _wrong ??= "a range begins after release";
            _open.Add((range.Start, range.End, range.Event));
            return 0;
        }

        public override void InvalidateRangeEnd(Task? task, in MmuNotifierRange range)
        {
            if (!_open.Remove((range.Start, range.End, range.Event)))
                _wrong ??= $"the end of {range.Event} {range.Start:x}-{range.End:x} has no start";
        }

        public override void Release(Task? task, Kernel.Memory.Mm mm) => IsReleased = true;

        public string? Check() => _wrong ?? (_open.Count > 0 ? $"{_open[0]} has not ended" : null);
    }
}
