using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What read(2), write(2) and their relatives do with the pages.</summary>
public abstract unsafe partial class PageCache
{
    /// <summary>Copies from the file, stopping at its end; holes read as zeroes and stay holes.</summary>
    /// <param name="offset">Where in the file.</param>
    /// <param name="buffer">What to fill.</param>
    /// <param name="task">
    /// The caller. Null: the kernel reads for itself, for a report or before a task runs; it takes no frame then, waits for nobody and leaves
    /// the pages as they are.
    /// </param>
    /// <returns>Bytes copied, or a negative errno.</returns>
    public virtual long Read(ulong offset, Span<byte> buffer, Task? task)
    {
        ulong size = Size;
        if (offset >= size)
            return 0;
        int total = (int)Math.Min((ulong)buffer.Length, size - offset);
        for (int done = 0; done < total;)
        {
            ulong at = offset + (ulong)done;
            Span<byte> part = buffer.Slice(done, Math.Min(total - done, 4096 - (int)(at & 0xFFF)));
            long error = task is null ? Peek(at, part) : ReadPart(task, at, part);
            if (error < 0)
                return done > 0 ? done : error;
            done += part.Length;
        }
        return total;
    }

    /// <summary>Copies within a page, which is brought in.</summary>
    private long ReadPart(Task task, ulong offset, Span<byte> part)
    {
        long error = GetPage(task, offset >> 12, NeedsFill, out Pfn frame);
        if (error == -Errno.ENOENT)
        {
            part.Clear();
            return 0;
        }
        if (error < 0)
            return error;
        new ReadOnlySpan<byte>(Pages.Memory.Pointer(frame) + (offset & 0xFFF), part.Length).CopyTo(part);
        PageAllocator.MarkAccessed(ref Pages[frame]);
        Pages.Put(frame);
        return 0;
    }

    /// <summary>Copies within a page, which stays where it is: in memory, or beneath. What is swapped out is not read (-EIO).</summary>
    private long Peek(ulong offset, Span<byte> part)
    {
        ulong index = offset >> 12;
        Pfn frame;
        bool present;
        lock (_lock)
        {
            present = _index.TryGet(index, out frame);
            if (present)
                Pages.Get(frame);
            else if (_swapped.TryGet(index, out _))
                return -Errno.EIO;
        }
        if (present)
        {
            new ReadOnlySpan<byte>(Pages.Memory.Pointer(frame) + (offset & 0xFFF), part.Length).CopyTo(part);
            Pages.Put(frame);
            return 0;
        }
        if (!NeedsFill)
        {
            part.Clear();
            return 0;
        }
        byte[] page = new byte[4096];
        if (!Fill(index, page))
            return -Errno.EIO;
        page.AsSpan((int)(offset & 0xFFF), part.Length).CopyTo(part);
        return 0;
    }

    /// <summary>Copies into the file, which grows as needed.</summary>
    /// <returns>Bytes copied (fewer than asked when memory runs out), or a negative errno.</returns>
    public virtual long Write(ulong offset, ReadOnlySpan<byte> buffer, Task? task)
    {
        if (offset > MaxSize || (ulong)buffer.Length > MaxSize - offset)
            return -Errno.EFBIG;
        int done = 0;
        while (done < buffer.Length)
        {
            ulong at = offset + (ulong)done;
            int inPage = (int)(at & 0xFFF);
            ReadOnlySpan<byte> part = buffer.Slice(done, Math.Min(buffer.Length - done, 4096 - inPage));
            long error = GetPage(task, at >> 12, create: true, out Pfn frame, zero: part.Length == 4096 || (at & ~0xFFFUL) >= Size);
            if (error < 0)
                return done > 0 ? done : error;
            Pages.Memory.BeforeWrite(frame);
            part.CopyTo(new Span<byte>(Pages.Memory.Pointer(frame) + inPage, part.Length));
            MarkDirty(frame);
            PageAllocator.MarkAccessed(ref Pages[frame]);
            Pages.Put(frame);
            done += part.Length;
            GrowTo(at + (ulong)part.Length);
        }
        return done;
    }

    private protected void GrowTo(ulong size)
    {
        lock (_lock)
        {
            if (size > Size)
                Size = size;
        }
    }

    /// <summary>Clears what of [start, end) lies outside the whole pages [first, behind), if there are any.</summary>
    private protected void ClearEdges(Task? task, ulong start, ulong end, ulong first, ulong behind)
    {
        if (first > behind)
        {
            ClearRange(task, start, end);
            return;
        }
        ClearRange(task, start, first << 12);
        ClearRange(task, behind << 12, end);
    }

    /// <summary>Clears the bytes [start, end) of one page if it is present.</summary>
    private protected void ClearRange(Task? task, ulong start, ulong end)
    {
        if (start >= end || GetPage(task, start >> 12, create: false, out Pfn frame) < 0)
            return;
        Pages.Memory.BeforeWrite(frame);
        new Span<byte>(Pages.Memory.Pointer(frame) + (start & 0xFFF), (int)(end - start)).Clear();
        MarkDirty(frame);
        Pages.Put(frame);
    }
}
