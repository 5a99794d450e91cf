using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>HMM_DMIRROR_MIGRATE_TO_DEV and HMM_DMIRROR_MIGRATE_TO_SYS.</summary>
internal sealed partial class Dmirror
{
    /// <summary>
    /// Moves pages to the device's memory, and reads them there (dmirror_migrate_to_device). -ENOENT: some page did not get there, and the
    /// device knows nothing of it from before; those before it did.
    /// </summary>
    public long MigrateToDevice(Task task, ref DmirrorCommand command)
    {
        ulong end = command.Address + (command.Pages << Pfn.Shift);
        long error = ForEachPart(task, command.Address, end, MigrateVmaSelect.System, args =>
        {
            CopyToDevice(task, args);
            args.MigratePages(task);
            args.Complete(task);
        });
        if (error == 0)
            error = MapMigrated(task, command.Address, end);
        return error != 0 ? error : ReadBack(task, ref command);
    }

    /// <summary>Moves pages back from the device's memory (dmirror_migrate_to_system).</summary>
    public long MigrateToSystem(Task task, ref DmirrorCommand command)
    {
        ulong end = command.Address + (command.Pages << Pfn.Shift), done = 0;
        long error = ForEachPart(task, command.Address, end, MigrateVmaSelect.DevicePrivate, args =>
        {
            device.CopyToSystem(task, args);
            args.MigratePages(task);
            foreach (MigratePfn source in args.Source)
                done += source.HasPage && source.Migrate ? 1ul : 0;
            args.Complete(task);
        });
        command.DonePages = done;
        return error;
    }

    /// <summary>Collects the pages of a range, mapping by mapping, a batch at a time. -EINVAL: some of it is not mapped, or not readable.</summary>
    private long ForEachPart(Task task, ulong start, ulong end, MigrateVmaSelect select, Action<MigrateVma> migrate)
    {
        if (!mm.TryGet())
            return -Errno.EINVAL;
        long error = 0;
        using (mm.EnterRead(task))
        {
            for (ulong next; start < end; start = next)
            {
                if (mm.FindVma(start) is not { } vma || (vma.Flags & VmFlags.Read) == 0)
                {
                    error = -Errno.EINVAL;
                    break;
                }
                next = Math.Min(Math.Min(end, vma.End), start + ((ulong)Batch << Pfn.Shift));
                var args = new MigrateVma(vma, start, next) { PagemapOwner = device, Select = select };
                error = args.Setup(task);
                if (error != 0)
                    break;
                migrate(args);
            }
        }
        mm.Put(task);
        return error;
    }

    /// <summary>dmirror_migrate_alloc_and_copy.</summary>
    private void CopyToDevice(Task task, MigrateVma args)
    {
        for (int i = 0; i < args.Source.Length; i++)
        {
            MigratePfn source = args.Source[i];
            // Only private memory can be in a device, and one device's pages do not go to another.
            if (!source.Migrate || (source.HasPage && (device.Machine.Pages.IsDevice(source.Frame) || !device.Machine.Pages[source.Frame].IsAnon)))
                continue;
            if (!device.TryAllocate(out Pfn frame))
                continue;
            device.Forget(task, mm, args.Start + ((ulong)i << Pfn.Shift));
            Span<byte> data = Memory.BytesOf(device.BackingOf(frame));
            if (source.HasPage)
                Memory.BytesOf(source.Frame).CopyTo(data);
            else
                data.Clear();
            args.Destination[i] = new MigratePfn(frame);
        }
    }

    /// <summary>
    /// Enters what is in the device's memory now into its table (dmirror_migrate_finalize_and_map), by the protocol of all who look at page
    /// tables: processors may have taken pages back already.
    /// </summary>
    private long MapMigrated(Task task, ulong start, ulong end)
    {
        if (!mm.TryGet())
            return -Errno.EINVAL;
        ulong[] pfns = new ulong[Batch];
        long error = 0;
        for (ulong next; start < end && error == 0; start = next)
        {
            next = Math.Min(end, start + ((ulong)Batch << Pfn.Shift));
            error = Lookup(task, new HmmRange(mm, start, next, pfns) { Notifier = this, DevicePrivateOwner = device }, range =>
            {
                for (ulong address = range.Start; address < range.End; address += Pfn.Size)
                {
                    ulong entry = range.Pfns.Span[(int)((address - range.Start) >> Pfn.Shift)];
                    if (HmmRange.IsValid(entry) && device.Owns(HmmRange.FrameOf(entry)))
                        Store(address, entry);
                }
                return 0;
            });
        }
        mm.Put(task);
        return error;
    }

    /// <summary>Copies a range to the program as the device's table has it; -ENOENT where that has nothing.</summary>
    private long ReadBack(Task task, ref DmirrorCommand command)
    {
        using Bounce? bounce = Bounce.Create(task, command.Address, command.Pages << Pfn.Shift);
        if (bounce is null)
            return -Errno.ENOMEM;
        bool complete = TryAccess(task, command.Address, command.Address + (command.Pages << Pfn.Shift), bounce, write: false);
        command.DonePages = bounce.DonePages;
        return !complete ? -Errno.ENOENT : bounce.CopyTo(task, command.Pointer) ? 0 : -Errno.EFAULT;
    }

    /// <summary>Takes a page out of the table because it is about to move.</summary>
    public void Forget(Task? task, Mm where, ulong address)
    {
        if (where != mm)
            return;
        using Mutex.Scope scope = _mutex.Enter(task);
        _table.Erase(address >> Pfn.Shift, address >> Pfn.Shift);
    }
}
