using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What read(2), write(2) and their relatives do with the pages.</summary>
public abstract unsafe partial class PageCache
{
    /// <summary>Copies from the file, stopping at its end; holes read as zeroes and stay holes.</summary>
    /// <returns>Bytes copied, or a negative errno.</returns>
    public virtual long Read(ulong offset, Span<byte> buffer, Task? task = null)
    {
        ulong size = Size;
        if (offset >= size)
            return 0;
        int total = (int)Math.Min((ulong)buffer.Length, size - offset);
        for (int done = 0; done < total;)
        {
            ulong at = offset + (ulong)done;
            int inPage = (int)(at & 0xFFF);
            Span<byte> part = buffer.Slice(done, Math.Min(total - done, 4096 - inPage));
            long error = GetPage(task, at >> 12, NeedsFill, out Pfn frame);
            if (error == -Errno.ENOENT)
            {
                part.Clear();
            }
            else if (error < 0)
            {
                if (task is not null || !TryReadBeneath(at, part))
                    return done > 0 ? done : error;
            }
            else
            {
                new ReadOnlySpan<byte>(Pages.Memory.Pointer(frame) + inPage, part.Length).CopyTo(part);
                PageAllocator.MarkAccessed(ref Pages[frame]);
                Pages.Put(frame);
            }
            done += part.Length;
        }
        return total;
    }

    /// <summary>
    /// The kernel's own reading, for reports above all, gets by without a frame when there is none: what the cache does not have is as it lies beneath.
    /// </summary>
    private bool TryReadBeneath(ulong offset, Span<byte> part)
    {
        if (!NeedsFill)
            return false;
        byte[] page = new byte[4096];
        if (!Fill(offset >> 12, page))
            return false;
        page.AsSpan((int)(offset & 0xFFF), part.Length).CopyTo(part);
        return true;
    }

    /// <summary>Copies into the file, which grows as needed.</summary>
    /// <returns>Bytes copied (fewer than asked when memory runs out), or a negative errno.</returns>
    public virtual long Write(ulong offset, ReadOnlySpan<byte> buffer, Task? task = null)
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
