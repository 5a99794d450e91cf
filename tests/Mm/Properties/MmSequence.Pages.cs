using System.Buffers.Binary;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;

namespace Emulator.Tests.Mm.Properties;

/// <summary>Operations on frames: pins, references, migration, access from another process.</summary>
internal sealed unsafe partial class MmSequence
{
    private string? Take(SimulatedProcess p, int start, int pages, int r, bool pin)
    {
        bool write = r % 2 == 0, longterm = r / 2 % 2 == 0;
        FollFlags flags = (write ? FollFlags.Write : FollFlags.None) | (longterm ? FollFlags.Longterm : FollFlags.None);
        Span<Pfn> frames = stackalloc Pfn[pages];
        int expected = p.Model.Accessible(start, pages, write);
        int taken = pin ? p.Mm.PinUserPages(_task, AddressOf(start), flags, frames) : p.Mm.GetUserPages(_task, AddressOf(start), flags, frames);
        bool poolIsEmpty = taken < expected && p.Model.HasHuge(start, pages);
        if (taken != expected && !poolIsEmpty && (expected != 0 || taken != -Errno.EFAULT))
            return $"{taken} pages taken, expected {expected}";
        for (int i = 0; i < taken; i++)
        {
            ModelPage page = p.Model[start + i]!;
            ModelContent? content = null;
            if (write || (pin && longterm && !page.Shared))
                content = page.ForWrite();
            else if (pin)
                content = page.Shared ? page.ForWrite() : page.Private;
            ulong? seen = ReadMarks(frames[i]);
            if (seen is not { } value || !page.Accepts(value))
                return $"the page taken of {AddressOf(start + i):x} holds {seen}, expected {page.Read()}";
            // Only a pin keeps the page where it is, and what may vanish is not a page to rely on.
            _taken.Add(new Taken(frames[i], pin, pin && write, pin && !page.MayVanish ? content : null));
        }
        return null;
    }

    private string? GiveSomeBack(int r)
    {
        int count = r % 3 == 0 ? _taken.Count : Math.Min(_taken.Count, r % 5);
        foreach (Taken taken in _taken.GetRange(0, count))
            GiveBack(taken);
        _taken.RemoveRange(0, count);
        return null;
    }

    private void GiveBack(Taken taken)
    {
        if (taken.Pinned)
            _task.Mm.UnpinUserPages([taken.Frame], taken.Writable);
        else if (taken.Frame != _machine.Pages.Zero)
            _machine.Pages.Put(taken.Frame);
    }

    /// <summary>A device writes to what is pinned for it.</summary>
    private string? WriteThroughPins()
    {
        foreach (Taken taken in _taken)
        {
            if (!taken.Writable || taken.Content is not { } content)
                continue;
            content.Value = ++_lastMark;
            WriteMarks(taken.Frame, _lastMark);
        }
        return null;
    }

    /// <summary>Moves the pages of a range that can be.</summary>
    private string? Migrate(SimulatedProcess p, int start, int pages)
    {
        var frames = new List<Pfn>();
        foreach (int page in Sample(start, pages, 0))
        {
            if (p.Mm.Tables.Find(AddressOf(page)) is var entry && entry is not null && PageTables.IsMapped(*entry)
                && !frames.Contains(PageTables.FrameOf(*entry)) && _machine.MemorySystem.Migration.TryIsolate(PageTables.FrameOf(*entry)))
                frames.Add(PageTables.FrameOf(*entry));
        }
        _machine.MemorySystem.Migration.MigratePages(_task, frames.ToArray(), new int[frames.Count], MigrateReason.Disturbance);
        return null;
    }

    /// <summary>process_vm_writev and process_vm_readv, or with force what a debugger does.</summary>
    private string? AccessRemotely(SimulatedProcess p, int start, int pages, bool write, bool force)
    {
        for (int i = start; i < start + pages; i++)
        {
            ModelPage? page = p.Model[i];
            // PROT_NONE may be forced as well, but only copies of it.
            if (force && page is { Readable: false } or { Huge: true })
                continue;
            bool allowed = page is { IsBeyondEnd: false, Readable: true } && (!write || page.Writable || (force && !page.Shared));
            ulong value = ++_lastMark;
            int done = write ? p.Mm.WriteMemory(_task, AddressOf(i), PageOf(value), force) : p.Mm.ReadMemory(_task, AddressOf(i), _buffer, force);
            if (done == 0 && page is { Huge: true })
                continue;
            if (done != (allowed ? 4096 : 0))
                return $"{(write ? "write" : "read")} of {AddressOf(i):x} from outside: {done} bytes, expected {(allowed ? 4096 : 0)}";
            if (!allowed)
                continue;
            if (write)
                page!.Write(value);
            else if (!page!.Accepts(BinaryPrimitives.ReadUInt64LittleEndian(_buffer)))
                return $"{AddressOf(i):x} holds {BinaryPrimitives.ReadUInt64LittleEndian(_buffer)} from outside, expected {page.Read()}";
        }
        return null;
    }

    private string? Attach(SimulatedProcess p, bool broken)
    {
        if (p.Devices is not null)
        {
            p.Devices.Detach();
            p.Devices = null;
            return null;
        }
        p.Devices = new Devices(this, p, broken);
        return p.Devices.Attach();
    }
}
