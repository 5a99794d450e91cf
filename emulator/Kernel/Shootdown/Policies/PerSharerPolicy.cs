using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>flush_tlb_mm_range for each mapping of the file, at its own address.</summary>
/// <remarks>
/// Each step is the ordinary flush of an address space that vCPUs do load, with all its rules: the generation is raised before the mask is read,
/// while a switch enters the mask before it reads the generation; lazy vCPUs and slots that were kept find the generation raised.
/// A region mapped twice has two entries in the list. Sharers that come late have linked late (see <see cref="SharedFlushPolicy"/>).
/// </remarks>
internal sealed class PerSharerPolicy : SharedFlushPolicy
{
    public override string Name => "per-sharer";

    public override string Summary => "flush_tlb_mm_range for each sharer in turn";

    public override string Source => "Dave Hansen, 2 October 2024, same thread: \"for each vma in inode->i_mmap\"";

    public override string Price => "one generation and one round of interrupts for each sharer: a vCPU that several of them have run on is interrupted again and again";

    public override string Limits => "walks all sharers under the page-table lock; in v3, where munmap leaves the link, misses sharers that are no longer in i_mmap";

    internal override void Flush(in SharedFlush flush) => FlushEach(flush);

    internal static void FlushEach(in SharedFlush flush)
    {
        foreach (ref readonly Sharer sharer in flush.Sharers)
        {
            if (!sharer.TryTranslate(flush.Start, flush.End, out ulong start, out ulong end))
                continue;
            flush.Counts[ShootdownCounter.GenerationsRaised]++;
            flush.Shootdown.FlushCpus(flush.Self, sharer.Mm, start, end, flush.StrideShift, flush.FreedTables);
        }
    }
}
