using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files;

/// <summary>open(2) (fs/namei.c:path_openat, do_open).</summary>
public sealed partial class Vfs
{
    /// <summary>Opens or makes the file that <paramref name="name"/> leads to.</summary>
    /// <param name="task">The caller.</param>
    /// <param name="dirfd">Where a relative name starts.</param>
    /// <param name="name">The name.</param>
    /// <param name="flags">O_*; what does not fit together was refused by the system call.</param>
    /// <param name="mode">Permission bits of a new file, before the umask.</param>
    /// <param name="scope">RESOLVE_* restrictions.</param>
    /// <param name="file">The open file, with one reference for the caller.</param>
    internal long Open(Task task, int dirfd, string name, int flags, uint mode, WalkFlags scope, out OpenFile? file)
    {
        file = null;
        if (CheckEmpty(name, WalkFlags.None) is < 0 and var empty)
            return empty;
        if (StartAt(task, dirfd, name, out Path start) is < 0 and var bad)
            return bad;
        if ((flags & O_TMPFILE_BIT) != 0)
            return OpenNameless(task, start, name, flags, mode, scope, out file);

        bool follow = (flags & O_NOFOLLOW) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
        WalkFlags walk = scope | (follow ? WalkFlags.Follow : WalkFlags.None);
        if ((flags & O_CREAT) == 0)
        {
            long r = Walk(task, start, name, walk, out Path path);
            return r < 0 ? r : OpenExisting(task, path, flags, created: false, out file);
        }
        return OpenOrCreate(task, start, name, flags, mode, walk, out file);
    }

    private long OpenOrCreate(Task task, Path start, string name, int flags, uint mode, WalkFlags walk, out OpenFile? file)
    {
        file = null;
        for (int attempt = 0; ; attempt++)
        {
            long r = WalkCore(task, start, name, walk | WalkFlags.Parent, out WalkResult at);
            if (r < 0)
                return r;
            if (at.TrailingSlash || at.LastIsDots || at.Last.Length == 0)
                return -Errno.EISDIR;
            if (at.Target.Dentry is null)
            {
                r = LookupChild(task, at.Directory, at.Last, out at.Target);
                if (r is < 0 and not -Errno.ENOENT)
                    return r;
            }
            if (at.Target.Dentry is not null)
                return (flags & O_EXCL) != 0 ? -Errno.EEXIST : OpenExisting(task, at.Target, flags, created: false, out file);
            r = CheckPermission(task, at.Directory, W_OK | X_OK);
            if (r == 0)
                r = at.Directory.Inode.CreateOpen(task, at.Directory, at.Last, mode & S_IALLUGO & ~(uint)task.Fs.Umask, flags, out file);
            // Somebody else made it meanwhile: open theirs.
            if (r == -Errno.EEXIST && (flags & O_EXCL) == 0 && attempt < MaxLinks)
                continue;
            return r;
        }
    }

    private long OpenNameless(Task task, Path start, string name, int flags, uint mode, WalkFlags scope, out OpenFile? file)
    {
        file = null;
        long r = Walk(task, start, name, scope | WalkFlags.Follow, out Path directory);
        if (r < 0)
            return r;
        if (!directory.Inode.IsDirectory)
            return -Errno.ENOTDIR;
        r = CheckPermission(task, directory, W_OK | X_OK);
        return r < 0 ? r : directory.Inode.OpenNameless(task, directory, mode & S_IALLUGO & ~(uint)task.Fs.Umask, flags & ~O_TMPFILE, out file);
    }

    /// <summary>Opens a place that exists. <paramref name="created"/> files were made by this call: their mode does not hold against it.</summary>
    internal long OpenExisting(Task task, Path path, int flags, bool created, out OpenFile? file)
    {
        file = null;
        Inode inode = path.Inode;
        if ((flags & O_DIRECTORY) != 0 && !inode.IsDirectory)
            return -Errno.ENOTDIR;
        if ((flags & O_PATH) != 0)
        {
            file = new PathFile(flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW)) { Path = path };
            inode.Opened();
            return 0;
        }
        if (inode.IsSymlink)
            return -Errno.ELOOP;
        if (inode.IsDirectory && (CanWrite(flags) || (flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_ACCMODE) == O_ACCMODE))
            return -Errno.EISDIR;
        if (!created)
        {
            int mask = (flags & O_ACCMODE) switch { O_RDONLY => R_OK, O_WRONLY => W_OK, _ => R_OK | W_OK } | ((flags & O_TRUNC) != 0 ? W_OK : 0);
            long denied = CheckPermission(task, path, mask);
            if (denied < 0)
                return denied;
        }
        long r = inode.Type switch
        {
            _ when inode is HostStreamInode => inode.Open(task, path, flags, out file),
            S_IFIFO => OpenFifo(task, path, flags, out file),
            S_IFCHR when inode is SpecialInode device => Devices.Open(task, path, device.SpecialDevice, flags, out file),
            S_IFSOCK => -Errno.ENXIO,
            S_IFBLK => -Errno.ENXIO,
            _ => inode.Open(task, path, flags, out file),
        };
        if (r == 0 && (flags & O_TRUNC) != 0 && inode.IsRegular)
        {
            r = file!.Truncate(task, 0);
            if (r < 0)
            {
                file.Put();
                file = null;
            }
        }
        return r;
    }

    private static long OpenFifo(Task task, Path path, int flags, out OpenFile? file)
    {
        var pipe = (Pipe)path.Inode.Attach(new Pipe(task.Machine.KernelMemory));
        return pipe.OpenNamed(task, path, flags, out file);
    }

    /// <summary>memfd_create's file of huge pages.</summary>
    internal OpenFile CreateHugeTlbMemfd(Task task, string name, Memory.HugeTlbPool pool, Memory.Seals seals, uint mode)
    {
        var cache = new Memory.HugeTlbPageCache(Machine.Pages, pool, seals);
        var inode = new HugeTlbInode(HugeTlbFiles, S_IFREG | mode, task.Credentials.EffectiveUid, task.Credentials.EffectiveGid, cache) { LinkCount = 0 };
        inode.Open(task, HugeTlbFiles.Add(inode, $"/memfd:{name} (deleted)"), O_RDWR | O_LARGEFILE, out OpenFile? file);
        cache.Free();
        return file!;
    }

    /// <summary>memfd_create's file.</summary>
    internal OpenFile CreateMemfd(Task task, string name, Memory.Seals seals, uint mode, int flags = O_RDWR | O_LARGEFILE)
    {
        TmpFile inode = Memfds.NewFile(mode, task.Credentials.EffectiveUid, task.Credentials.EffectiveGid, seals);
        inode.LinkCount = 0;
        var dentry = new Dentry(Memfds, null, $"memfd:{name}", inode);
        dentry.MarkUnlinked();
        inode.Open(task, new Path(null, dentry), flags, out OpenFile? file);
        return file!;
    }
}

/// <summary>A descriptor that only names a place (O_PATH): read, write and the like answer EBADF.</summary>
internal sealed class PathFile(int flags) : OpenFile(flags)
{
    public override PollEvents Poll(Task task, PollTable? table) => PollEvents.Invalid;
}
