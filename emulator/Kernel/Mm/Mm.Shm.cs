using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Kernel.Memory;

/// <summary>shmat and shmdt (ipc/shm.c).</summary>
public sealed partial class Mm
{
    internal const int SHM_RDONLY = 0x1000, SHM_RND = 0x2000, SHM_REMAP = 0x4000, SHM_EXEC = 0x8000;

    /// <summary>do_shmat: the address or a negative errno.</summary>
    internal long AttachSegment(Task task, SysvSegment segment, ulong address, int flags)
    {
        if (address != 0)
        {
            if (!Layout.IsPageAligned(address))
            {
                if ((flags & SHM_RND) == 0)
                    return -Errno.EINVAL;
                address &= ~0xFFFUL;
                if (address == 0 && (flags & SHM_REMAP) != 0)
                    return -Errno.EINVAL;
            }
        }
        else if ((flags & SHM_REMAP) != 0)
        {
            return -Errno.EINVAL;
        }
        ulong length = Layout.PageAlign(segment.Size);
        VmFlags vmFlags = VmFlags.Read | VmFlags.MayRead | VmFlags.MayExec | VmFlags.MayShare | DefaultFlags;
        if ((flags & SHM_RDONLY) == 0)
            vmFlags |= VmFlags.Write | VmFlags.MayWrite | VmFlags.Shared;
        if ((flags & SHM_EXEC) != 0)
            vmFlags |= VmFlags.Exec;
        if (!segment.TryHold())
            return -Errno.EIDRM;
        LockWrite(task);
        try
        {
            if (address != 0 && (flags & SHM_REMAP) == 0)
            {
                if (address + length < address || Vmas.FindIntersection(address, address + length) is not null)
                    return -Errno.EINVAL;
            }
            long place = FindPlace(address, length, address != 0 ? MAP_SHARED | MAP_FIXED : MAP_SHARED);
            return place < 0
                ? place
                : MapRegion(task, (ulong)place, length, vmFlags, new Backing(null, segment.Cache, 0, $"/SYSV{segment.Key:x8} (deleted)", segment));
        }
        finally
        {
            UnlockWrite();
            segment.Drop();
        }
    }

    /// <summary>ksys_shmdt: unmaps every piece that is left of the attachment at an address.</summary>
    internal long DetachSegment(Task task, ulong address, out SysvSegment? segment)
    {
        segment = null;
        if (!Layout.IsPageAligned(address))
            return -Errno.EINVAL;
        LockWrite(task);
        try
        {
            for (Vma? vma = Vmas.FindEndingAfter(address); vma is not null; vma = Vmas.FindEndingAfter(vma.End))
            {
                if (vma.Observer is SysvSegment found && (segment is null || found == segment)
                    && vma.Start - address == vma.PageOffset << 12)
                {
                    segment = found;
                    Unmap(task, vma.Start, vma.End);
                }
                if (segment is not null && vma.End - address >= Layout.PageAlign(segment.Size))
                    break;
            }
            return segment is null ? -Errno.EINVAL : 0;
        }
        finally
        {
            UnlockWrite();
        }
    }
}
