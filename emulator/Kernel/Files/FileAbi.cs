namespace Emulator.Kernel.Files;

/// <summary>Numbers of the file interface as x86-64 programs see them (include/uapi/asm-generic/fcntl.h, include/uapi/linux/stat.h).</summary>
public static class FileAbi
{
    public const int O_ACCMODE = 3, O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2;
    public const int O_CREAT = 0x40, O_EXCL = 0x80, O_NOCTTY = 0x100, O_TRUNC = 0x200, O_APPEND = 0x400, O_NONBLOCK = 0x800;
    public const int O_DSYNC = 0x1000, O_ASYNC = 0x2000, O_DIRECT = 0x4000, O_LARGEFILE = 0x8000, O_DIRECTORY = 0x10000;
    public const int O_NOFOLLOW = 0x20000, O_NOATIME = 0x40000, O_CLOEXEC = 0x80000, O_SYNC = 0x101000, O_PATH = 0x200000;
    public const int O_TMPFILE_BIT = 0x400000, O_TMPFILE = O_TMPFILE_BIT | O_DIRECTORY;

    /// <summary>What fcntl(F_SETFL) may change.</summary>
    public const int O_SETFL = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;

    /// <summary>Every flag that open knows; openat ignores others, openat2 refuses them.</summary>
    public const int O_VALID = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT
        | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE_BIT;

    public const uint S_IFMT = 0xF000, S_IFSOCK = 0xC000, S_IFLNK = 0xA000, S_IFREG = 0x8000, S_IFBLK = 0x6000, S_IFDIR = 0x4000, S_IFCHR = 0x2000, S_IFIFO = 0x1000;
    public const uint S_ISUID = 0x800, S_ISGID = 0x400, S_ISVTX = 0x200, S_IALLUGO = 0xFFF, S_IRWXUGO = 0x1FF;

    public const int AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200, AT_EACCESS = 0x200, AT_SYMLINK_FOLLOW = 0x400,
        AT_NO_AUTOMOUNT = 0x800, AT_EMPTY_PATH = 0x1000, AT_STATX_SYNC_TYPE = 0x6000;

    public const int SEEK_SET = 0, SEEK_CUR = 1, SEEK_END = 2, SEEK_DATA = 3, SEEK_HOLE = 4;
    public const int R_OK = 4, W_OK = 2, X_OK = 1;

    public const int RENAME_NOREPLACE = 1, RENAME_EXCHANGE = 2, RENAME_WHITEOUT = 4;

    public const int FALLOC_FL_KEEP_SIZE = 1, FALLOC_FL_PUNCH_HOLE = 2, FALLOC_FL_COLLAPSE_RANGE = 8, FALLOC_FL_ZERO_RANGE = 0x10, FALLOC_FL_INSERT_RANGE = 0x20;

    public const int PathMax = 4096, NameMax = 255;

    /// <summary>MAX_RW_COUNT: one read or write moves at most this much (include/linux/fs.h).</summary>
    public const ulong MaxTransfer = 0x7FFFF000;

    /// <summary>MAX_LFS_FILESIZE.</summary>
    public const long MaxFileSize = long.MaxValue;

    /// <summary>The entry type that getdents64 gives for a mode (IFTODT).</summary>
    public static byte DirectoryType(uint mode) => (byte)((mode & S_IFMT) >> 12);

    public static bool CanRead(int flags) => (flags & O_PATH) == 0 && (flags & O_ACCMODE) is O_RDONLY or O_RDWR;

    public static bool CanWrite(int flags) => (flags & O_PATH) == 0 && (flags & O_ACCMODE) is O_WRONLY or O_RDWR;
}

/// <summary>poll(2)'s bits, which are also epoll's (include/uapi/asm-generic/poll.h).</summary>
[Flags]
public enum PollEvents : uint
{
    None = 0,
    In = 1,
    Priority = 2,
    Out = 4,
    Error = 8,
    HangUp = 0x10,
    Invalid = 0x20,
    ReadNormal = 0x40,
    ReadBand = 0x80,
    WriteNormal = 0x100,
    WriteBand = 0x200,
    Message = 0x400,
    ReadHangUp = 0x2000,

    /// <summary>What a readable stream reports.</summary>
    Readable = In | ReadNormal,

    /// <summary>What a writable stream reports.</summary>
    Writable = Out | WriteNormal,
}
