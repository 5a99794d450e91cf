using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// What a device has cached of the mappings it was given: direct-mapped, and true only as long as whoever takes a mapping back has it flushed. Used by one job
/// at a time.
/// </summary>
internal sealed class Iotlb
{
    private const int Entries = 64;

    private readonly (ulong Tag, Pfn Frame, uint Generation)[] _entries = new (ulong, Pfn, uint)[Entries];

    /// <summary>The frame behind a page of a buffer, and the generation that it had when the mapping was made.</summary>
    public (Pfn Frame, uint Generation) Translate(SgTable table, ulong page, DmaBufs counters)
    {
        ref (ulong Tag, Pfn Frame, uint Generation) entry = ref _entries[page % Entries];
        if (entry.Tag == page + 1)
        {
            counters.Count(DmaBufCounter.IotlbHits);
        }
        else
        {
            counters.Count(DmaBufCounter.IotlbMisses);
            entry = (page + 1, table.Frames[page], table.Generations[page]);
        }
        return (entry.Frame, entry.Generation);
    }

    public void Flush(DmaBufs counters)
    {
        counters.Count(DmaBufCounter.IotlbFlushes);
        Array.Clear(_entries);
    }
}
