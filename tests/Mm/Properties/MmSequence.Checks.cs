using Emulator.Hardware.Memory;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Memory;

namespace Emulator.Tests.Mm.Properties;

/// <summary>What must hold after each step. Nothing here changes the machine's state.</summary>
internal sealed unsafe partial class MmSequence
{
    private string? Check()
    {
        for (int i = 0; i < _processes.Count; i++)
        {
            SimulatedProcess process = _processes[i];
            string? wrong = CheckVmas(process) ?? CheckEntries(process) ?? process.Devices?.Check();
            if (wrong is not null)
                return $"process {i}: {wrong}";
        }
        return CheckTaken() ?? CheckFrames() ?? CheckRules();
    }

    /// <summary>VMAs cover what the model has, with its permissions, and are counted right.</summary>
    private static string? CheckVmas(SimulatedProcess process)
    {
        AddressSpaceModel model = process.Model;
        ulong pages = 0, locked = 0, previousEnd = 0;
        foreach (Vma vma in process.Mm.SnapshotVmas())
        {
            if (vma.Start < previousEnd || vma.End <= vma.Start)
                return $"VMA {vma} overlaps its predecessor or is empty";
            previousEnd = vma.End;
            pages += vma.Pages;
            for (int page = (int)((vma.Start - Area) >> 12); page < (int)((vma.End - Area) >> 12); page++)
            {
                if (model[page] is not { } expected)
                    return $"VMA {vma} maps {AddressOf(page):x}, which is not mapped";
                locked += expected.Locked ? 1UL : 0;
                if (((vma.Flags & VmFlags.Read) != 0) != expected.Readable || ((vma.Flags & VmFlags.Write) != 0) != expected.Writable
                    || vma.IsShared != expected.Shared || ((vma.Flags & VmFlags.Locked) != 0) != expected.Locked
                    || ((vma.Flags & VmFlags.DontCopy) != 0) != expected.NotForked || ((vma.Flags & VmFlags.WipeOnFork) != 0) != expected.WipedOnFork)
                    return $"VMA {vma} ({vma.Flags}) has not what page {AddressOf(page):x} is to have";
            }
        }
        if (pages != (ulong)model.Mapped || pages != process.Mm.TotalPages)
            return $"{pages} pages in VMAs, {process.Mm.TotalPages} counted, {model.Mapped} mapped";
        return locked == process.Mm.LockedPages ? null : $"{process.Mm.LockedPages} locked pages counted, {locked} there";
    }

    /// <summary>Whatever an entry maps is what the page shows, with no more rights than it has.</summary>
    private string? CheckEntries(SimulatedProcess process)
    {
        ulong address = Area, end = AddressOf(Step.AreaPages);
        PageTables tables = process.Mm.Tables;
        while (tables.NextRun(ref address, end, out ulong* entries, out int count, out int level))
        {
            ulong next = level > 0 ? PageTables.NextBoundary(address, end, level) : address + ((ulong)count << 12);
            for (; address < next; address += 4096, entries += level > 0 ? 0 : 1)
            {
                ulong entry = *entries;
                ModelPage? there = process.Model[(int)((address - Area) >> 12)];
                if (SwapEntry.TryDecode(entry, out SwapEntry swap) && swap.IsDevicePrivate
                    && (there is null || _deviceMemory[swap.Frame] is not { } kept || !there.Accepts(kept)))
                    return $"the device holds {_deviceMemory[swap.Frame]?.ToString() ?? "a torn page"} for {address:x}, expected {there?.Read()}";
                if (!PageTables.IsMapped(entry))
                    continue;
                if (there is null || there.IsBeyondEnd)
                    return $"an entry maps {address:x}, where nothing is to be had";
                if (((entry & (ulong)Pte.Present) != 0 && !there.Readable) || ((entry & (ulong)Pte.Writable) != 0 && !there.Writable))
                    return $"entry {entry:x} of {address:x} gives more than the mapping";
                ulong? seen = ReadMarks(PageTables.FrameOf(entry, address, level));
                if (seen is not { } value || !there.Accepts(value))
                    return $"the frame of {address:x} holds {seen?.ToString() ?? "a torn page"}, expected {there.Read()}";
            }
        }
        return null;
    }

    /// <summary>Pins stay with the page that they were taken of.</summary>
    private string? CheckTaken()
    {
        foreach (Taken taken in _taken)
        {
            if (taken.Content is { } content && ReadMarks(taken.Frame) != content.Value)
                return $"pinned {taken.Frame} holds {ReadMarks(taken.Frame)}, expected {content.Value}";
        }
        return null;
    }

    /// <summary>Counts, reverse maps and TLBs agree with page tables.</summary>
    private string? CheckFrames()
    {
        var held = new Dictionary<Pfn, int>();
        foreach (Taken taken in _taken)
        {
            Pfn head = _machine.Pages.HeadOf(taken.Frame);
            if (head != _machine.Pages.Zero)
                held[head] = held.GetValueOrDefault(head) + (taken.Pinned ? Page.PinBias : 1);
        }
        string[] errors = [.. new TlbChecker(_machine.MemorySystem, _machine.Platform.Vcpus).Check(), .. new MmChecker(_machine.MemorySystem).Check(held)];
        return errors.Length == 0 ? null : string.Join('\n', errors.Take(5));
    }

    private string? CheckRules()
    {
        if (_task.TlbBatch.FlushRequired)
            return "a flush of reclaim's is owed still";
        return _machine.Violations.Count == 0 ? null : _machine.Violations.All[0].ToString();
    }
}
