namespace Emulator.Kernel.Files;

/// <summary>A kind of file system, one instance a mount source.</summary>
public abstract class Filesystem(Machine machine, uint minor)
{
    private long _lastInode;

    public Machine Machine { get; } = machine;

    /// <summary>st_dev: an anonymous device number, or the host's for granted trees.</summary>
    public ulong Device { get; protected init; } = DeviceNumber.Make(0, minor);

    /// <summary>The name in /proc/mounts and /proc/filesystems.</summary>
    public abstract string TypeName { get; }

    /// <summary>statfs's f_type.</summary>
    public abstract ulong Magic { get; }

    public Dentry Root { get; protected set; } = null!;

    internal ulong NextInode() => (ulong)Interlocked.Increment(ref _lastInode);

    public virtual long GetStatistics(Dentry dentry, out FilesystemStatistics statistics)
    {
        statistics = new FilesystemStatistics { BlockSize = 4096 };
        return 0;
    }

    /// <summary>How readlink in /proc/PID/fd shows an open file of this file system.</summary>
    internal virtual string DisplayName(Path path) => Machine.Vfs.PathName(path);
}

/// <summary>statfs's figures, in blocks.</summary>
public struct FilesystemStatistics
{
    public long BlockSize;
    public ulong Blocks;
    public ulong FreeBlocks;
    public ulong Files;
    public ulong FreeFiles;
}
