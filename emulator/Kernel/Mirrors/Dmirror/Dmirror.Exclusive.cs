using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>HMM_DMIRROR_EXCLUSIVE and HMM_DMIRROR_CHECK_EXCLUSIVE.</summary>
internal sealed partial class Dmirror
{
    /// <summary>Takes pages away from processors and reads them (dmirror_exclusive). -EBUSY: some page could not be taken.</summary>
    public long MakeExclusive(Task task, ref DmirrorCommand command)
    {
        if (!mm.TryGet())
            return -Errno.EINVAL;
        ulong end = command.Address + (command.Pages << Pfn.Shift);
        // In bounds: ranges are gone through in parts of so many pages. Their ends do not wrap (DmirrorFile.Ioctl).
        Span<Pfn> pages = stackalloc Pfn[Batch];
        long error = 0;
        using (mm.EnterRead(task))
        {
            for (ulong start = command.Address, next; start < end && error == 0; start = next)
            {
                next = Math.Min(end, start + ((ulong)Batch << Pfn.Shift));
                Span<Pfn> part = pages[..(int)((next - start) >> Pfn.Shift)];
                int count = mm.MakeDeviceExclusiveRange(task, start, part, owner: null);
                // While the pages are locked no processor gets them back, so the table is right without a sequence number.
                if (!task.Machine.KernelMemory.HasRoom)
                    error = -Errno.ENOMEM;
                else if (count != part.Length || !MapExclusive(task, start, part))
                    error = -Errno.EBUSY;
                mm.ReleaseExclusivePages(part[..Math.Max(count, 0)]);
            }
        }
        mm.Put(task);
        return error != 0 ? error : ReadBack(task, ref command);
    }

    /// <summary>dmirror_atomic_map: whether it was given all pages.</summary>
    private bool MapExclusive(Task task, ulong start, ReadOnlySpan<Pfn> pages)
    {
        using Mutex.Scope scope = _mutex.Enter(task);
        bool all = true;
        for (int i = 0; i < pages.Length; i++)
        {
            if (pages[i] != default)
                _table.Store((start >> Pfn.Shift) + (ulong)i, pages[i], MirrorTag.Atomic);
            else
                all = false;
        }
        return all;
    }

    /// <summary>-EPERM: the device still has one of the pages for itself (dmirror_check_atomic).</summary>
    public long CheckExclusive(Task task, in DmirrorCommand command)
    {
        using Mutex.Scope scope = _mutex.Enter(task);
        ulong end = command.Address + (command.Pages << Pfn.Shift);
        return _table.HasAny(command.Address >> Pfn.Shift, (end - 1) >> Pfn.Shift, MirrorTag.Atomic) ? -Errno.EPERM : 0;
    }
}
