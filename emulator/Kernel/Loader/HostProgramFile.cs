using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Files.Host;
using Emulator.Kernel.Memory;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Loader;

/// <summary>The program named on the command line, or its interpreter: a host file that may be read and run without any grant.</summary>
public sealed class HostProgramFile : OpenFile
{
    private const UnixFileMode AnyExecute = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private readonly HostPageCache _cache;
    private readonly string _path;

    private HostProgramFile(HostPageCache cache, string path)
        : base(O_RDONLY)
    {
        _cache = cache;
        _path = path;
    }

    /// <summary>Opens a host file; null with the reason.</summary>
    public static HostProgramFile? Open(PageAllocator pages, string path, out LoadError? error, Files.Path at = default)
    {
        error = null;
        try
        {
            if (Directory.Exists(path))
                error = new LoadError(Errno.EACCES, "is a directory");
            else if (!File.Exists(path))
                error = new LoadError(Errno.ENOENT, "does not exist");
            else if (!IsRegular(path))
                error = new LoadError(Errno.EACCES, "is not a regular file");
            else if (OperatingSystem.IsLinux() && (File.GetUnixFileMode(path) & AnyExecute) == 0)
                error = new LoadError(Errno.EACCES, "is not executable (chmod +x it)");
            if (error is not null)
                return null;
            var handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var cache = new HostPageCache(pages, handle);
            if (at.Dentry?.Inode is HostProgramInode inode)
                inode.Cache = cache;
            return new HostProgramFile(cache, HostCalls.RealPath(path)) { Path = at };
        }
        catch (UnauthorizedAccessException)
        {
            error = new LoadError(Errno.EACCES, "cannot be read: permission denied");
        }
        catch (Exception e) when (e is IOException or ArgumentException or NotSupportedException)
        {
            error = new LoadError(Errno.EIO, "cannot be read");
        }
        return null;
    }

    /// <summary>Asked before the open: that of a FIFO would wait for a writer.</summary>
    private static bool IsRegular(string path) =>
        !OperatingSystem.IsLinux()
        || (HostCalls.StatAt(HostCalls.AT_FDCWD, Encoding.UTF8.GetBytes(path + "\0"), 0, out HostCalls.Statx stat) == 0 && (stat.Mode & S_IFMT) == S_IFREG);

    /// <summary>Opens a program again whose pages somebody still has, so that all of its processes share them.</summary>
    internal static HostProgramFile? Share(HostPageCache cache, string path, Files.Path at) =>
        cache.TryGetUser() ? new HostProgramFile(cache, path) { Path = at } : null;

    public override bool IsSeekable => true;

    internal override bool CanPoll => false;

    public override PageCache? Mapping => _cache;

    public override string DisplayName => _path;

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        long read = _cache.Read((ulong)position, buffer, task);
        if (read > 0)
            position += read;
        return read;
    }

    public override long Seek(Task task, long offset, int whence)
    {
        long target = whence switch
        {
            SEEK_SET => offset,
            SEEK_CUR => Position + offset,
            SEEK_END => (long)_cache.Size + offset,
            _ => -1,
        };
        if (target < 0)
            return -Errno.EINVAL;
        Position = target;
        return target;
    }

    protected override void Release() => _cache.PutUser();
}
