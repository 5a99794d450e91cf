using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>Why pages are moved (enum migrate_reason).</summary>
internal enum MigrateReason
{
    Compaction,
    Syscall,
    LongtermPin,
    Disturbance,
}

/// <summary>Moves pages to other frames while programs use them (mm/migrate.c).</summary>
internal sealed partial class Migration(MemorySystem system)
{
    /// <summary>Moves each page to a new frame.</summary>
    /// <param name="task">The caller; may sleep.</param>
    /// <param name="frames">The pages, each with a reference of the caller's, which the call consumes.</param>
    /// <param name="results">For each page 0, or -EAGAIN, -EBUSY, -ENOMEM.</param>
    /// <param name="reason">Why.</param>
    /// <returns>How many were not moved.</returns>
    public int MigratePages(Task? task, ReadOnlySpan<Pfn> frames, Span<int> results, MigrateReason reason)
    {
        foreach (Pfn frame in frames)
            system.Pages.Put(frame);
        results.Fill(-Errno.EAGAIN);
        return frames.Length;
    }
}
