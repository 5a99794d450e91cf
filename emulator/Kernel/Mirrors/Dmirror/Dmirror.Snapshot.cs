using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>HMM_DMIRROR_SNAPSHOT: what the page tables map, without making them map anything.</summary>
internal sealed partial class Dmirror
{
    /// <summary>dmirror_snapshot: a byte for each page (<see cref="DmirrorProt"/>).</summary>
    public long Snapshot(Task task, ref DmirrorCommand command)
    {
        if (!mm.TryGet())
            return -Errno.EINVAL;
        ulong end = command.Address + (command.Pages << Pfn.Shift);
        ulong[] pfns = new ulong[Batch];
        byte[] permissions = new byte[Batch];
        long error = 0;
        for (ulong start = command.Address, next; start < end && error == 0; start = next)
        {
            next = Math.Min(end, start + ((ulong)Batch << Pfn.Shift));
            int count = (int)((next - start) >> Pfn.Shift);
            error = SnapshotRange(task, start, next, pfns, permissions);
            if (error == 0 && !task.CopyToUser(command.Pointer + command.DonePages, permissions.AsSpan(0, count)))
                error = -Errno.EFAULT;
            if (error == 0)
                command.DonePages += (ulong)count;
        }
        mm.Put(task);
        return error;
    }

    /// <summary>A notifier of its own for the time of the question, beside the one of the whole address space (dmirror_range_snapshot).</summary>
    private long SnapshotRange(Task task, ulong start, ulong end, ulong[] pfns, byte[] permissions)
    {
        var notifier = new SnapshotNotifier(_mutex);
        long error = notifier.Insert(task, mm, start, end - start);
        if (error != 0)
            return error;
        var range = new HmmRange(mm, start, end, pfns) { Notifier = notifier, DevicePrivateOwner = device };
        error = Lookup(task, range, r =>
        {
            for (int i = 0; i < (int)((r.End - r.Start) >> Pfn.Shift); i++)
                permissions[i] = (byte)Describe(r.Pfns.Span[i]);
            return 0;
        });
        notifier.Remove(task);
        return error;
    }

    /// <summary>dmirror_mkentry.</summary>
    private DmirrorProt Describe(ulong entry)
    {
        if (HmmRange.IsError(entry))
            return DmirrorProt.Error;
        if (!HmmRange.IsValid(entry))
            return DmirrorProt.None;
        Pfn frame = HmmRange.FrameOf(entry);
        PageAllocator pages = device.Machine.Pages;
        DmirrorProt prot =
            pages.IsDevice(frame) ? (device.Owns(frame) ? DmirrorProt.DevicePrivateLocal : DmirrorProt.DevicePrivateRemote)
            : frame == pages.Zero ? DmirrorProt.Zero
            : DmirrorProt.None;
        prot |= HmmRange.IsWritable(entry) ? DmirrorProt.Write : DmirrorProt.Read;
        return prot | HmmRange.OrderOf(entry) switch
        {
            9 => DmirrorProt.Pmd,
            18 => DmirrorProt.Pud,
            _ => DmirrorProt.None,
        };
    }

    /// <summary>Only sees to it that an answer which was overtaken is not used (dmirror_snapshot_invalidate).</summary>
    private sealed class SnapshotNotifier(Mutex mutex) : MmuIntervalNotifier
    {
        public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
        {
            if (range.Blockable)
                mutex.Lock(task);
            else if (!mutex.TryLock(task))
                return false;
            SetSequence(sequence);
            mutex.Unlock();
            return true;
        }
    }
}
