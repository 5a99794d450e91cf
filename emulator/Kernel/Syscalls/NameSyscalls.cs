using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>Calls that make, remove and change names (fs/namei.c).</summary>
internal static class NameSyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(82, "rename", "path,path", static (Task t, in SyscallArgs a) => Rename(t, AT_FDCWD, a.A0, AT_FDCWD, a.A1, 0)),
        new(83, "mkdir", "path,mode", static (Task t, in SyscallArgs a) => MakeDirectory(t, AT_FDCWD, a.A0, (uint)a.A1)),
        new(84, "rmdir", "path", static (Task t, in SyscallArgs a) => RemoveDirectory(t, AT_FDCWD, a.A0)),
        new(86, "link", "path,path", static (Task t, in SyscallArgs a) => Link(t, AT_FDCWD, a.A0, AT_FDCWD, a.A1, 0)),
        new(87, "unlink", "path", static (Task t, in SyscallArgs a) => Unlink(t, AT_FDCWD, a.A0)),
        new(88, "symlink", "path,path", static (Task t, in SyscallArgs a) => Symlink(t, a.A0, AT_FDCWD, a.A1)),
        new(89, "readlink", "path,out:buf,size", static (Task t, in SyscallArgs a) => ReadLink(t, AT_FDCWD, a.A0, a.A1, a.A2)),
        new(133, "mknod", "path,mode,int", static (Task t, in SyscallArgs a) => MakeNode(t, AT_FDCWD, a.A0, (uint)a.A1, a.A2)),
        new(258, "mkdirat", "dirfd,path,mode", static (Task t, in SyscallArgs a) => MakeDirectory(t, (int)a.A0, a.A1, (uint)a.A2)),
        new(259, "mknodat", "dirfd,path,mode,int", static (Task t, in SyscallArgs a) => MakeNode(t, (int)a.A0, a.A1, (uint)a.A2, a.A3)),
        new(263, "unlinkat", "dirfd,path,hex", UnlinkAt),
        new(264, "renameat", "dirfd,path,dirfd,path", static (Task t, in SyscallArgs a) => Rename(t, (int)a.A0, a.A1, (int)a.A2, a.A3, 0)),
        new(265, "linkat", "dirfd,path,dirfd,path,hex", static (Task t, in SyscallArgs a) => Link(t, (int)a.A0, a.A1, (int)a.A2, a.A3, (int)a.A4)),
        new(266, "symlinkat", "path,dirfd,path", static (Task t, in SyscallArgs a) => Symlink(t, a.A0, (int)a.A1, a.A2)),
        new(267, "readlinkat", "dirfd,path,out:buf,size", static (Task t, in SyscallArgs a) => ReadLink(t, (int)a.A0, a.A1, a.A2, a.A3)),
        new(316, "renameat2", "dirfd,path,dirfd,path,hex", static (Task t, in SyscallArgs a) => Rename(t, (int)a.A0, a.A1, (int)a.A2, a.A3, (int)a.A4)),
    ];

    /// <summary>Walks to the place of a new name and checks that it is free (fs/namei.c:filename_create).</summary>
    private static long WalkToNew(Task t, int dirfd, ulong address, bool isDirectory, out WalkResult at)
    {
        long r = t.WalkParent(dirfd, address, out at);
        if (r < 0)
            return r;
        if (at.Last.Length == 0 || at.LastIsDots)
            return -Errno.EEXIST;
        r = t.Machine.Vfs.LookupChild(t, at.Directory, at.Last, out _);
        if (r == 0)
            return -Errno.EEXIST;
        if (r != -Errno.ENOENT)
            return r;
        if (at.TrailingSlash && !isDirectory)
            return -Errno.ENOENT;
        return at.Directory.IsReadOnly ? -Errno.EROFS : t.Machine.Vfs.CheckPermission(t, at.Directory, W_OK | X_OK);
    }

    private static uint WithoutUmask(Task t, uint mode) => mode & ~(uint)t.Fs.Umask;

    private static long MakeDirectory(Task t, int dirfd, ulong address, uint mode)
    {
        long r = WalkToNew(t, dirfd, address, isDirectory: true, out WalkResult at);
        return r < 0 ? r : at.Directory.Inode.MakeDirectory(t, at.Directory.Dentry!, at.Last, WithoutUmask(t, mode) & (S_IRWXUGO | S_ISVTX));
    }

    private static long MakeNode(Task t, int dirfd, ulong address, uint mode, ulong device)
    {
        uint type = mode & S_IFMT;
        if (type == S_IFDIR)
            return -Errno.EPERM;
        if (type is not (0 or S_IFREG or S_IFCHR or S_IFBLK or S_IFIFO or S_IFSOCK))
            return -Errno.EINVAL;
        long r = WalkToNew(t, dirfd, address, isDirectory: false, out WalkResult at);
        if (r < 0)
            return r;
        if (type is S_IFCHR or S_IFBLK && t.Credentials.EffectiveUid != 0)
            return -Errno.EPERM;
        uint full = (type == 0 ? S_IFREG : type) | (WithoutUmask(t, mode) & S_IALLUGO);
        return at.Directory.Inode.Create(t, at.Directory.Dentry!, at.Last, full, device, out _);
    }

    private static long Symlink(Task t, ulong targetAddress, int dirfd, ulong address)
    {
        long r = t.ReadPath(targetAddress, out string target);
        if (r < 0)
            return r;
        if (target.Length == 0)
            return -Errno.ENOENT;
        r = WalkToNew(t, dirfd, address, isDirectory: false, out WalkResult at);
        return r < 0 ? r : at.Directory.Inode.MakeSymlink(t, at.Directory.Dentry!, at.Last, target);
    }

    private static long Link(Task t, int oldDirfd, ulong oldAddress, int newDirfd, ulong newAddress, int flags)
    {
        if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0)
            return -Errno.EINVAL;
        WalkFlags walk = ((flags & AT_SYMLINK_FOLLOW) != 0 ? WalkFlags.Follow : 0) | ((flags & AT_EMPTY_PATH) != 0 ? WalkFlags.AllowEmpty : 0);
        long r = t.Walk(oldDirfd, oldAddress, walk, out Files.Path old);
        if (r < 0)
            return r;
        r = WalkToNew(t, newDirfd, newAddress, isDirectory: false, out WalkResult at);
        if (r < 0)
            return r;
        if (at.Directory.Mount != old.Mount || at.Directory.Dentry!.Filesystem != old.Dentry!.Filesystem)
            return -Errno.EXDEV;
        if (old.Inode.IsDirectory)
            return -Errno.EPERM;
        return at.Directory.Inode.Link(t, at.Directory.Dentry, at.Last, old.Dentry);
    }

    private static long UnlinkAt(Task t, in SyscallArgs a)
    {
        if (((int)a.A2 & ~AT_REMOVEDIR) != 0)
            return -Errno.EINVAL;
        return (int)a.A2 != 0 ? RemoveDirectory(t, (int)a.A0, a.A1) : Unlink(t, (int)a.A0, a.A1);
    }

    private static long Unlink(Task t, int dirfd, ulong address)
    {
        long r = t.WalkParent(dirfd, address, out WalkResult at);
        if (r < 0)
            return r;
        if (at.Last.Length == 0 || at.LastIsDots)
            return -Errno.EISDIR;
        r = t.Machine.Vfs.LookupChild(t, at.Directory, at.Last, out Files.Path child);
        if (r < 0)
            return r;
        if (at.TrailingSlash)
            return child.Inode.IsDirectory ? -Errno.EISDIR : -Errno.ENOTDIR;
        if (Vfs.IsMountPoint(at.Directory, at.Last))
            return child.Inode.IsDirectory ? -Errno.EISDIR : -Errno.EBUSY;
        if (at.Directory.IsReadOnly)
            return -Errno.EROFS;
        r = t.Machine.Vfs.CheckRemoval(t, at.Directory, child.Dentry!);
        if (r < 0)
            return r;
        return child.Inode.IsDirectory ? -Errno.EISDIR : at.Directory.Inode.Unlink(t, at.Directory.Dentry!, child.Dentry!);
    }

    private static long RemoveDirectory(Task t, int dirfd, ulong address)
    {
        long r = t.WalkParent(dirfd, address, out WalkResult at);
        if (r < 0)
            return r;
        switch (at.Last)
        {
            case "": return -Errno.EBUSY;
            case ".": return -Errno.EINVAL;
            case "..": return -Errno.ENOTEMPTY;
        }
        r = t.Machine.Vfs.LookupChild(t, at.Directory, at.Last, out Files.Path child);
        if (r < 0)
            return r;
        if (at.Directory.IsReadOnly)
            return -Errno.EROFS;
        r = t.Machine.Vfs.CheckRemoval(t, at.Directory, child.Dentry!);
        if (r < 0)
            return r;
        if (!child.Inode.IsDirectory)
            return -Errno.ENOTDIR;
        return Vfs.IsMountPoint(at.Directory, at.Last) ? -Errno.EBUSY : at.Directory.Inode.RemoveDirectory(t, at.Directory.Dentry!, child.Dentry!);
    }

    private static long Rename(Task t, int oldDirfd, ulong oldAddress, int newDirfd, ulong newAddress, int flags)
    {
        if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0 || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
            return -Errno.EINVAL;
        long r = t.WalkParent(oldDirfd, oldAddress, out WalkResult from);
        if (r < 0)
            return r;
        r = t.WalkParent(newDirfd, newAddress, out WalkResult to);
        if (r < 0)
            return r;
        if (from.Directory.Mount != to.Directory.Mount)
            return -Errno.EXDEV;
        if (from.Last.Length == 0 || from.LastIsDots)
            return -Errno.EBUSY;
        if (to.Last.Length == 0 || to.LastIsDots)
            return (flags & RENAME_NOREPLACE) != 0 ? -Errno.EEXIST : -Errno.EBUSY;
        if (from.Directory.IsReadOnly)
            return -Errno.EROFS;
        Vfs vfs = t.Machine.Vfs;
        r = vfs.LookupChild(t, from.Directory, from.Last, out Files.Path child);
        if (r < 0)
            return r;
        long found = vfs.LookupChild(t, to.Directory, to.Last, out Files.Path victim);
        if (found < 0 && found != -Errno.ENOENT)
            return found;
        if (found == 0 && (flags & RENAME_NOREPLACE) != 0)
            return -Errno.EEXIST;
        if (!child.Inode.IsDirectory && (from.TrailingSlash || (to.TrailingSlash && (flags & RENAME_EXCHANGE) == 0)))
            return -Errno.ENOTDIR;
        if (Vfs.IsMountPoint(from.Directory, from.Last) || Vfs.IsMountPoint(to.Directory, to.Last))
            return -Errno.EBUSY;
        r = vfs.CheckRemoval(t, from.Directory, child.Dentry!);
        if (r == 0)
            r = found == 0 ? vfs.CheckRemoval(t, to.Directory, victim.Dentry!) : vfs.CheckPermission(t, to.Directory, W_OK | X_OK);
        return r < 0 ? r : from.Directory.Inode.Rename(t, from.Directory.Dentry!, child.Dentry!, to.Directory.Dentry!, to.Last, flags);
    }

    private static long ReadLink(Task t, int dirfd, ulong address, ulong buffer, ulong size)
    {
        if ((int)size <= 0)
            return -Errno.EINVAL;
        long r = t.Walk(dirfd, address, dirfd == AT_FDCWD ? WalkFlags.None : WalkFlags.AllowEmpty, out Files.Path path);
        if (r < 0)
            return r;
        if (!path.Inode.IsSymlink)
            return -Errno.EINVAL;
        r = path.Inode.ReadLink(t, path.Dentry!, out string target);
        if (r < 0)
            return r;
        byte[] bytes = Encoding.Latin1.GetBytes(target);
        int n = Math.Min(bytes.Length, (int)size);
        return t.CopyToUser(buffer, bytes.AsSpan(0, n)) ? n : -Errno.EFAULT;
    }
}
