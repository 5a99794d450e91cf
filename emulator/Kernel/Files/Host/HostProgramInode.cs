using System.Text;
using Emulator.Kernel.Loader;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files.Host;

/// <summary>The program of the command line, which the guest may read and run through /proc/self/exe although no name leads to it.</summary>
internal sealed class HostProgramInode(Machine machine, string hostPath) : Inode
{
    public override uint Mode => S_IFREG | 0x16D;

    /// <summary>The pages as they were opened last; they may be gone by now.</summary>
    internal HostPageCache? Cache { get; set; }

    public override long GetAttributes(Dentry self, out InodeAttributes attributes)
    {
        attributes = default;
        long fd = HostCalls.OpenAt(HostCalls.AT_FDCWD, [.. Encoding.UTF8.GetBytes(hostPath), 0], HostCalls.O_PATH, 0);
        if (fd < 0)
            return fd;
        long r = HostCalls.StatAt((int)fd, "\0"u8, HostCalls.AT_EMPTY_PATH, out HostCalls.Statx stat);
        HostCalls.Close((int)fd);
        if (r < 0)
            return r;
        attributes = HostFs.ToAttributes(stat, static uid => uid, static gid => gid);
        return 0;
    }

    public override long Open(Task task, Path path, int flags, out OpenFile? file)
    {
        file = null;
        if (CanWrite(flags))
            return -Errno.ETXTBSY;
        file = Cache is { } cache ? HostProgramFile.Share(cache, hostPath, path) : null;
        if (file is not null)
            return 0;
        file = HostProgramFile.Open(machine.Pages, hostPath, out LoadError? error, path);
        return error is null ? 0 : -error.Errno;
    }
}
