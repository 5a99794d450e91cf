using System.Runtime.InteropServices;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>Calls on descriptors: close, dup, fcntl, ioctl, locks, sync, truncation, memfd.</summary>
internal static class DescriptorSyscalls
{
    private const int F_DUPFD = 0, F_GETFD = 1, F_SETFD = 2, F_GETFL = 3, F_SETFL = 4, F_GETLK = 5, F_SETLK = 6, F_SETLKW = 7, F_SETOWN = 8, F_GETOWN = 9,
        F_SETSIG = 10, F_GETSIG = 11, F_OFD_GETLK = 36, F_OFD_SETLK = 37, F_OFD_SETLKW = 38, F_GETLEASE = 1025, F_DUPFD_CLOEXEC = 1030, F_SETPIPE_SZ = 1031,
        F_GETPIPE_SZ = 1032, F_ADD_SEALS = 1033, F_GET_SEALS = 1034;

    private const int F_RDLCK = 0, F_WRLCK = 1, F_UNLCK = 2;
    private const int LOCK_SH = 1, LOCK_EX = 2, LOCK_NB = 4, LOCK_UN = 8, LOCK_MAND = 32;
    private const uint FIONCLEX = 0x5450, FIOCLEX = 0x5451, FIONBIO = 0x5421, FIOASYNC = 0x5452, FIOQSIZE = 0x5460, FIONREAD = 0x541B;
    private const int CLOSE_RANGE_UNSHARE = 2, CLOSE_RANGE_CLOEXEC = 4;
    private const uint MFD_CLOEXEC = 1, MFD_ALLOW_SEALING = 2, MFD_HUGETLB = 4, MFD_NOEXEC_SEAL = 8, MFD_EXEC = 16;

    internal static readonly SyscallDefinition[] Table =
    [
        new(3, "close", "fd", Close),
        new(16, "ioctl", "fd,hex,hex", Ioctl),
        new(32, "dup", "fd", Dup),
        new(33, "dup2", "fd,fd", Dup2),
        new(72, "fcntl", "fd,fcntl,hex", Fcntl),
        new(73, "flock", "fd,hex", Flock),
        new(74, "fsync", "fd", Fsync),
        new(75, "fdatasync", "fd", Fsync),
        new(77, "ftruncate", "fd,int", Ftruncate),
        new(162, "sync", "", static (Task _, in SyscallArgs _) => 0),
        new(187, "readahead", "fd,int,size", Advise),
        new(221, "fadvise64", "fd,int,int,int", Advise),
        new(277, "sync_file_range", "fd,int,int,hex", Fsync),
        new(285, "fallocate", "fd,hex,int,int", Fallocate),
        new(292, "dup3", "fd,fd,openflags", Dup3),
        new(306, "syncfs", "fd", Syncfs),
        new(319, "memfd_create", "path,hex", MemfdCreate),
        new(436, "close_range", "uint,uint,hex", CloseRange),
    ];

    /// <summary>RLIMIT_NOFILE as Install wants it.</summary>
    internal static int DescriptorLimit(Task t) => (int)Math.Min(t.Process.Limits[ResourceLimits.NOFILE].Current, FdTable.HardLimit);

    /// <summary>Installs a new file at the lowest free descriptor; takes the reference over.</summary>
    internal static long Install(Task t, OpenFile file, int flags)
    {
        if (file.TryCharge(t.Machine.KernelMemory))
            return t.Files.Install(file, (flags & O_CLOEXEC) != 0, DescriptorLimit(t));
        file.Put();
        return -Errno.ENFILE;
    }

    private static long Close(Task t, in SyscallArgs a) => t.Files.Close(t, (int)a.A0);

    private static long Dup(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.Get((int)a.A0);
        return reference.File is { } file ? Install(t, file.Get(), 0) : -Errno.EBADF;
    }

    private static long Dup2(Task t, in SyscallArgs a)
    {
        if ((int)a.A0 == (int)a.A1)
            return t.Files.IsOpen((int)a.A0) ? (int)a.A0 : -Errno.EBADF;
        return DupTo(t, (int)a.A0, (int)a.A1, closeOnExec: false);
    }

    private static long Dup3(Task t, in SyscallArgs a)
    {
        if (((int)a.A2 & ~O_CLOEXEC) != 0 || (int)a.A0 == (int)a.A1)
            return -Errno.EINVAL;
        return DupTo(t, (int)a.A0, (int)a.A1, ((int)a.A2 & O_CLOEXEC) != 0);
    }

    private static long DupTo(Task t, int from, int to, bool closeOnExec)
    {
        if ((uint)to >= (uint)DescriptorLimit(t))
            return -Errno.EBADF;
        using FileReference reference = t.Files.Get(from);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        return t.Files.InstallAt(t, to, file.Get(), closeOnExec);
    }

    private static long CloseRange(Task t, in SyscallArgs a)
    {
        uint first = (uint)a.A0, last = (uint)a.A1;
        int flags = (int)a.A2;
        if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) != 0 || first > last)
            return -Errno.EINVAL;
        if ((flags & CLOSE_RANGE_UNSHARE) != 0 && t.Files.IsShared)
        {
            FdTable shared = t.Files;
            t.Files = shared.Clone();
            shared.Release(t);
        }
        t.Files.CloseRange(t, first, last, (flags & CLOSE_RANGE_CLOEXEC) != 0);
        return 0;
    }

    private static long Fcntl(Task t, in SyscallArgs a)
    {
        int fd = (int)a.A0, command = (int)a.A1;
        using FileReference reference = t.Files.Get(fd);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        bool pathOnly = (file.Flags & O_PATH) != 0;
        switch (command)
        {
            case F_DUPFD or F_DUPFD_CLOEXEC:
                if (a.A2 >= (ulong)DescriptorLimit(t))
                    return -Errno.EINVAL;
                return t.Files.Install(file.Get(), command == F_DUPFD_CLOEXEC, DescriptorLimit(t), (int)a.A2);
            case F_GETFD:
                return t.Files.GetCloseOnExec(fd) switch { null => -Errno.EBADF, true => 1, false => 0 };
            case F_SETFD:
                return t.Files.SetCloseOnExec(fd, (a.A2 & 1) != 0) ? 0 : -Errno.EBADF;
            case F_GETFL:
                return file.Flags;
            case var _ when pathOnly:
                return -Errno.EBADF;
            case F_SETFL:
                file.Flags = (file.Flags & ~O_SETFL) | ((int)a.A2 & O_SETFL);
                return 0;
            case F_GETLK or F_OFD_GETLK:
                return GetLock(t, file, a.A2, command == F_OFD_GETLK);
            case F_SETLK or F_SETLKW or F_OFD_SETLK or F_OFD_SETLKW:
                return SetLock(t, (int)a.A0, file, a.A2, command is F_OFD_SETLK or F_OFD_SETLKW, command is F_SETLKW or F_OFD_SETLKW);
            case F_SETOWN:
                file.Owner = (int)a.A2;
                return 0;
            case F_GETOWN:
                return file.Owner;
            case F_SETSIG:
                return a.A2 <= 64 ? 0 : -Errno.EINVAL;
            case F_GETSIG:
                return 0;
            case F_GETLEASE:
                return F_UNLCK;
            case F_SETPIPE_SZ:
                return file is PipeFile p ? p.Pipe.SetCapacity((uint)a.A2) : -Errno.EBADF;
            case F_GETPIPE_SZ:
                return file is PipeFile q ? q.Pipe.Capacity : -Errno.EBADF;
            case F_ADD_SEALS:
                return AddSeals(t, file, (int)a.A2);
            case F_GET_SEALS:
                return file.Mapping is ISealable s ? (int)s.Seals : -Errno.EINVAL;
            default:
                return -Errno.EINVAL;
        }
    }

    /// <summary>struct flock on x86-64.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Flock64
    {
        public short Type;
        public short Whence;
        public long Start;
        public long Length;
        public int Pid;
    }

    private static long ReadLock(Task t, OpenFile file, ulong address, bool ofd, out FileLock wanted, out Flock64 raw)
    {
        wanted = null!;
        if (!t.TryRead(address, out raw))
            return -Errno.EFAULT;
        if (ofd && raw.Pid != 0)
            return -Errno.EINVAL;
        long origin = 0;
        switch (raw.Whence)
        {
            case SEEK_SET: break;
            case SEEK_CUR: origin = file.Position; break;
            case SEEK_END:
                if (file.GetAttributes(out InodeAttributes attributes) is < 0 and var r)
                    return r;
                origin = attributes.Size;
                break;
            default: return -Errno.EINVAL;
        }
        long start = unchecked(origin + raw.Start);
        if (raw.Start > 0 && start < origin)
            return -Errno.EOVERFLOW;
        if (start < 0)
            return -Errno.EINVAL;
        long end = long.MaxValue;
        if (raw.Length > 0)
        {
            if (raw.Length - 1 > long.MaxValue - start)
                return -Errno.EOVERFLOW;
            end = start + raw.Length - 1;
        }
        else if (raw.Length < 0)
        {
            end = start - 1;
            start += raw.Length;
            if (start < 0)
                return -Errno.EINVAL;
        }
        if (raw.Type is not (F_RDLCK or F_WRLCK or F_UNLCK))
            return -Errno.EINVAL;
        wanted = new FileLock(ofd ? file : t.Files, ofd ? -1 : t.Process.Pid, start, end, raw.Type == F_WRLCK);
        return 0;
    }

    private static long GetLock(Task t, OpenFile file, ulong address, bool ofd)
    {
        long r = ReadLock(t, file, address, ofd, out FileLock wanted, out Flock64 raw);
        if (r < 0)
            return r;
        if (raw.Type == F_UNLCK)
            return -Errno.EINVAL;
        if (file.Locks?.FindConflict(wanted) is { } holder)
        {
            raw.Type = (short)(holder.Exclusive ? F_WRLCK : F_RDLCK);
            raw.Whence = SEEK_SET;
            raw.Start = holder.Start;
            raw.Length = holder.End == long.MaxValue ? 0 : holder.End - holder.Start + 1;
            raw.Pid = holder.Pid;
        }
        else
        {
            raw.Type = F_UNLCK;
        }
        return t.TryWrite(address, raw) ? 0 : -Errno.EFAULT;
    }

    private static long SetLock(Task t, int fd, OpenFile file, ulong address, bool ofd, bool wait)
    {
        long r = ReadLock(t, file, address, ofd, out FileLock wanted, out Flock64 raw);
        if (r < 0)
            return r;
        if ((raw.Type == F_RDLCK && !CanRead(file.Flags)) || (raw.Type == F_WRLCK && !CanWrite(file.Flags)))
            return -Errno.EBADF;
        if (file.Locks is not { } locks)
            return -Errno.EINVAL;
        if (raw.Type != F_UNLCK)
        {
            r = locks.SetRecord(t, wanted, wait);
            if (r != 0 || ofd)
                return r;
            // Another thread may have closed the file meanwhile: nothing would ever release the lock.
            using FileReference again = t.Files.GetForIo(fd);
            if (again.File == file)
                return 0;
            r = -Errno.EBADF;
        }
        locks.ClearRecord(wanted.Owner, wanted.Start, wanted.End);
        return r;
    }

    private static long Flock(Task t, in SyscallArgs a)
    {
        int operation = (int)a.A1;
        if ((operation & LOCK_MAND) != 0)
            return 0; // Mandatory locks are gone; asking for one succeeds and does nothing.
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if ((operation & ~LOCK_NB) is not (LOCK_SH or LOCK_EX or LOCK_UN))
            return -Errno.EINVAL;
        if (reference.File is not { } file)
            return -Errno.EBADF;
        if (file.Locks is not { } locks)
            return -Errno.EBADF;
        if ((operation & LOCK_UN) == 0)
            return locks.SetWhole(t, file, (operation & LOCK_EX) != 0, (operation & LOCK_NB) == 0);
        locks.ClearWhole(file);
        return 0;
    }

    private static long Ioctl(Task t, in SyscallArgs a)
    {
        int fd = (int)a.A0;
        uint command = (uint)a.A1;
        using FileReference reference = t.Files.GetForIo(fd);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        switch (command)
        {
            case FIOCLEX or FIONCLEX:
                t.Files.SetCloseOnExec(fd, command == FIOCLEX);
                return 0;
            case FIONBIO or FIOASYNC:
                if (!t.TryRead(a.A2, out int on))
                    return -Errno.EFAULT;
                int bit = command == FIONBIO ? O_NONBLOCK : O_ASYNC;
                file.Flags = on != 0 ? file.Flags | bit : file.Flags & ~bit;
                return 0;
            case FIONREAD or FIOQSIZE when file.IsSeekable && file.Inode is { IsRegular: true }:
                if (file.GetAttributes(out InodeAttributes attributes) is < 0 and var r)
                    return r;
                bool written = command == FIONREAD ? t.TryWrite(a.A2, (int)(attributes.Size - file.Position)) : t.TryWrite(a.A2, attributes.Size);
                return written ? 0 : -Errno.EFAULT;
            default:
                return file.Ioctl(t, command, a.A2);
        }
    }

    private static long AddSeals(Task t, OpenFile file, int seals)
    {
        if (!CanWrite(file.Flags))
            return -Errno.EPERM;
        if (file.Mapping is not ISealable sealable || file.Inode is not { } inode)
            return -Errno.EINVAL;
        using (inode.WriteLock.Enter(t))
        {
            long error = file.GetAttributes(out InodeAttributes attributes);
            return error < 0 ? error : sealable.AddSeals(seals, executable: (attributes.Mode & 0x49) != 0);
        }
    }

    private static long Fsync(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        return reference.File is { } file ? file.Sync(t) : -Errno.EBADF;
    }

    private static long Syncfs(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        return reference.File is null ? -Errno.EBADF : 0;
    }

    private static long Advise(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        return file is PipeFile ? -Errno.ESPIPE : 0;
    }

    private static long Ftruncate(Task t, in SyscallArgs a)
    {
        if ((long)a.A1 < 0)
            return -Errno.EINVAL;
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        if (!CanWrite(file.Flags) || file.Inode is not { IsRegular: true })
            return -Errno.EINVAL;
        return PathSyscalls.CheckSizeLimit(t, (long)a.A1) is < 0 and var r ? r : file.Truncate(t, (long)a.A1);
    }

    private static long Fallocate(Task t, in SyscallArgs a)
    {
        const int Known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE;
        int mode = (int)a.A1;
        long offset = (long)a.A2, length = (long)a.A3;
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        if (offset < 0 || length <= 0)
            return -Errno.EINVAL;
        if ((mode & ~Known) != 0 || ((mode & FALLOC_FL_PUNCH_HOLE) != 0 && (mode & FALLOC_FL_KEEP_SIZE) == 0))
            return -Errno.EOPNOTSUPP;
        if (!CanWrite(file.Flags))
            return -Errno.EBADF;
        if (file is PipeFile)
            return -Errno.ESPIPE;
        if (file.Inode is { IsDirectory: true })
            return -Errno.EISDIR;
        if (offset > MaxFileSize - length)
            return -Errno.EFBIG;
        if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && PathSyscalls.CheckSizeLimit(t, offset + length) is < 0 and var r)
            return r;
        return file.Allocate(t, mode, offset, length);
    }

    private static long MemfdCreate(Task t, in SyscallArgs a)
    {
        const int MaxName = 249;
        uint flags = (uint)a.A1;
        uint known = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_NOEXEC_SEAL | MFD_EXEC;
        if ((flags & MFD_HUGETLB) != 0)
            known |= (uint)MmanAbi.MAP_HUGE_MASK << MmanAbi.MAP_HUGE_SHIFT;
        if ((flags & ~known) != 0)
            return -Errno.EINVAL;
        if ((flags & (MFD_NOEXEC_SEAL | MFD_EXEC)) == (MFD_NOEXEC_SEAL | MFD_EXEC))
            return -Errno.EINVAL;
        // vm.memfd_noexec: 1 makes files not executable unless asked, 2 always (check_sysctl_memfd_noexec).
        int noExecScope = t.Machine.MemorySystem.MemfdNoExec;
        if ((flags & (MFD_NOEXEC_SEAL | MFD_EXEC)) == 0)
            flags |= noExecScope >= 1 ? MFD_NOEXEC_SEAL : MFD_EXEC;
        if ((flags & MFD_NOEXEC_SEAL) == 0 && noExecScope >= 2)
            return -Errno.EACCES;
        int r = t.ReadString(a.A0, MaxName + 1, out byte[] name);
        if (r < 0)
            return r == -Errno.ENAMETOOLONG ? -Errno.EINVAL : r;
        bool noExec = (flags & MFD_NOEXEC_SEAL) != 0;
        Seals seals = noExec ? Seals.Exec : (flags & MFD_ALLOW_SEALING) != 0 ? Seals.None : Seals.Seal;
        string text = System.Text.Encoding.Latin1.GetString(name);
        uint mode = noExec ? 0x1B6u : 0x1FF;
        OpenFile file;
        if ((flags & MFD_HUGETLB) == 0)
            file = t.Machine.Vfs.CreateMemfd(t, text, seals, mode);
        else if (t.Machine.MemorySystem.HugeTlb.Find((int)(flags >> MmanAbi.MAP_HUGE_SHIFT) & MmanAbi.MAP_HUGE_MASK) is { } pool)
            file = t.Machine.Vfs.CreateHugeTlbMemfd(t, text, pool, seals, mode);
        else
            return -Errno.ENODEV;
        return Install(t, file, (flags & MFD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
    }
}
