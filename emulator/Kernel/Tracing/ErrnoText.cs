using System.Runtime.InteropServices;

namespace Emulator.Kernel.Tracing;

/// <summary>Names and texts of error numbers, as strace and perror give them.</summary>
public static class ErrnoText
{
    private static readonly string[] Names = "OK EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP"
        .Split(' ');

    private static readonly Dictionary<int, string> Others = new()
    {
        [42] = "ENOMSG", [43] = "EIDRM", [61] = "ENODATA", [62] = "ETIME", [71] = "EPROTO", [74] = "EBADMSG", [75] = "EOVERFLOW", [84] = "EILSEQ", [88] = "ENOTSOCK",
        [89] = "EDESTADDRREQ", [90] = "EMSGSIZE", [91] = "EPROTOTYPE", [92] = "ENOPROTOOPT", [93] = "EPROTONOSUPPORT", [94] = "ESOCKTNOSUPPORT", [95] = "EOPNOTSUPP",
        [97] = "EAFNOSUPPORT", [98] = "EADDRINUSE", [99] = "EADDRNOTAVAIL", [103] = "ECONNABORTED", [104] = "ECONNRESET", [105] = "ENOBUFS", [106] = "EISCONN",
        [107] = "ENOTCONN", [110] = "ETIMEDOUT", [111] = "ECONNREFUSED", [114] = "EALREADY", [115] = "EINPROGRESS", [116] = "ESTALE", [125] = "ECANCELED",
        [130] = "EOWNERDEAD", [131] = "ENOTRECOVERABLE",
    };

    public static string Name(int errno) => errno >= 0 && errno < Names.Length ? Names[errno] : Others.GetValueOrDefault(errno, $"errno {errno}");

    /// <summary>The host's text; its numbers are those of Linux where the emulator runs on Linux.</summary>
    public static string Describe(int errno) => Marshal.GetPInvokeErrorMessage(errno);
}
