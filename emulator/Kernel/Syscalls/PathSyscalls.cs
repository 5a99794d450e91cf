using System.Runtime.InteropServices;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>Attributes of named files: access, chmod, chown, times, truncate, extended attributes (fs/open.c, fs/utimes.c).</summary>
internal static class PathSyscalls
{
    private const long UTIME_NOW = 0x3FFFFFFF, UTIME_OMIT = 0x3FFFFFFE;

    internal static readonly SyscallDefinition[] Table =
    [
        new(21, "access", "path,hex", static (Task t, in SyscallArgs a) => Access(t, AT_FDCWD, a.A0, (int)a.A1, 0)),
        new(76, "truncate", "path,int", Truncate),
        new(90, "chmod", "path,mode", static (Task t, in SyscallArgs a) => ChangeMode(t, AT_FDCWD, a.A0, (uint)a.A1, 0)),
        new(91, "fchmod", "fd,mode", Fchmod),
        new(92, "chown", "path,int,int", static (Task t, in SyscallArgs a) => ChangeOwner(t, AT_FDCWD, a.A0, (uint)a.A1, (uint)a.A2, 0)),
        new(93, "fchown", "fd,int,int", Fchown),
        new(94, "lchown", "path,int,int", static (Task t, in SyscallArgs a) => ChangeOwner(t, AT_FDCWD, a.A0, (uint)a.A1, (uint)a.A2, AT_SYMLINK_NOFOLLOW)),
        new(132, "utime", "path,ptr", Utime),
        new(188, "setxattr", "path,path,ptr,size,hex", RefuseAttributes),
        new(189, "lsetxattr", "path,path,ptr,size,hex", RefuseLinkAttributes),
        new(190, "fsetxattr", "fd,path,ptr,size,hex", RefuseOpenAttributes),
        new(191, "getxattr", "path,path,ptr,size", RefuseAttributes),
        new(192, "lgetxattr", "path,path,ptr,size", RefuseLinkAttributes),
        new(193, "fgetxattr", "fd,path,ptr,size", RefuseOpenAttributes),
        new(194, "listxattr", "path,ptr,size", RefuseAttributes),
        new(195, "llistxattr", "path,ptr,size", RefuseLinkAttributes),
        new(196, "flistxattr", "fd,ptr,size", RefuseOpenAttributes),
        new(197, "removexattr", "path,path", RefuseAttributes),
        new(198, "lremovexattr", "path,path", RefuseLinkAttributes),
        new(199, "fremovexattr", "fd,path", RefuseOpenAttributes),
        new(235, "utimes", "path,ptr", static (Task t, in SyscallArgs a) => Utimes(t, AT_FDCWD, a.A0, a.A1)),
        new(260, "fchownat", "dirfd,path,int,int,hex", static (Task t, in SyscallArgs a) => ChangeOwner(t, (int)a.A0, a.A1, (uint)a.A2, (uint)a.A3, (int)a.A4)),
        new(261, "futimesat", "dirfd,path,ptr", static (Task t, in SyscallArgs a) => Utimes(t, (int)a.A0, a.A1, a.A2)),
        new(268, "fchmodat", "dirfd,path,mode", static (Task t, in SyscallArgs a) => ChangeMode(t, (int)a.A0, a.A1, (uint)a.A2, 0)),
        new(269, "faccessat", "dirfd,path,hex", static (Task t, in SyscallArgs a) => Access(t, (int)a.A0, a.A1, (int)a.A2, 0)),
        new(280, "utimensat", "dirfd,path,ptr,hex", Utimensat),
        new(439, "faccessat2", "dirfd,path,hex,hex", static (Task t, in SyscallArgs a) => Access(t, (int)a.A0, a.A1, (int)a.A2, (int)a.A3)),
        new(452, "fchmodat2", "dirfd,path,mode,hex", static (Task t, in SyscallArgs a) => ChangeMode(t, (int)a.A0, a.A1, (uint)a.A2, (int)a.A3)),
    ];

    /// <summary>No file system here keeps extended attributes.</summary>
    private static long RefuseAttributes(Task t, in SyscallArgs a)
    {
        long r = t.Walk(AT_FDCWD, a.A0, WalkFlags.Follow, out _);
        return r < 0 ? r : -Errno.EOPNOTSUPP;
    }

    private static long RefuseLinkAttributes(Task t, in SyscallArgs a)
    {
        long r = t.Walk(AT_FDCWD, a.A0, WalkFlags.None, out _);
        return r < 0 ? r : -Errno.EOPNOTSUPP;
    }

    private static long RefuseOpenAttributes(Task t, in SyscallArgs a) => t.Files.IsOpen((int)a.A0) ? -Errno.EOPNOTSUPP : -Errno.EBADF;

    private static long Access(Task t, int dirfd, ulong address, int mode, int flags)
    {
        if ((mode & ~7) != 0 || (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0)
            return -Errno.EINVAL;
        long r = t.Walk(dirfd, address, PathArguments.WalkFlagsOf(flags), out Files.Path path);
        if (r < 0)
            return r;
        return mode == 0 ? 0 : t.Machine.Vfs.CheckAccess(t, path, mode, realIds: (flags & AT_EACCESS) == 0);
    }

    /// <summary>RLIMIT_FSIZE for a new size (fs/attr.c:inode_newsize_ok).</summary>
    internal static long CheckSizeLimit(Task t, long size)
    {
        if ((ulong)size <= t.Process.Limits[ResourceLimits.FSIZE].Current)
            return 0;
        t.Send(new SignalInfo(Signal.SIGXFSZ, SignalInfo.SI_KERNEL));
        return -Errno.EFBIG;
    }

    private static long Truncate(Task t, in SyscallArgs a)
    {
        if ((long)a.A1 < 0)
            return -Errno.EINVAL;
        long r = t.Walk(AT_FDCWD, a.A0, WalkFlags.Follow, out Files.Path path);
        if (r < 0)
            return r;
        if (path.Inode.IsDirectory)
            return -Errno.EISDIR;
        if (!path.Inode.IsRegular)
            return -Errno.EINVAL;
        r = t.Machine.Vfs.CheckPermission(t, path, W_OK);
        if (r == 0)
            r = CheckSizeLimit(t, (long)a.A1);
        return r < 0 ? r : Apply(t, path, new AttributeChange { Size = (long)a.A1 });
    }

    private static long Apply(Task t, Files.Path path, in AttributeChange change) =>
        path.IsReadOnly ? -Errno.EROFS : path.Inode.SetAttributes(t, path.Dentry!, change);

    /// <summary>Only the owner, or root, may change a file's mode, owner and times (fs/attr.c:setattr_prepare).</summary>
    private static long CheckOwner(Task t, in InodeAttributes attributes) =>
        t.Credentials.EffectiveUid == 0 || t.Credentials.EffectiveUid == attributes.Uid ? 0 : -Errno.EPERM;

    private static long ChangeMode(Task t, int dirfd, ulong address, uint mode, int flags)
    {
        if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0)
            return -Errno.EINVAL;
        long r = t.Walk(dirfd, address, PathArguments.WalkFlagsOf(flags), out Files.Path path);
        if (r < 0)
            return r;
        if (path.IsReadOnly)
            return -Errno.EROFS;
        if (path.Inode.IsSymlink)
            return -Errno.EOPNOTSUPP;
        r = path.Inode.GetAttributes(path.Dentry!, out InodeAttributes attributes);
        if (r == 0 && !path.Inode.ChecksPermissionsItself)
            r = CheckOwner(t, attributes);
        return r < 0 ? r : Apply(t, path, new AttributeChange { Mode = mode & S_IALLUGO });
    }

    private static long Fchmod(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        return SetOpen(t, file, new AttributeChange { Mode = (uint)a.A1 & S_IALLUGO });
    }

    private static long SetOpen(Task t, OpenFile file, in AttributeChange change)
    {
        if (file.Path.IsReadOnly)
            return -Errno.EROFS;
        long r = file.GetAttributes(out InodeAttributes attributes);
        if (r == 0 && file.Inode is not { ChecksPermissionsItself: true })
            r = CheckOwner(t, attributes);
        return r < 0 ? r : file.SetAttributes(t, change);
    }

    private static long ChangeOwner(Task t, int dirfd, ulong address, uint uid, uint gid, int flags)
    {
        if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0)
            return -Errno.EINVAL;
        long r = t.Walk(dirfd, address, PathArguments.WalkFlagsOf(flags), out Files.Path path);
        if (r < 0)
            return r;
        if (path.IsReadOnly)
            return -Errno.EROFS;
        r = path.Inode.GetAttributes(path.Dentry!, out InodeAttributes attributes);
        if (r < 0)
            return r;
        r = OwnerChange(t, attributes, path.Inode.ChecksPermissionsItself, uid, gid, out AttributeChange change);
        return r < 0 ? r : Apply(t, path, change);
    }

    private static long Fchown(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        if (file.Path.IsReadOnly)
            return -Errno.EROFS;
        long r = file.GetAttributes(out InodeAttributes attributes);
        if (r < 0)
            return r;
        r = OwnerChange(t, attributes, file.Inode is { ChecksPermissionsItself: true }, (uint)a.A1, (uint)a.A2, out AttributeChange change);
        return r < 0 ? r : file.SetAttributes(t, change);
    }

    /// <summary>Giving files away is for root; the owner may choose among its own groups. Either takes set-ID bits with it.</summary>
    private static long OwnerChange(Task t, in InodeAttributes old, bool hostDecides, uint uid, uint gid, out AttributeChange change)
    {
        change = new AttributeChange { Uid = uid == uint.MaxValue ? null : uid, Gid = gid == uint.MaxValue ? null : gid };
        Credentials c = t.Credentials;
        if (!hostDecides && c.EffectiveUid != 0)
        {
            if (change.Uid is { } u && (u != old.Uid || c.EffectiveUid != old.Uid))
                return -Errno.EPERM;
            if (change.Gid is { } g && (c.EffectiveUid != old.Uid || (g != old.Gid && g != c.EffectiveGid && !c.Groups.Contains(g))))
                return -Errno.EPERM;
        }
        if (old.Type != S_IFDIR && (old.Mode & (S_ISUID | S_ISGID)) != 0 && (change.Uid ?? change.Gid) is not null)
            change.Mode = old.Mode & S_IALLUGO & ~(S_ISUID | ((old.Mode & 8) != 0 ? S_ISGID : 0));
        return 0;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Pair
    {
        public long AccessSeconds;
        public long AccessFraction;
        public long ModifySeconds;
        public long ModifyFraction;
    }

    private static long Utime(Task t, in SyscallArgs a)
    {
        Pair times = new() { AccessFraction = UTIME_NOW, ModifyFraction = UTIME_NOW };
        if (a.A1 != 0)
        {
            if (!t.TryRead(a.A1, out times.AccessSeconds) || !t.TryRead(a.A1 + 8, out times.ModifySeconds))
                return -Errno.EFAULT;
            times.AccessFraction = times.ModifyFraction = 0;
        }
        return SetTimes(t, AT_FDCWD, a.A0, times, 0);
    }

    private static long Utimes(Task t, int dirfd, ulong path, ulong address)
    {
        Pair times = new() { AccessFraction = UTIME_NOW, ModifyFraction = UTIME_NOW };
        if (address != 0)
        {
            if (!t.TryRead(address, out times))
                return -Errno.EFAULT;
            if ((ulong)times.AccessFraction >= 1_000_000 || (ulong)times.ModifyFraction >= 1_000_000)
                return -Errno.EINVAL;
            times.AccessFraction *= 1000;
            times.ModifyFraction *= 1000;
        }
        return SetTimes(t, dirfd, path, times, 0);
    }

    private static long Utimensat(Task t, in SyscallArgs a)
    {
        Pair times = new() { AccessFraction = UTIME_NOW, ModifyFraction = UTIME_NOW };
        if (a.A2 != 0)
        {
            if (!t.TryRead(a.A2, out times))
                return -Errno.EFAULT;
            if (times.AccessFraction == UTIME_OMIT && times.ModifyFraction == UTIME_OMIT)
                return 0;
        }
        return SetTimes(t, (int)a.A0, a.A1, times, (int)a.A3);
    }

    private static long SetTimes(Task t, int dirfd, ulong address, in Pair times, int flags)
    {
        if (!IsValidFraction(times.AccessFraction) || !IsValidFraction(times.ModifyFraction) || (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0)
            return -Errno.EINVAL;
        Timestamp now = Timestamp.FromNanoseconds(t.Machine.Clock.RealtimeNs);
        var change = new AttributeChange
        {
            AccessTime = Choose(times.AccessSeconds, times.AccessFraction, now),
            ModifyTime = Choose(times.ModifySeconds, times.ModifyFraction, now),
        };
        bool touch = times.AccessFraction == UTIME_NOW && times.ModifyFraction == UTIME_NOW;
        if (address == 0 && dirfd != AT_FDCWD)
        {
            if (flags != 0)
                return -Errno.EINVAL;
            using FileReference reference = t.Files.Get(dirfd);
            if (reference.File is not { } file)
                return -Errno.EBADF;
            if (file.Path.IsReadOnly)
                return -Errno.EROFS;
            return MayTouch(t, file.Path, touch) is < 0 and var no ? no : file.SetAttributes(t, change);
        }
        long r = t.Walk(dirfd, address, PathArguments.WalkFlagsOf(flags), out Files.Path path);
        if (r < 0)
            return r;
        if (path.IsReadOnly)
            return -Errno.EROFS;
        r = MayTouch(t, path, touch);
        return r < 0 ? r : Apply(t, path, change);
    }

    /// <summary>The present time may be set by anyone who may write; another time by the owner.</summary>
    private static long MayTouch(Task t, Files.Path path, bool toNow)
    {
        if (path.Dentry is null || path.Inode.ChecksPermissionsItself)
            return 0;
        long r = path.Inode.GetAttributes(path.Dentry, out InodeAttributes attributes);
        if (r < 0 || CheckOwner(t, attributes) == 0)
            return r;
        return toNow ? t.Machine.Vfs.CheckPermission(t, path, W_OK) : -Errno.EPERM;
    }

    private static bool IsValidFraction(long fraction) => fraction is UTIME_NOW or UTIME_OMIT || (ulong)fraction < Clock.Second;

    private static Timestamp? Choose(long seconds, long fraction, Timestamp now) => fraction switch
    {
        UTIME_NOW => now,
        UTIME_OMIT => null,
        _ => new Timestamp(seconds, (uint)fraction),
    };
}
