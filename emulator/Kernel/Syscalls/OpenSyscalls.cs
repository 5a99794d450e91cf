using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>open and its descendants (fs/open.c).</summary>
internal static class OpenSyscalls
{
    private const ulong RESOLVE_NO_XDEV = 1, RESOLVE_NO_MAGICLINKS = 2, RESOLVE_NO_SYMLINKS = 4, RESOLVE_BENEATH = 8, RESOLVE_IN_ROOT = 16, RESOLVE_CACHED = 32;

    internal static readonly SyscallDefinition[] Table =
    [
        new(2, "open", "path,openflags,mode", static (Task t, in SyscallArgs a) => Open(t, AT_FDCWD, a.A0, (int)a.A1, (uint)a.A2)),
        new(85, "creat", "path,mode", static (Task t, in SyscallArgs a) => Open(t, AT_FDCWD, a.A0, O_CREAT | O_WRONLY | O_TRUNC, (uint)a.A1)),
        new(257, "openat", "dirfd,path,openflags,mode", static (Task t, in SyscallArgs a) => Open(t, (int)a.A0, a.A1, (int)a.A2, (uint)a.A3)),
        new(437, "openat2", "dirfd,path,ptr,size", OpenAt2),
    ];

    /// <summary>What open ignores: unknown flags, and a mode that makes nothing (fs/open.c:build_open_how).</summary>
    private static long Open(Task t, int dirfd, ulong path, int flags, uint mode)
    {
        flags &= O_VALID;
        if ((flags & O_PATH) != 0)
            flags &= O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
        return Open(t, dirfd, path, flags, (flags & (O_CREAT | O_TMPFILE_BIT)) != 0 ? mode & S_IALLUGO : 0, WalkFlags.None);
    }

    private static long Open(Task t, int dirfd, ulong address, int flags, uint mode, WalkFlags scope)
    {
        if ((flags & O_TMPFILE_BIT) != 0 && ((flags & O_TMPFILE) != O_TMPFILE || !CanWrite(flags) || (flags & O_CREAT) != 0))
            return -Errno.EINVAL;
        if ((flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY))
            return -Errno.EINVAL;
        long r = t.ReadPath(address, out string name);
        if (r < 0)
            return r;
        // Before anything is created or truncated.
        if (!t.Files.HasFree(DescriptorSyscalls.DescriptorLimit(t)))
            return -Errno.EMFILE;
        bool closeOnExec = (flags & O_CLOEXEC) != 0;
        r = t.Machine.Vfs.Open(t, dirfd, name, flags | ((flags & O_PATH) == 0 ? O_LARGEFILE : 0), mode, scope, out OpenFile? file);
        return r < 0 ? r : DescriptorSyscalls.Install(t, file!, closeOnExec ? O_CLOEXEC : 0);
    }

    private static long OpenAt2(Task t, in SyscallArgs a)
    {
        const int HowSize = 24;
        if (a.A3 < HowSize)
            return -Errno.EINVAL;
        if (a.A3 > 4096)
            return -Errno.E2BIG;
        // In bounds: less than a page, and not negative.
        Span<byte> rest = stackalloc byte[(int)a.A3 - HowSize];
        if (!t.TryRead(a.A2, out OpenHow how) || !t.CopyFromUser(a.A2 + HowSize, rest))
            return -Errno.EFAULT;
        if (rest.ContainsAnyExcept((byte)0))
            return -Errno.E2BIG;
        if ((how.Flags & ~(ulong)(uint)O_VALID) != 0 || (how.Resolve & ~0x3FUL) != 0)
            return -Errno.EINVAL;
        int flags = (int)how.Flags;
        if (((flags & (O_CREAT | O_TMPFILE_BIT)) == 0 && how.Mode != 0) || (how.Mode & ~(ulong)S_IALLUGO) != 0)
            return -Errno.EINVAL;
        if ((flags & O_PATH) != 0 && (flags & ~(O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC)) != 0)
            return -Errno.EINVAL;
        if ((how.Resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) == (RESOLVE_BENEATH | RESOLVE_IN_ROOT))
            return -Errno.EINVAL;
        if ((how.Resolve & RESOLVE_CACHED) != 0)
            return -Errno.EAGAIN;
        WalkFlags scope = WalkFlags.None;
        scope |= (how.Resolve & RESOLVE_NO_XDEV) != 0 ? WalkFlags.NoCrossMount : 0;
        scope |= (how.Resolve & RESOLVE_NO_MAGICLINKS) != 0 ? WalkFlags.NoMagicLinks : 0;
        scope |= (how.Resolve & RESOLVE_NO_SYMLINKS) != 0 ? WalkFlags.NoSymlinks : 0;
        scope |= (how.Resolve & RESOLVE_BENEATH) != 0 ? WalkFlags.Beneath : 0;
        scope |= (how.Resolve & RESOLVE_IN_ROOT) != 0 ? WalkFlags.InRoot : 0;
        return Open(t, (int)a.A0, a.A1, flags, (uint)how.Mode, scope);
    }

    /// <summary>struct open_how.</summary>
    private readonly record struct OpenHow(ulong Flags, ulong Mode, ulong Resolve);
}
