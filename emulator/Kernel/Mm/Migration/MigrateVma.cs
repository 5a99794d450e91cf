using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>A page on its way to or from a device's memory, as drivers and kernel tell each other of it (MIGRATE_PFN_*).</summary>
/// <param name="Frame">The page; 0: none. As a source that may be migrated all the same: there is nothing yet, or the page of zeroes.</param>
/// <param name="Migrate">Of a source: it may be migrated; after <see cref="MigrateVma.MigratePages"/>: it was.</param>
/// <param name="Write">Of a source: its entry was writable.</param>
public readonly record struct MigratePfn(Pfn Frame, bool Migrate = false, bool Write = false)
{
    public bool HasPage => Frame != default;
}

/// <summary>Which pages are collected (enum migrate_vma_direction).</summary>
[Flags]
public enum MigrateVmaSelect
{
    System = 1,
    /// <summary>Those in the memory of devices of <see cref="MigrateVma.PagemapOwner"/>.</summary>
    DevicePrivate = 2,
}

/// <summary>
/// Moves pages of a mapping to a device's memory or back (<c>struct migrate_vma</c>, mm/migrate_device.c). In three steps, all with the mmap
/// lock held for reading: <see cref="Setup"/> takes the pages out of all page tables; then the driver allocates pages, copies the data of
/// each <see cref="Source"/> that may be migrated, and enters it in <see cref="Destination"/>, locked and with a reference;
/// <see cref="MigratePages"/> puts these in the others' place as far as it can be done, and <see cref="Complete"/> maps what there is now.
/// </summary>
/// <param name="vma">The mapping.</param>
/// <param name="start">First byte, page-aligned.</param>
/// <param name="end">First byte behind, page-aligned.</param>
public sealed class MigrateVma(Vma vma, ulong start, ulong end)
{
    public Vma Vma { get; } = vma;

    public ulong Start { get; } = start;

    public ulong End { get; } = end;

    /// <summary>One element a page.</summary>
    public MigratePfn[] Source { get; } = new MigratePfn[(end - start) >> Pfn.Shift];

    /// <summary>One element a page.</summary>
    public MigratePfn[] Destination { get; } = new MigratePfn[(end - start) >> Pfn.Shift];

    /// <summary>Goes with the notification, and says whose device pages are meant.</summary>
    public object? PagemapOwner { get; init; }

    public MigrateVmaSelect Select { get; init; }

    /// <summary>The device page at which a processor faulted: the fault has it locked and has a reference to it.</summary>
    public Pfn FaultPage { get; init; }

    /// <summary>Pages that <see cref="Setup"/> found fit to be migrated at first sight.</summary>
    public int CollectedPages { get; internal set; }

    private Migration Migration => Vma.Mm.System.Migration;

    /// <summary>migrate_vma_setup.</summary>
    /// <returns>0, or -EINVAL: the range is not one of the mapping, or the mapping is of a kind that is never migrated.</returns>
    public int Setup(Task? task)
    {
        const VmFlags special = VmFlags.Io | VmFlags.PfnMap | VmFlags.MixedMap | VmFlags.DontExpand;
        if (Source.Length == 0 || (Vma.Flags & (special | VmFlags.HugeTlb)) != 0 || Start < Vma.Start || End > Vma.End || !Layout.IsPageAligned(Start | End))
            return -Errno.EINVAL;
        Vma.Mm.CollectForMigration(task, this);
        if (CollectedPages > 0)
            Migration.UnmapForDevice(task, Source, FaultPage);
        return 0;
    }

    /// <summary>migrate_vma_pages.</summary>
    public void MigratePages(Task? task) => Migration.MoveForDevice(task, Source, Destination, this);

    /// <summary>migrate_vma_finalize.</summary>
    public void Complete(Task? task) => Migration.CompleteForDevice(task, Source, Destination, FaultPage);
}

/// <summary>Moves pages that a driver knows by their frames, wherever they are mapped: out of a device that goes away (migrate_device_range and relatives).</summary>
public static class MigrateDevice
{
    /// <summary>Takes the pages [first, first + source.Length) out of all page tables, as far as they are in use and can be taken.</summary>
    public static void Setup(Task? task, MemorySystem system, Pfn first, Span<MigratePfn> source)
    {
        for (int i = 0; i < source.Length; i++)
        {
            Pfn frame = new(first.Value + (ulong)i);
            source[i] = default;
            if (!system.Pages.TryGet(frame))
                continue;
            if (system.PageLocks.TryLock(frame))
                source[i] = new MigratePfn(frame, Migrate: true);
            else
                system.Pages.Put(frame);
        }
        system.Migration.UnmapForDevice(task, source, default);
    }

    /// <summary>As <see cref="MigrateVma.MigratePages"/>.</summary>
    public static void MigratePages(Task? task, MemorySystem system, Span<MigratePfn> source, ReadOnlySpan<MigratePfn> destination) =>
        system.Migration.MoveForDevice(task, source, destination, null);

    /// <summary>As <see cref="MigrateVma.Complete"/>.</summary>
    public static void Complete(Task? task, MemorySystem system, ReadOnlySpan<MigratePfn> source, ReadOnlySpan<MigratePfn> destination) =>
        system.Migration.CompleteForDevice(task, source, destination, default);
}
