using System.Runtime.InteropServices;
using System.Text;

namespace Emulator.Kernel.Files.Host;

/// <summary>
/// The host's file calls. Each returns a result or <c>-errno</c>, which is the guest's errno too. In bounds: buffers are spans, whose own lengths the host is told; names end
/// with a zero (<see cref="HostFs.Name"/>); offsets and modes are the guest's, for the host to judge; no guest chooses a descriptor.
/// </summary>
internal static unsafe partial class HostCalls
{
    public const int O_PATH = 0x200000, O_NOFOLLOW = 0x20000, O_CLOEXEC = 0x80000, O_DIRECTORY = 0x10000, O_NONBLOCK = 0x800, O_NOCTTY = 0x100;
    public const int AT_FDCWD = -100, AT_EMPTY_PATH = 0x1000, AT_SYMLINK_NOFOLLOW = 0x100;

    private const int EINTR = 4;

    private static long Result(nint r) => r < 0 ? -Marshal.GetLastPInvokeError() : r;

    /// <summary>The path without symbolic links, as /proc/self/exe must show that of a program: programs find their libraries beside it.</summary>
    public static string RealPath(string path)
    {
        string full = System.IO.Path.GetFullPath(path);
        long fd = OpenAt(AT_FDCWD, [.. Encoding.UTF8.GetBytes(full), 0], O_PATH | O_CLOEXEC, 0);
        if (fd < 0)
            return full;
        string? target = new FileInfo($"/proc/self/fd/{fd}").LinkTarget;
        Close((int)fd);
        return target ?? full;
    }

    public static long Read(int fd, Span<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            while (true)
            {
                long r = Result(read(fd, p, (nuint)buffer.Length));
                if (r != -EINTR)
                    return r;
            }
        }
    }

    public static long Write(int fd, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* p = buffer)
        {
            while (true)
            {
                long r = Result(write(fd, p, (nuint)buffer.Length));
                if (r != -EINTR)
                    return r;
            }
        }
    }

    public static long ReadAt(int fd, Span<byte> buffer, long offset)
    {
        fixed (byte* p = buffer)
            return Result(pread(fd, p, (nuint)buffer.Length, offset));
    }

    public static long WriteAt(int fd, ReadOnlySpan<byte> buffer, long offset)
    {
        fixed (byte* p = buffer)
            return Result(pwrite(fd, p, (nuint)buffer.Length, offset));
    }

    public static long Seek(int fd, long offset, int whence) => Result((nint)lseek(fd, offset, whence));

    public static long Close(int fd) => Result(close(fd));

    public static long Duplicate(int fd) => Result(fcntl(fd, 1030, 0)); // F_DUPFD_CLOEXEC

    public static long GetFlags(int fd) => Result(fcntl(fd, 3, 0)); // F_GETFL

    public static long Ioctl(int fd, uint command, void* argument) => Result(ioctl(fd, command, argument));

    public static bool IsTerminal(int fd) => isatty(fd) == 1;

    public static long Truncate(int fd, long length) => Result(ftruncate(fd, length));

    public static long Allocate(int fd, int mode, long offset, long length) => Result(fallocate(fd, mode, offset, length));

    public static long Sync(int fd) => Result(fsync(fd));

    public static long OpenAt(int directory, ReadOnlySpan<byte> name, int flags, uint mode)
    {
        fixed (byte* p = name)
            return Result(openat(directory, p, flags | O_CLOEXEC, mode));
    }

    public static long ReadLinkAt(int directory, ReadOnlySpan<byte> name, Span<byte> buffer)
    {
        fixed (byte* p = name, b = buffer)
            return Result(readlinkat(directory, p, b, (nuint)buffer.Length));
    }

    public static long MakeDirectoryAt(int directory, ReadOnlySpan<byte> name, uint mode)
    {
        fixed (byte* p = name)
            return Result(mkdirat(directory, p, mode));
    }

    public static long MakeNodeAt(int directory, ReadOnlySpan<byte> name, uint mode, ulong device)
    {
        fixed (byte* p = name)
            return Result(mknodat(directory, p, mode, device));
    }

    public static long UnlinkAt(int directory, ReadOnlySpan<byte> name, int flags)
    {
        fixed (byte* p = name)
            return Result(unlinkat(directory, p, flags));
    }

    public static long SymlinkAt(ReadOnlySpan<byte> target, int directory, ReadOnlySpan<byte> name)
    {
        fixed (byte* t = target, p = name)
            return Result(symlinkat(t, directory, p));
    }

    public static long LinkAt(int oldDirectory, ReadOnlySpan<byte> oldName, int newDirectory, ReadOnlySpan<byte> newName, int flags)
    {
        fixed (byte* o = oldName, n = newName)
            return Result(linkat(oldDirectory, o, newDirectory, n, flags));
    }

    public static long RenameAt(int oldDirectory, ReadOnlySpan<byte> oldName, int newDirectory, ReadOnlySpan<byte> newName, uint flags)
    {
        fixed (byte* o = oldName, n = newName)
            return Result(renameat2(oldDirectory, o, newDirectory, n, flags));
    }

    public static long ChangeModeAt(int directory, ReadOnlySpan<byte> name, uint mode)
    {
        fixed (byte* p = name)
            return Result(fchmodat(directory, p, mode, 0));
    }

    public static long ChangeOwnerAt(int directory, ReadOnlySpan<byte> name, uint uid, uint gid, int flags)
    {
        fixed (byte* p = name)
            return Result(fchownat(directory, p, uid, gid, flags));
    }

    public static long SetTimesAt(int directory, ReadOnlySpan<byte> name, ReadOnlySpan<long> times, int flags)
    {
        fixed (byte* p = name)
        fixed (long* t = times)
            return Result(utimensat(directory, p, t, flags));
    }

    public static long AccessAt(int directory, ReadOnlySpan<byte> name, int mode, int flags)
    {
        fixed (byte* p = name)
            return Result(faccessat(directory, p, mode, flags));
    }

    /// <summary>A name by which path calls reach the file of a descriptor, whatever has happened to its own name.</summary>
    public static byte[] DescriptorName(int fd) => System.Text.Encoding.ASCII.GetBytes($"/proc/self/fd/{fd}\0");

    /// <summary>statx with the basic fields and the birth time.</summary>
    public static long StatAt(int directory, ReadOnlySpan<byte> name, int flags, out Statx result)
    {
        fixed (byte* p = name)
        fixed (Statx* s = &result)
            return Result(statx(directory, p, flags, 0xFFF, s));
    }

    /// <summary>statfs: the raw 120-byte structure.</summary>
    public static long StatFs(int fd, Span<byte> buffer)
    {
        fixed (byte* p = buffer)
            return Result(fstatfs(fd, p));
    }

    /// <summary>getdents64: raw records.</summary>
    public static long ReadDirectory(int fd, Span<byte> buffer)
    {
        fixed (byte* p = buffer)
            return Result(getdents64(fd, p, (nuint)buffer.Length));
    }

    /// <summary>openat2 with RESOLVE_* bits; -ENOSYS on hosts before Linux 5.6.</summary>
    public static long OpenAt2(int directory, ReadOnlySpan<byte> name, int flags, uint mode, ulong resolve)
    {
        ulong* how = stackalloc ulong[3] { (uint)(flags | O_CLOEXEC), mode, resolve };
        fixed (byte* p = name)
            return Result((nint)syscall(437, directory, (long)p, (long)how, 24));
    }

    public static uint EffectiveUid => geteuid();

    public static uint EffectiveGid => getegid();

    [StructLayout(LayoutKind.Sequential)]
    public struct StatxTime
    {
        public long Seconds;
        public uint Nanoseconds;
        public int Reserved;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct Statx
    {
        public uint Mask;
        public uint BlockSize;
        public ulong Attributes;
        public uint LinkCount;
        public uint Uid;
        public uint Gid;
        public ushort Mode;
        public ushort Spare0;
        public ulong Inode;
        public ulong Size;
        public ulong Blocks;
        public ulong AttributesMask;
        public StatxTime AccessTime;
        public StatxTime BirthTime;
        public StatxTime ChangeTime;
        public StatxTime ModifyTime;
        public uint SpecialMajor;
        public uint SpecialMinor;
        public uint DeviceMajor;
        public uint DeviceMinor;
        public fixed ulong Spare[14];
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int fd, byte* buffer, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(int fd, byte* buffer, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint pread(int fd, byte* buffer, nuint size, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint pwrite(int fd, byte* buffer, nuint size, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial long lseek(int fd, long offset, int whence);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fcntl(int fd, int command, nint argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(int fd, nuint command, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int isatty(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ftruncate(int fd, long length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fallocate(int fd, int mode, long offset, long length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fsync(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int openat(int directory, byte* name, int flags, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint readlinkat(int directory, byte* name, byte* buffer, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int mkdirat(int directory, byte* name, uint mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int mknodat(int directory, byte* name, uint mode, ulong device);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int unlinkat(int directory, byte* name, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int symlinkat(byte* target, int directory, byte* name);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int linkat(int oldDirectory, byte* oldName, int newDirectory, byte* newName, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int renameat2(int oldDirectory, byte* oldName, int newDirectory, byte* newName, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fchmodat(int directory, byte* name, uint mode, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fchownat(int directory, byte* name, uint uid, uint gid, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int utimensat(int directory, byte* name, long* times, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int faccessat(int directory, byte* name, int mode, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int statx(int directory, byte* name, int flags, uint mask, Statx* result);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fstatfs(int fd, byte* buffer);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint getdents64(int fd, byte* buffer, nuint size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial long syscall(long number, long a, long b, long c, long d);

    [LibraryImport("libc")]
    private static partial uint geteuid();

    [LibraryImport("libc")]
    private static partial uint getegid();
}
