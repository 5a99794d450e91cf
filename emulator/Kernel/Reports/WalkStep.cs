using System.Collections.Immutable;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Reports;

/// <summary>One entry that a walk of the page tables reads.</summary>
/// <param name="Level">3 for the root table, 0 for the lowest.</param>
/// <param name="Index">The entry's number in its table.</param>
/// <param name="Entry">What it holds.</param>
public readonly record struct WalkStep(int Level, int Index, ulong Entry)
{
    public bool IsPresent => (Entry & (ulong)Pte.Present) != 0;

    public bool IsLeaf => Level == 0 || (Entry & (ulong)Pte.PageSize) != 0;

    public Pfn Frame => PageTables.FrameOf(Entry);

    /// <summary>Walks tables as a processor does, without a lock and without leaving a trace.</summary>
    internal static unsafe ImmutableArray<WalkStep> Walk(PhysicalMemory memory, Pfn root, ulong address)
    {
        ImmutableArray<WalkStep>.Builder steps = ImmutableArray.CreateBuilder<WalkStep>(PageTable.RootLevel + 1);
        if (!PageTable.IsCanonical(address))
            return [];
        Pfn table = root;
        for (int level = PageTable.RootLevel; level >= 0; level--)
        {
            int index = PageTable.Index(address, level);
            var step = new WalkStep(level, index, Volatile.Read(ref ((ulong*)memory.Pointer(table))[index]));
            steps.Add(step);
            // Tables may be changing meanwhile: what is read is bounded by the memory that there is.
            if (!step.IsPresent || step.IsLeaf || step.Frame.Value >= memory.FrameCount)
                break;
            table = step.Frame;
        }
        return steps.ToImmutable();
    }
}
