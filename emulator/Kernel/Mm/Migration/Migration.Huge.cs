using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>Transparent huge pages move as they are, or are split.</summary>
internal sealed partial class Migration
{
    private bool IsHuge(Pfn frame) => (Pages[frame].Flags & PageFlags.Head) != 0;

    /// <summary>
    /// Moves a huge page that one leaf maps to another one that is free (unmap_and_move of a folio of 2 MiB). Where there is none, or the page is
    /// shared, it is split, and its frames move one by one if they are asked for again.
    /// </summary>
    /// <returns>0, or -EAGAIN: it was split, or is in use.</returns>
    private int MigrateHuge(Task? task, Pfn head)
    {
        const int CallersReference = 1;
        bool moved = false;
        if (Volatile.Read(ref Pages.EntireMapCount(head)) == 1 && Pages.TryAllocate(PageAllocator.HugeOrder, PageFlags.Anon, zero: false, out Pfn replacement))
        {
            if (system.PageLocks.TryLock(head))
            {
                moved = MoveLeaf(task, head, replacement, CallersReference);
                system.PageLocks.Unlock(head);
            }
            if (!moved)
                Pages.Put(replacement);
        }
        if (moved)
        {
            system.Events.Count(VmEvent.ThpMigrationSuccess);
            return 0;
        }
        if (system.HugePages.SplitPage(task, head, CallersReference) == 0)
            system.Events.Count(VmEvent.ThpMigrationSplit);
        return -Errno.EAGAIN;
    }

    private struct LeafMove
    {
        public Task? Task;
        public Pfn Old;
        public Pfn New;
        public int References;
        public bool Moved;
    }

    private bool MoveLeaf(Task? task, Pfn head, Pfn replacement, int references)
    {
        var move = new LeafMove { Task = task, Old = head, New = replacement, References = references };
        Rmap.Place place = system.Rmap.PlaceOf(head);
        Rmap.Walk(task, place, ref move, static (Vma vma, ulong address, ref LeafMove m) =>
        {
            m.Moved = vma.Mm.TryMigrateLeaf(m.Task, address, m.Old, m.New, m.References);
            return !m.Moved;
        });
        return move.Moved;
    }

    /// <summary>Makes a new huge page what another one was, which nobody refers to any more.</summary>
    internal unsafe void CopyHuge(Pfn old, Pfn replacement)
    {
        Buffer.MemoryCopy(Pages.HugePointer(old), Pages.HugePointer(replacement), (long)PageTables.HugeSize, (long)PageTables.HugeSize);
        PageAllocator.SetFlags(ref Pages[replacement], Pages[old].Flags & PageFlags.AnonExclusive);
        MoveIdentity(old, replacement);
    }
}
