using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What all migrations to and from devices come down to (mm/migrate_device.c). Each source is locked, and referred to once by the migration.</summary>
internal sealed partial class Migration
{
    /// <summary>Takes the pages out of the tables where they still are (migrate_device_unmap). Those that others use go back, and are no sources any more.</summary>
    public void UnmapForDevice(Task? task, Span<MigratePfn> source, Pfn faultPage)
    {
        foreach (ref MigratePfn page in source)
        {
            if (!page.HasPage)
                continue;
            ref int mapCount = ref Pages[page.Frame].MapCount;
            if (Volatile.Read(ref mapCount) > 0)
            {
                Rmap.Place place = system.Rmap.PlaceOf(page.Frame);
                system.Rmap.TryToMigrate(task, place, page.Frame, TtuFlags.None);
            }
            page = page with { Migrate = Volatile.Read(ref mapCount) == 0 && IsUnused(page.Frame, faultPage) };
        }
        foreach (ref MigratePfn page in source)
        {
            if (!page.HasPage || page.Migrate)
                continue;
            Restore(task, page.Frame, page.Frame);
            Release(page.Frame, faultPage);
            page = default;
        }
    }

    /// <summary>migrate_vma_check_page: nobody but the migration, the fault that it serves, and the page's cache refers to the page.</summary>
    private bool IsUnused(Pfn frame, Pfn faultPage)
    {
        ref Page page = ref Pages[frame];
        int known = frame == faultPage ? 2 : 1;
        if ((page.Flags & (PageFlags.Cache | PageFlags.SwapCache)) != 0)
            known++;
        return Volatile.Read(ref page.RefCount) <= known;
    }

    /// <summary>Puts each destination in the place of its source; where that fails the source loses its mark (__migrate_device_pages).</summary>
    public void MoveForDevice(Task? task, Span<MigratePfn> source, ReadOnlySpan<MigratePfn> destination, MigrateVma? args)
    {
        MmuNotifierRange? announced = null;
        for (int i = 0; i < source.Length; i++)
        {
            if (!source[i].Migrate)
                continue;
            bool moved = destination[i].HasPage;
            if (moved && source[i].HasPage)
            {
                moved = TryMoveForDevice(source[i].Frame, destination[i].Frame, args?.FaultPage ?? default);
            }
            else if (moved && args is not null)
            {
                ulong address = args.Start + ((ulong)i << Pfn.Shift);
                if (announced is null)
                {
                    announced = new MmuNotifierRange(args.Vma.Mm, address, args.End, MmuNotifyEvent.Migrate, Owner: args.PagemapOwner);
                    args.Vma.Mm.InvalidateRangeStart(task, announced.Value);
                }
                moved = args.Vma.Mm.InsertMigrated(task, args.Vma, address, destination[i].Frame);
            }
            source[i] = source[i] with { Migrate = moved };
        }
        if (announced is { } range)
            args!.Vma.Mm.InvalidateRangeEnd(task, range);
    }

    private bool TryMoveForDevice(Pfn old, Pfn replacement, Pfn faultPage)
    {
        ref Page page = ref Pages[old];
        // A device's memory takes anonymous pages only, and none that the swap area has a copy of.
        if (!page.IsAnon || ((page.Flags & PageFlags.SwapCache) != 0 && !system.TryFreeSwap(old)))
            return false;
        if (Volatile.Read(ref page.RefCount) != (old == faultPage ? 2 : 1))
            return false;
        MoveIdentity(old, replacement);
        return true;
    }

    /// <summary>Maps what there is now where the sources were, and lets go of everything (migrate_device_finalize).</summary>
    public void CompleteForDevice(Task? task, ReadOnlySpan<MigratePfn> source, ReadOnlySpan<MigratePfn> destination, Pfn faultPage)
    {
        for (int i = 0; i < source.Length; i++)
        {
            Pfn old = source[i].Frame, replacement = destination[i].Frame;
            if (source[i].HasPage)
            {
                Restore(task, old, source[i].Migrate && destination[i].HasPage ? replacement : old);
                Release(old, faultPage);
            }
            if (destination[i].HasPage)
                Release(replacement, default);
        }
    }

    private void Restore(Task? task, Pfn old, Pfn replacement)
    {
        Rmap.Place place = system.Rmap.PlaceOf(old);
        Rmap.RemoveMigrationEntries(task, place, old, replacement);
    }

    /// <summary>The page at which a processor faulted stays locked until the fault ends.</summary>
    private void Release(Pfn frame, Pfn faultPage)
    {
        if (frame != faultPage)
            system.UnlockAndPut(frame);
        else
            Pages.Put(frame);
    }
}
