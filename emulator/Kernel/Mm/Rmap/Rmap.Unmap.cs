using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>Taking a page out of all mappings: by reclaim, and for the time of a migration.</summary>
internal sealed partial class Rmap
{
    private struct Unmapping
    {
        public Task? Task;
        public Pfn Frame;
        public TtuFlags Flags;
        public bool Failed;
    }

    /// <summary>
    /// Replaces every entry of the page by one that names its slot in the swap area (anonymous pages in the swap cache) or by nothing (files,
    /// clean MADV_FREE pages); try_to_unmap. The caller has the page locked and a reference.
    /// </summary>
    /// <returns>Whether nothing maps the page any more. With <see cref="TtuFlags.BatchFlush"/> its flush may still be owed.</returns>
    public bool TryToUnmap(Task? task, Pfn frame, TtuFlags flags)
    {
        var state = new Unmapping { Task = task, Frame = frame, Flags = flags };
        Walk(task, frame, ref state, static (Vma vma, ulong address, ref Unmapping s) =>
        {
            s.Failed = !vma.Mm.UnmapOne(s.Task, vma, address, s.Frame, s.Flags);
            return !s.Failed;
        });
        return !state.Failed && Volatile.Read(ref Pages[frame].MapCount) == 0;
    }

    /// <summary>
    /// Replaces every entry of the page by a migration entry, at which faults wait until <see cref="RemoveMigrationEntries"/> (try_to_migrate).
    /// The caller has the page locked and a reference.
    /// </summary>
    /// <returns>Whether nothing maps the page any more; not if it is pinned.</returns>
    public bool TryToMigrate(Task? task, in Place place, Pfn frame, TtuFlags flags)
    {
        var state = new Unmapping { Task = task, Frame = frame, Flags = flags };
        Walk(task, place, ref state, static (Vma vma, ulong address, ref Unmapping s) =>
        {
            s.Failed = !vma.Mm.MigrateOne(s.Task, address, s.Frame, s.Flags);
            return !s.Failed;
        });
        return !state.Failed && Volatile.Read(ref Pages[frame].MapCount) == 0;
    }

    private struct Exclusion
    {
        public Task? Task;
        public Pfn Frame;
        public Mm Mm;
        public ulong Address;
        public object? Owner;
        public bool Valid;
    }

    /// <summary>
    /// Replaces every entry of an anonymous page by one that gives it to a device alone (folio_make_device_exclusive). The caller has the page
    /// locked and a reference.
    /// </summary>
    /// <returns>Whether the page was still mapped at the address, writable.</returns>
    public bool MakeDeviceExclusive(Task? task, Pfn frame, Mm mm, ulong address, object? owner)
    {
        if (!Pages[frame].IsAnon)
            return false;
        var state = new Exclusion { Task = task, Frame = frame, Mm = mm, Address = address, Owner = owner };
        Walk(task, frame, ref state, static (Vma vma, ulong at, ref Exclusion s) =>
        {
            s.Valid |= vma.Mm.MakeExclusiveOne(s.Task, at, s.Frame, s.Owner) && vma.Mm == s.Mm && at == s.Address;
            return true;
        });
        return state.Valid;
    }

    private struct Restoring
    {
        public Task? Task;
        public Pfn Old;
        public Pfn New;
    }

    /// <summary>Makes every migration entry of the old frame map the new one (remove_migration_ptes); both may be the same. The caller has it locked.</summary>
    public static void RemoveMigrationEntries(Task? task, in Place place, Pfn old, Pfn replacement)
    {
        var state = new Restoring { Task = task, Old = old, New = replacement };
        Walk(task, place, ref state, static (Vma vma, ulong address, ref Restoring s) =>
        {
            vma.Mm.RestoreOne(s.Task, vma, address, s.Old, s.New);
            return true;
        });
    }
}
