using System.Buffers.Binary;
using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>Reading directories, and the places a process starts its walks from (fs/readdir.c, fs/open.c, fs/d_path.c).</summary>
internal static class DirectorySyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(78, "getdents", "fd,out:ptr,size", static (Task t, in SyscallArgs a) => ReadEntries(t, a, is64: false)),
        new(79, "getcwd", "out:buf,size", GetWorkingDirectory),
        new(80, "chdir", "path", ChangeDirectory),
        new(81, "fchdir", "fd", ChangeToOpenDirectory),
        new(95, "umask", "mode", SetUmask),
        new(161, "chroot", "path", ChangeRoot),
        new(165, "mount", "path,path,path,hex,ptr", Mount),
        new(166, "umount2", "path,hex", static (Task _, in SyscallArgs _) => -Errno.EPERM),
        new(217, "getdents64", "fd,out:ptr,size", static (Task t, in SyscallArgs a) => ReadEntries(t, a, is64: true)),
    ];

    private static long Mount(Task task, in SyscallArgs a)
    {
        string source = "none", target = "";
        long r = task.ReadPath(a.A2, out string type);
        if (r == 0 && a.A0 != 0)
            r = task.ReadPath(a.A0, out source);
        if (r == 0)
            r = task.ReadPath(a.A1, out target);
        return r < 0 ? r : task.Machine.Vfs.Mount(task, source, target, type);
    }

    private static long ReadEntries(Task t, in SyscallArgs a, bool is64)
    {
        const int MaxRecord = 280;
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        if (file is not DirectoryFile directory)
            return -Errno.ENOTDIR;
        ulong address = a.A1, left = (uint)a.A2;
        long done = 0;
        // In bounds: a header, and a name of NAME_MAX bytes at most, whatever made it.
        Span<byte> record = stackalloc byte[MaxRecord];
        using (directory.PositionLock.Enter(t))
        {
            while (true)
            {
                long r = directory.Peek(t, out DirectoryEntry entry);
                if (r <= 0)
                    return done > 0 ? done : r;
                int length = Format(record, entry, directory.Position + 1, is64);
                if ((ulong)length > left)
                    return done > 0 ? done : -Errno.EINVAL;
                if (!t.CopyToUser(address, record[..length]))
                    return done > 0 ? done : -Errno.EFAULT;
                directory.Advance();
                address += (ulong)length;
                left -= (ulong)length;
                done += length;
            }
        }
    }

    /// <summary>struct linux_dirent64, or the old one whose type is the last byte.</summary>
    private static int Format(Span<byte> record, in DirectoryEntry entry, long next, bool is64)
    {
        int header = is64 ? 19 : 18;
        int length = (header + entry.Name.Length + (is64 ? 1 : 2) + 7) & ~7;
        record[..length].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(record, entry.Inode);
        BinaryPrimitives.WriteInt64LittleEndian(record[8..], next);
        BinaryPrimitives.WriteUInt16LittleEndian(record[16..], (ushort)length);
        Encoding.Latin1.GetBytes(entry.Name, record[header..]);
        record[is64 ? 18 : length - 1] = entry.Type;
        return length;
    }

    private static long GetWorkingDirectory(Task t, in SyscallArgs a)
    {
        Files.Path cwd = t.Fs.WorkingDirectory;
        if (cwd.Dentry!.IsUnlinked)
            return -Errno.ENOENT;
        string name = t.Machine.Vfs.PathName(cwd, t.Fs.Root, out bool reachable);
        if (ReferenceEquals(name, Vfs.TooLong))
            return -Errno.ENAMETOOLONG;
        byte[] bytes = Encoding.Latin1.GetBytes((reachable ? name : "(unreachable)" + name) + "\0");
        if ((ulong)bytes.Length > a.A1)
            return -Errno.ERANGE;
        return t.CopyToUser(a.A0, bytes) ? bytes.Length : -Errno.EFAULT;
    }

    private static long ChangeDirectory(Task t, in SyscallArgs a)
    {
        long r = t.Walk(AT_FDCWD, a.A0, WalkFlags.Follow, out Files.Path path);
        return r < 0 ? r : Enter(t, path);
    }

    private static long ChangeToOpenDirectory(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.Get((int)a.A0);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        return file.Path.Dentry is null ? -Errno.ENOTDIR : Enter(t, file.Path);
    }

    private static long Enter(Task t, Files.Path path)
    {
        if (!path.Inode.IsDirectory)
            return -Errno.ENOTDIR;
        long r = t.Machine.Vfs.CheckAccess(t, path, X_OK);
        if (r == 0)
            t.Fs.WorkingDirectory = path;
        return r;
    }

    private static long ChangeRoot(Task t, in SyscallArgs a)
    {
        long r = t.Walk(AT_FDCWD, a.A0, WalkFlags.Follow, out Files.Path path);
        if (r < 0)
            return r;
        if (!path.Inode.IsDirectory)
            return -Errno.ENOTDIR;
        r = t.Machine.Vfs.CheckAccess(t, path, X_OK);
        if (r < 0)
            return r;
        if (t.Credentials.EffectiveUid != 0)
            return -Errno.EPERM;
        t.Fs.Root = path;
        return 0;
    }

    private static long SetUmask(Task t, in SyscallArgs a)
    {
        int old = t.Fs.Umask;
        t.Fs.Umask = (int)a.A0;
        return old;
    }
}
