using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>RLIMIT_FSIZE (mm/filemap.c:generic_write_check_limits).</summary>
internal static class FileLimits
{
    /// <summary>How much of a write at <paramref name="position"/> is allowed; -EFBIG, with SIGXFSZ, when none is.</summary>
    public static long Clip(Task task, long position, int length)
    {
        if (length == 0)
            return 0;
        ulong limit = task.Process.Limits[ResourceLimits.FSIZE].Current;
        if (limit == ResourceLimit.Infinity)
            return position > MaxFileSize - length ? -Errno.EFBIG : length;
        if ((ulong)position < limit)
            return (long)Math.Min((ulong)length, limit - (ulong)position);
        task.Send(new SignalInfo(Signal.SIGXFSZ, SignalInfo.SI_KERNEL));
        return -Errno.EFBIG;
    }
}

/// <summary>lseek(2)'s arithmetic (fs/read_write.c:generic_file_llseek_size).</summary>
internal static class FileSeek
{
    public static long Apply(OpenFile file, long offset, int whence, long size)
    {
        long origin;
        switch (whence)
        {
            case SEEK_SET: origin = 0; break;
            case SEEK_CUR: origin = file.Position; break;
            case SEEK_END: origin = size; break;
            case SEEK_DATA:
                return offset < 0 || offset >= size ? -Errno.ENXIO : file.Position = offset;
            case SEEK_HOLE:
                return offset < 0 || offset >= size ? -Errno.ENXIO : file.Position = size;
            default: return -Errno.EINVAL;
        }
        long target = unchecked(origin + offset);
        return target < 0 ? -Errno.EINVAL : file.Position = target;
    }
}
