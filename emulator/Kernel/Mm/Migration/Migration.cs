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

/// <summary>
/// Moves pages to other frames while programs use them (mm/migrate.c). For each page: lock it, replace its entries by migration entries,
/// flush, and if nobody but us then has a reference, copy it, put the new frame in its owner's hands and turn the entries into mappings
/// of that. Otherwise the entries get the old frame back.
/// </summary>
internal sealed partial class Migration(MemorySystem system)
{
    /// <summary>Attempts at a page that others refer to for a moment (NR_MAX_MIGRATE_PAGES_RETRY).</summary>
    private const int Attempts = 10;

    private const PageFlags Movable = PageFlags.Anon | PageFlags.Cache;

    private const PageFlags Unmovable = PageFlags.Reserved | PageFlags.Table | PageFlags.Free | PageFlags.Tail | PageFlags.HugeTlb;

    /// <summary>What the new frame takes over besides its contents (folio_migrate_flags).</summary>
    private const PageFlags Inherited = Movable | PageFlags.SwapBacked | PageFlags.Dirty | PageFlags.LazyFree | PageFlags.Referenced | PageFlags.Unused;

    private PageAllocator Pages => system.Pages;

    /// <summary>A page on its way.</summary>
    private struct Move
    {
        public Pfn Old;
        public Pfn New;
        public Rmap.Place Place;
        public bool Unmapped;
    }

    /// <summary>Moves each page to a new frame.</summary>
    /// <param name="task">The caller; may sleep.</param>
    /// <param name="frames">The pages, each with a reference of the caller's, which the call consumes.</param>
    /// <param name="results">For each page 0, or -EBUSY: not of a kind that moves, -EAGAIN: in use, -ENOMEM.</param>
    /// <param name="reason">Why.</param>
    /// <returns>How many were not moved.</returns>
    public int MigratePages(Task? task, ReadOnlySpan<Pfn> frames, Span<int> results, MigrateReason reason)
    {
        results[..frames.Length].Fill(-Errno.EAGAIN);
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            int waiting = MigrateBatch(task, frames, results, wait: attempt >= 3 && reason != MigrateReason.Disturbance);
            if (waiting == 0)
                break;
            task?.PreemptionPoint();
        }
        int failed = 0;
        for (int i = 0; i < frames.Length; i++)
        {
            Pages.Put(frames[i]);
            if (results[i] != 0)
                failed++;
        }
        task?.TlbBatch.Freed(task);
        system.Events.Count(VmEvent.MigrateSuccess, frames.Length - failed);
        system.Events.Count(VmEvent.MigrateFail, failed);
        return failed;
    }

    /// <summary>One attempt at all pages that are still to move: all are unmapped first, so that one flush serves them (migrate_pages_batch).</summary>
    /// <returns>How many may succeed another time.</returns>
    private int MigrateBatch(Task? task, ReadOnlySpan<Pfn> frames, Span<int> results, bool wait)
    {
        var moves = new Move[frames.Length];
        for (int i = 0; i < frames.Length; i++)
        {
            if (results[i] == -Errno.EAGAIN)
                results[i] = IsHuge(frames[i]) ? MigrateHuge(task, frames[i]) : Unmap(task, frames[i], wait && frames.Length == 1, ref moves[i]);
        }
        task?.TlbBatch.TryToUnmapFlush(task.Vcpu);
        int waiting = 0;
        for (int i = 0; i < frames.Length; i++)
        {
            if (moves[i].New != default)
                results[i] = Finish(task, in moves[i]);
            if (results[i] == -Errno.EAGAIN)
                waiting++;
        }
        return waiting;
    }

    /// <summary>migrate_folio_unmap: 0 with the move begun and both frames locked, -EAGAIN with the move begun or not, -EBUSY, -ENOMEM.</summary>
    private int Unmap(Task? task, Pfn frame, bool wait, ref Move move)
    {
        PageFlags flags = Pages[frame].Flags;
        if ((flags & Movable) == 0 || (flags & Unmovable) != 0)
            return -Errno.EBUSY;
        if (!Pages.TryAllocate(flags & (Movable | PageFlags.SwapBacked), zero: false, out Pfn replacement))
            return -Errno.ENOMEM;
        if (wait)
        {
            system.PageLocks.Lock(task, frame);
        }
        else if (!system.PageLocks.TryLock(frame))
        {
            Pages.Put(replacement);
            return -Errno.EAGAIN;
        }
        // Locked before anybody can find it: it is not to be taken away before its entries are there.
        system.PageLocks.Lock(task, replacement);
        move = new Move { Old = frame, New = replacement, Place = system.Rmap.PlaceOf(frame) };
        if (Volatile.Read(ref Pages[frame].MapCount) > 0 && !Pages[frame].MaybePinned)
            move.Unmapped = system.Rmap.TryToMigrate(task, move.Place, frame, TtuFlags.BatchFlush);
        else
            move.Unmapped = Volatile.Read(ref Pages[frame].MapCount) == 0;
        return 0;
    }

    /// <summary>migrate_folio_move, or the way back.</summary>
    private int Finish(Task? task, in Move move)
    {
        bool moved = move.Unmapped && TryMove(move);
        Pfn current = moved ? move.New : move.Old;
        Rmap.RemoveMigrationEntries(task, move.Place, move.Old, current);
        system.PageLocks.Unlock(move.New);
        system.PageLocks.Unlock(move.Old);
        // Who took the last entry away meanwhile could not have the lock to do it.
        system.ReleaseSwapCache(current);
        // Its entries and its owner have references of their own; a frame that was not needed goes.
        Pages.Put(move.New);
        return moved ? 0 : -Errno.EAGAIN;
    }

    /// <summary>Puts the new frame in the place of the old one if nobody else refers to that (folio_migrate_mapping and folio_copy).</summary>
    private bool TryMove(in Move move)
    {
        ref Page old = ref Pages[move.Old];
        if (move.Place.Cache is { } cache)
            return cache.TryReplace(move.Old, move.New, move.Place.Index);
        if (!old.IsAnon)
            return false;
        if ((old.Flags & PageFlags.SwapCache) != 0)
            return system.Swap.TryReplace(move.Old, move.New, CopyAnon);
        // Unmapped, locked and in no cache: only who has it already could pass it on.
        if (Volatile.Read(ref old.RefCount) != 1)
            return false;
        CopyAnon(move.Old, move.New);
        return true;
    }

    /// <summary>folio_copy and folio_migrate_flags. In bounds: Pointer refuses frames that the machine does not have, and a page is in one frame.</summary>
    internal static unsafe void Copy(PageAllocator pages, Pfn old, Pfn replacement)
    {
        Buffer.MemoryCopy(pages.Memory.Pointer(old), pages.Memory.Pointer(replacement), (long)Pfn.Size, (long)Pfn.Size);
        PageAllocator.SetFlags(ref pages[replacement], pages[old].Flags & Inherited);
    }

    private void CopyAnon(Pfn old, Pfn replacement)
    {
        Copy(Pages, old, replacement);
        MoveIdentity(old, replacement);
    }

    /// <summary>All that makes a frame another anonymous page's, but for its data (folio_migrate_flags).</summary>
    private void MoveIdentity(Pfn old, Pfn replacement)
    {
        ref Page page = ref Pages[replacement];
        PageAllocator.SetFlags(ref page, Pages[old].Flags & Inherited);
        page.Index = Pages[old].Index;
        Volatile.Write(ref page.Owner, Pages[old].Owner);
    }

    /// <summary>Moves everything that moves, lowest frames first (/proc/sys/vm/compact_memory).</summary>
    /// <returns>Pages moved.</returns>
    public int Compact(Task? task)
    {
        const int Batch = 32;
        Span<Pfn> frames = stackalloc Pfn[Batch];
        Span<int> results = stackalloc int[Batch];
        int moved = 0, count = 0;
        ulong total = Pages.Memory.FrameCount;
        ulong span = Pages.UsedSpan;
        for (ulong position = 0; position < span; position++)
        {
            Pfn frame = Pages.UsedFrame(position);
            if (frame.Value < total && TryIsolate(frame))
                frames[count++] = frame;
            if (count == Batch || (position == span - 1 && count > 0))
            {
                moved += count - MigratePages(task, frames[..count], results, MigrateReason.Compaction);
                count = 0;
            }
        }
        return moved;
    }

    /// <summary>Takes a reference to a frame if it is of a kind that moves (isolate_migratepages_block).</summary>
    internal bool TryIsolate(Pfn frame)
    {
        PageFlags flags = Pages[frame].Flags;
        if ((flags & Movable) == 0 || (flags & Unmovable) != 0 || !Pages.TryGet(frame))
            return false;
        // It may have been freed and reused meanwhile; it cannot be from now on.
        flags = Pages[frame].Flags;
        if ((flags & Movable) != 0 && (flags & Unmovable) == 0)
            return true;
        Pages.Put(frame);
        return false;
    }
}
