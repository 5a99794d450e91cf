using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>What the machine's frames are used for, in frames: counted when somebody asks, so that it costs nothing before and is never wrong.</summary>
internal readonly struct MemoryCensus
{
    private MemoryCensus(long anonymous, long files, long shmem, long mapped, long dirty, long lazyFree)
    {
        Anonymous = anonymous;
        Files = files;
        Shmem = shmem;
        Mapped = mapped;
        Dirty = dirty;
        LazyFree = lazyFree;
    }

    /// <summary>Private memory that is mapped (NR_ANON_MAPPED).</summary>
    public long Anonymous { get; }

    /// <summary>Pages of files and of shmem (NR_FILE_PAGES, without the swap cache).</summary>
    public long Files { get; }

    public long Shmem { get; }

    /// <summary>Pages of files and of shmem that are mapped (NR_FILE_MAPPED).</summary>
    public long Mapped { get; }

    /// <summary>Pages of host files that are still to be written (NR_FILE_DIRTY).</summary>
    public long Dirty { get; }

    /// <summary>Pages given to MADV_FREE.</summary>
    public long LazyFree { get; }

    public static MemoryCensus Of(PageAllocator pages)
    {
        long anonymous = 0, files = 0, shmem = 0, mapped = 0, dirty = 0, lazyFree = 0;
        for (ulong i = 0, span = pages.UsedSpan; i < span; i++)
        {
            Pfn frame = pages.UsedFrame(i), head = pages.HeadOf(frame);
            ref Page page = ref pages[frame];
            PageFlags flags = pages[head].Flags;
            if ((flags & (PageFlags.Free | PageFlags.HugeTlb)) != 0)
                continue;
            bool isMapped = page.MapCount > 0 || ((flags & PageFlags.Head) != 0 && pages.EntireMapCount(head) > 0);
            if ((flags & PageFlags.Anon) != 0)
            {
                anonymous += isMapped ? 1 : 0;
                lazyFree += (flags & PageFlags.LazyFree) != 0 ? 1 : 0;
            }
            else if ((flags & PageFlags.Cache) != 0)
            {
                bool isShmem = (flags & PageFlags.SwapBacked) != 0;
                files++;
                shmem += isShmem ? 1 : 0;
                mapped += isMapped ? 1 : 0;
                dirty += !isShmem && (flags & PageFlags.Dirty) != 0 ? 1 : 0;
            }
        }
        return new MemoryCensus(anonymous, files, shmem, mapped, dirty, lazyFree);
    }
}
