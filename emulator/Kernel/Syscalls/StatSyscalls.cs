using System.Buffers.Binary;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>The stat and statfs families (fs/stat.c, fs/statfs.c).</summary>
internal static class StatSyscalls
{
    private const int StatSize = 144, StatxSize = 256, StatFsSize = 120;

    internal static readonly SyscallDefinition[] Table =
    [
        new(4, "stat", "path,out:stat", static (Task t, in SyscallArgs a) => StatAt(t, AT_FDCWD, a.A0, a.A1, 0)),
        new(5, "fstat", "fd,out:stat", Fstat),
        new(6, "lstat", "path,out:stat", static (Task t, in SyscallArgs a) => StatAt(t, AT_FDCWD, a.A0, a.A1, AT_SYMLINK_NOFOLLOW)),
        new(137, "statfs", "path,out:ptr", Statfs),
        new(138, "fstatfs", "fd,out:ptr", Fstatfs),
        new(262, "newfstatat", "dirfd,path,out:stat,hex", static (Task t, in SyscallArgs a) => StatAt(t, (int)a.A0, a.A1, a.A2, (int)a.A3)),
        new(332, "statx", "dirfd,path,hex,hex,out:ptr", Statx),
    ];

    private static long Fstat(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.Get((int)a.A0);
        if (reference.File is not { } file)
            return -Errno.EBADF;
        long r = file.GetAttributes(out InodeAttributes attributes);
        return r < 0 ? r : CopyOut(t, a.A1, attributes);
    }

    private static long StatAt(Task t, int dirfd, ulong path, ulong buffer, int flags)
    {
        if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)) != 0)
            return -Errno.EINVAL;
        long r = GetAttributes(t, dirfd, path, flags, out InodeAttributes attributes, out _);
        return r < 0 ? r : CopyOut(t, buffer, attributes);
    }

    /// <summary>An empty path with AT_EMPTY_PATH is fstat of the descriptor, which may have no name.</summary>
    private static long GetAttributes(Task t, int dirfd, ulong address, int flags, out InodeAttributes attributes, out int mountId)
    {
        attributes = default;
        mountId = 0;
        string name = "";
        if (address != 0 || (flags & AT_EMPTY_PATH) == 0)
        {
            long read = t.ReadPath(address, out name);
            if (read < 0)
                return read;
        }
        if (name.Length == 0 && (flags & AT_EMPTY_PATH) != 0 && dirfd != AT_FDCWD)
        {
            using FileReference reference = t.Files.Get(dirfd);
            mountId = reference.File?.Path.Mount?.Id ?? 0;
            return reference.File is { } file ? file.GetAttributes(out attributes) : -Errno.EBADF;
        }
        if (name.Length == 0 && (flags & AT_EMPTY_PATH) != 0)
            name = ".";
        long r = t.Machine.Vfs.Walk(t, dirfd, name, PathArguments.WalkFlagsOf(flags), out Files.Path path);
        mountId = path.Mount?.Id ?? 0;
        return r < 0 ? r : path.Inode.GetAttributes(path.Dentry!, out attributes);
    }

    private static long CopyOut(Task t, ulong address, in InodeAttributes f)
    {
        Span<byte> b = stackalloc byte[StatSize];
        b.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(b, f.Device);
        BinaryPrimitives.WriteUInt64LittleEndian(b[8..], f.Inode);
        BinaryPrimitives.WriteUInt64LittleEndian(b[16..], f.LinkCount);
        BinaryPrimitives.WriteUInt32LittleEndian(b[24..], f.Mode);
        BinaryPrimitives.WriteUInt32LittleEndian(b[28..], f.Uid);
        BinaryPrimitives.WriteUInt32LittleEndian(b[32..], f.Gid);
        BinaryPrimitives.WriteUInt64LittleEndian(b[40..], f.SpecialDevice);
        BinaryPrimitives.WriteInt64LittleEndian(b[48..], f.Size);
        BinaryPrimitives.WriteInt64LittleEndian(b[56..], f.BlockSize);
        BinaryPrimitives.WriteInt64LittleEndian(b[64..], f.Blocks);
        WriteTime(b[72..], f.AccessTime);
        WriteTime(b[88..], f.ModifyTime);
        WriteTime(b[104..], f.ChangeTime);
        return t.CopyToUser(address, b) ? 0 : -Errno.EFAULT;
    }

    private static void WriteTime(Span<byte> to, Timestamp time)
    {
        BinaryPrimitives.WriteInt64LittleEndian(to, time.Seconds);
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], time.Nanoseconds);
    }

    private static long Statx(Task t, in SyscallArgs a)
    {
        const uint BasicStats = 0x7FF, BirthTime = 0x800, MountId = 0x1000, Reserved = 0x8000_0000;
        int flags = (int)a.A2;
        if ((a.A3 & Reserved) != 0 || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
            return -Errno.EINVAL;
        if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)) != 0)
            return -Errno.EINVAL;
        long r = GetAttributes(t, (int)a.A0, a.A1, flags, out InodeAttributes f, out int mountId);
        if (r < 0)
            return r;
        Span<byte> b = stackalloc byte[StatxSize];
        b.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(b, BasicStats | BirthTime | MountId);
        BinaryPrimitives.WriteUInt32LittleEndian(b[4..], f.BlockSize);
        BinaryPrimitives.WriteUInt32LittleEndian(b[16..], f.LinkCount);
        BinaryPrimitives.WriteUInt32LittleEndian(b[20..], f.Uid);
        BinaryPrimitives.WriteUInt32LittleEndian(b[24..], f.Gid);
        BinaryPrimitives.WriteUInt16LittleEndian(b[28..], (ushort)f.Mode);
        BinaryPrimitives.WriteUInt64LittleEndian(b[32..], f.Inode);
        BinaryPrimitives.WriteInt64LittleEndian(b[40..], f.Size);
        BinaryPrimitives.WriteInt64LittleEndian(b[48..], f.Blocks);
        WriteStatxTime(b[64..], f.AccessTime);
        WriteStatxTime(b[80..], f.BirthTime);
        WriteStatxTime(b[96..], f.ChangeTime);
        WriteStatxTime(b[112..], f.ModifyTime);
        BinaryPrimitives.WriteUInt32LittleEndian(b[128..], DeviceNumber.Major(f.SpecialDevice));
        BinaryPrimitives.WriteUInt32LittleEndian(b[132..], DeviceNumber.Minor(f.SpecialDevice));
        BinaryPrimitives.WriteUInt32LittleEndian(b[136..], DeviceNumber.Major(f.Device));
        BinaryPrimitives.WriteUInt32LittleEndian(b[140..], DeviceNumber.Minor(f.Device));
        BinaryPrimitives.WriteUInt64LittleEndian(b[144..], (ulong)mountId);
        return t.CopyToUser(a.A4, b) ? 0 : -Errno.EFAULT;
    }

    private static void WriteStatxTime(Span<byte> to, Timestamp time)
    {
        BinaryPrimitives.WriteInt64LittleEndian(to, time.Seconds);
        BinaryPrimitives.WriteUInt32LittleEndian(to[8..], time.Nanoseconds);
    }

    private static long Statfs(Task t, in SyscallArgs a)
    {
        long r = t.Walk(AT_FDCWD, a.A0, WalkFlags.Follow, out Files.Path path);
        return r < 0 ? r : CopyStatistics(t, a.A1, path);
    }

    private static long Fstatfs(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.Get((int)a.A0);
        return reference.File is { Path.Dentry: not null } file ? CopyStatistics(t, a.A1, file.Path) : -Errno.EBADF;
    }

    private static long CopyStatistics(Task t, ulong address, Files.Path path)
    {
        const ulong ST_RDONLY = 1, ST_VALID = 0x20, ST_RELATIME = 0x1000;
        Filesystem fs = path.Dentry!.Filesystem;
        long r = fs.GetStatistics(path.Dentry, out FilesystemStatistics s);
        if (r < 0)
            return r;
        Span<byte> b = stackalloc byte[StatFsSize];
        b.Clear();
        ReadOnlySpan<ulong> words =
        [
            fs.Magic, (ulong)s.BlockSize, s.Blocks, s.FreeBlocks, s.FreeBlocks, s.Files, s.FreeFiles, fs.Device, NameMax, (ulong)s.BlockSize,
            ST_VALID | ST_RELATIME | (path.IsReadOnly ? ST_RDONLY : 0),
        ];
        for (int i = 0; i < words.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(b[(i * 8)..], words[i]);
        return t.CopyToUser(address, b) ? 0 : -Errno.EFAULT;
    }
}
