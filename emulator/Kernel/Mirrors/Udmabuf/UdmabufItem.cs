using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>A run of pages of one file within a buffer.</summary>
/// <param name="File">Of shmem or hugetlbfs.</param>
/// <param name="First">Its first page in the file.</param>
/// <param name="Pages">How many.</param>
/// <param name="Start">Its first page in the buffer.</param>
internal sealed record UdmabufItem(PageCache File, ulong First, ulong Pages, ulong Start)
{
    public ulong Last => First + Pages - 1;

    /// <summary>The part of the buffer that pages [first, last] of the file are in; false: none.</summary>
    public bool TryIntersect(ulong first, ulong last, out ulong from, out ulong to)
    {
        ulong low = Math.Max(first, First), high = Math.Min(last, Last);
        (from, to) = (Start + (low - First), Start + (high - First));
        return low <= high;
    }

    /// <summary>Finds a page of the file, with a reference; holes are filled with zeroes (memfd_pin_folios, shmem_read_mapping_page).</summary>
    /// <param name="task">The caller.</param>
    /// <param name="index">The page in the file.</param>
    /// <param name="fillHuge">Also holes of hugetlb.</param>
    /// <param name="frame">The frame.</param>
    /// <returns>0, -EINVAL beyond the end of the file, -ENOMEM.</returns>
    public int Lookup(Task? task, ulong index, bool fillHuge, out Pfn frame)
    {
        frame = default;
        if (index >= (File.Size + 0xFFF) >> Pfn.Shift)
            return -Errno.EINVAL;
        if (File is not HugeTlbPageCache huge)
            return File.GetPage(task, index, create: true, out frame) == 0 ? 0 : -Errno.ENOMEM;
        int shift = huge.Pool.Shift - Pfn.Shift;
        if (!fillHuge && !huge.TryGetHuge(index >> shift, out frame))
            return -Errno.EINVAL;
        if (fillHuge && !huge.TryGetOrAdd(task, index >> shift, out frame))
            return -Errno.ENOMEM;
        frame = new Pfn(frame.Value + (index & ((1UL << shift) - 1)));
        return 0;
    }

    /// <summary>Whether each of its huge pages is there already; true of shmem, which has none.</summary>
    public bool HasHugePages(PageAllocator pages)
    {
        if (File is not HugeTlbPageCache huge)
            return true;
        int shift = huge.Pool.Shift - Pfn.Shift;
        for (ulong index = First >> shift; index <= Last >> shift; index++)
        {
            if (!huge.TryGetHuge(index, out Pfn frame))
                return false;
            pages.Put(frame);
        }
        return true;
    }

    /// <summary>Whether a frame is, now, what the file has at a page of the buffer; of a file that is gone, the buffer's pages are all there is.</summary>
    public bool Holds(PageAllocator pages, ulong page, Pfn frame)
    {
        ulong index = First + (page - Start);
        Pfn head = pages.HeadOf(frame);
        return !File.HasUsers || frame.Value - head.Value <= index && File.Holds(head, index - (frame.Value - head.Value));
    }
}
