using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors.Mshare;

/// <summary>An open file of msharefs. Descriptors and mappings keep it, it keeps the region.</summary>
internal sealed class MshareFile(MshareRegion region, int flags) : OpenFile(flags), ISharedRegion
{
    public SharedTables Tables => region.Tables;

    internal override bool CanPoll => false;

    /// <summary>simple_setattr stores a size that means nothing: a region has what MSHAREFS_SET_SIZE gave it. So O_TRUNC is welcome.</summary>
    public override long Truncate(Task task, long length) => length < 0 ? -Errno.EINVAL : 0;

    public override long Ioctl(Task task, uint command, ulong argument)
    {
        switch ((MshareIoctl)command)
        {
            case MshareIoctl.GetSize:
                return task.TryWrite(argument, region.Info) ? 0 : -Errno.EFAULT;
            case MshareIoctl.SetSize:
                return task.TryRead(argument, out MshareInfo info) ? region.SetSize(info) : -Errno.EFAULT;
            case MshareIoctl.CreateMapping:
                return task.TryRead(argument, out MshareCreate create) ? region.CreateMapping(task, create) : -Errno.EFAULT;
            case MshareIoctl.Unmap when MayChange(out long refused):
                return refused < 0 ? refused : task.TryRead(argument, out MshareUnmap unmap) ? region.Unmap(task, unmap) : -Errno.EFAULT;
            case MshareIoctl.Protect when MayChange(out long refused):
                return refused < 0 ? refused : task.TryRead(argument, out MshareProtect protect) ? region.Protect(task, protect) : -Errno.EFAULT;
            default:
                return -Errno.ENOTTY;
        }
    }

    /// <summary>Whether there are commands of ours at all. They change what others have mapped, so they want a file open for writing.</summary>
    private bool MayChange(out long refused)
    {
        refused = (Flags & FileAbi.O_ACCMODE) == FileAbi.O_RDONLY ? -Errno.EACCES : 0;
        return region.Variant == MshareVariant.Corrected;
    }

    public long CheckContainer(ulong address, ulong length, ulong offset, int mapFlags, out ulong hostAddress) =>
        region.CheckContainer(address, length, offset, mapFlags, out hostAddress);

    public bool TryChoosePlace(ulong hint, ulong offset, out ulong address, out ulong alignment)
    {
        alignment = MshareRegion.Unit;
        return region.TryChoosePlace(hint, offset, out address);
    }
}
