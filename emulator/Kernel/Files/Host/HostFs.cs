using System.Runtime.InteropServices;
using System.Text;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files.Host;

/// <summary>
/// A granted part of the host's tree. Nothing here follows a symbolic link or "..": those are resolved in the guest's own view, and every
/// host call gets a path of plain components beneath the granted directory, which the host is told to refuse if any is a link.
/// Where a single file is granted, its inode is no directory, whatever the host has in its place by now, so no name is ever looked up beside it.
/// </summary>
internal sealed class HostFs : Filesystem, IDisposable
{
    private const ulong ResolveNoMagicLinks = 2, ResolveNoSymlinks = 4, ResolveBeneath = 8;

    private readonly int _rootFd;
    private readonly string _rootName;
    private readonly uint _hostUid = HostCalls.EffectiveUid, _hostGid = HostCalls.EffectiveGid;

    private HostFs(Machine machine, uint minor, int rootFd, string rootName)
        : base(machine, minor)
    {
        _rootFd = rootFd;
        _rootName = rootName;
    }

    public override string TypeName => "hostfs";

    public override ulong Magic => 0x00C0_FFEE;

    /// <summary>Grants a directory, or a single file.</summary>
    /// <returns>Null, with the host's error, if it cannot be opened.</returns>
    public static HostFs? TryOpen(Machine machine, uint minor, string hostPath, out long error)
    {
        string full = System.IO.Path.GetFullPath(hostPath);
        bool isDirectory = Directory.Exists(full);
        string directory = isDirectory ? full : System.IO.Path.GetDirectoryName(full) ?? "/";
        error = HostCalls.OpenAt(HostCalls.AT_FDCWD, Terminated(Encoding.UTF8.GetBytes(directory)), HostCalls.O_PATH | HostCalls.O_DIRECTORY, 0);
        if (error < 0)
            return null;
        string rootName = isDirectory ? "" : Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(System.IO.Path.GetFileName(ResolveFile(full))));
        var fs = new HostFs(machine, minor, (int)error, rootName);
        error = fs.Stat(null, rootName, out HostCalls.Statx stat);
        if (error < 0)
        {
            fs.Dispose();
            return null;
        }
        fs.Root = new Dentry(fs, null, "", new HostInode(fs, stat));
        return fs;
    }

    /// <summary>A grant names what a final link points to, as long as that is in the same directory.</summary>
    private static string ResolveFile(string path) => new FileInfo(path).LinkTarget is { } target && !target.Contains('/') ? target : path;

    private readonly HashSet<int> _open = [];

    /// <summary>A file has this descriptor until <see cref="CloseFile"/>. Those of tasks that a machine's end has cut short are closed with the machine.</summary>
    internal void Keep(int fd)
    {
        lock (_open)
            _open.Add(fd);
    }

    internal void CloseFile(int fd)
    {
        lock (_open)
        {
            if (_open.Remove(fd))
                HostCalls.Close(fd);
        }
    }

    public void Dispose()
    {
        lock (_open)
        {
            foreach (int fd in _open)
                HostCalls.Close(fd);
            _open.Clear();
        }
        HostCalls.Close(_rootFd);
    }

    /// <summary>Files of the user who runs the emulator are the guest user's, and the other way round.</summary>
    public uint ToGuestUid(uint uid) => uid == _hostUid ? Tasks.Credentials.UserId : uid;

    public uint ToGuestGid(uint gid) => gid == _hostGid ? Tasks.Credentials.GroupId : gid;

    public uint ToHostUid(uint uid) => uid == Tasks.Credentials.UserId ? _hostUid : uid;

    public uint ToHostGid(uint gid) => gid == Tasks.Credentials.GroupId ? _hostGid : gid;

    /// <summary>Opens what a dentry, or a name in it, stands for.</summary>
    /// <returns>A host descriptor that the caller closes, or a negative error.</returns>
    public long Open(Dentry? dentry, string name, int flags, uint mode = 0)
    {
        string path = PathOf(dentry, name);
        // openat2 refuses O_PATH together with anything that concerns opening proper.
        flags |= HostCalls.O_NOFOLLOW | ((flags & HostCalls.O_PATH) != 0 ? 0 : HostCalls.O_NOCTTY);
        byte[] bytes = Terminated(path.Length == 0 ? "."u8 : Encoding.Latin1.GetBytes(path));
        long r = HostCalls.OpenAt2(_rootFd, bytes, flags, mode, ResolveBeneath | ResolveNoSymlinks | ResolveNoMagicLinks);
        return r is -Errno.ENOSYS or -Errno.EPERM ? OpenByComponents(path, flags, mode) : r;
    }

    /// <summary>For hosts without openat2: one component at a time, none of which may be a link.</summary>
    private long OpenByComponents(string path, int flags, uint mode)
    {
        int directory = _rootFd;
        string[] names = path.Length == 0 ? ["."] : path.Split('/');
        for (int i = 0; ; i++)
        {
            bool last = i == names.Length - 1;
            int how = last ? flags : HostCalls.O_PATH | HostCalls.O_NOFOLLOW | HostCalls.O_DIRECTORY;
            long next = HostCalls.OpenAt(directory, Name(names[i]), how, mode);
            if (directory != _rootFd)
                HostCalls.Close(directory);
            if (last || next < 0)
                return next;
            directory = (int)next;
        }
    }

    /// <summary>Runs a call on a directory's descriptor.</summary>
    public long WithDirectory(Dentry directory, Func<int, long> call)
    {
        long fd = Open(directory, "", HostCalls.O_PATH | HostCalls.O_DIRECTORY);
        if (fd < 0)
            return fd;
        long r = call((int)fd);
        HostCalls.Close((int)fd);
        return r;
    }

    public long Stat(Dentry? dentry, string name, out HostCalls.Statx stat)
    {
        stat = default;
        long fd = Open(dentry, name, HostCalls.O_PATH);
        if (fd < 0)
            return fd;
        long r = HostCalls.StatAt((int)fd, "\0"u8, HostCalls.AT_EMPTY_PATH, out stat);
        HostCalls.Close((int)fd);
        return r;
    }

    public InodeAttributes ToAttributes(in HostCalls.Statx s) => ToAttributes(s, ToGuestUid, ToGuestGid);

    internal static InodeAttributes ToAttributes(in HostCalls.Statx s, Func<uint, uint> toUid, Func<uint, uint> toGid) => new()
    {
        Device = DeviceNumber.Make(s.DeviceMajor, s.DeviceMinor),
        Inode = s.Inode,
        Mode = s.Mode,
        LinkCount = s.LinkCount,
        Uid = toUid(s.Uid),
        Gid = toGid(s.Gid),
        SpecialDevice = DeviceNumber.Make(s.SpecialMajor, s.SpecialMinor),
        Size = (long)s.Size,
        BlockSize = s.BlockSize,
        Blocks = (long)s.Blocks,
        AccessTime = new(s.AccessTime.Seconds, s.AccessTime.Nanoseconds),
        ModifyTime = new(s.ModifyTime.Seconds, s.ModifyTime.Nanoseconds),
        ChangeTime = new(s.ChangeTime.Seconds, s.ChangeTime.Nanoseconds),
        BirthTime = new(s.BirthTime.Seconds, s.BirthTime.Nanoseconds),
    };

    public override long GetStatistics(Dentry dentry, out FilesystemStatistics statistics)
    {
        statistics = default;
        long fd = Open(dentry, "", HostCalls.O_PATH);
        if (fd < 0)
            return fd;
        Span<byte> raw = stackalloc byte[120]; // struct statfs.
        long r = HostCalls.StatFs((int)fd, raw);
        HostCalls.Close((int)fd);
        if (r < 0)
            return r;
        Span<ulong> words = MemoryMarshal.Cast<byte, ulong>(raw);
        statistics = new FilesystemStatistics { BlockSize = (long)words[1], Blocks = words[2], FreeBlocks = words[4], Files = words[5], FreeFiles = words[6] };
        return 0;
    }

    /// <summary>The components from the granted directory down to <paramref name="name"/>, joined by slashes; empty for the root itself.</summary>
    private string PathOf(Dentry? dentry, string name)
    {
        string path = name;
        for (; dentry?.Parent is { } parent; dentry = parent)
            path = path.Length == 0 ? dentry.Name : dentry.Name + "/" + path;
        return path.Length == 0 ? _rootName : path;
    }

    /// <summary>A name as the host wants it.</summary>
    public static byte[] Name(string name) => Terminated(Encoding.Latin1.GetBytes(name));

    private static byte[] Terminated(ReadOnlySpan<byte> bytes) => [.. bytes, 0];
}
