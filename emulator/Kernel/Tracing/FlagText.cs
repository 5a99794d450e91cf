using System.Globalization;

namespace Emulator.Kernel.Tracing;

/// <summary>Names of flag words and enumerations that system calls take, for --strace.</summary>
internal static class FlagText
{
    /// <summary>A kind's flags; <c>Zero</c> is what 0 is called, and <c>Mask</c> the bits that are an enumeration rather than flags.</summary>
    private sealed record Kind(string Zero, ulong Mask, (ulong Value, string Name)[] Names);

    private static readonly Dictionary<string, Kind> Kinds = new(StringComparer.Ordinal)
    {
        ["openflags"] = new("O_RDONLY", 3,
        [
            (0, "O_RDONLY"), (1, "O_WRONLY"), (2, "O_RDWR"), (0x40, "O_CREAT"), (0x80, "O_EXCL"), (0x100, "O_NOCTTY"), (0x200, "O_TRUNC"), (0x400, "O_APPEND"),
            (0x800, "O_NONBLOCK"), (0x101000, "O_SYNC"), (0x1000, "O_DSYNC"), (0x4000, "O_DIRECT"), (0x8000, "O_LARGEFILE"), (0x410000, "O_TMPFILE"),
            (0x10000, "O_DIRECTORY"), (0x20000, "O_NOFOLLOW"), (0x40000, "O_NOATIME"), (0x80000, "O_CLOEXEC"), (0x200000, "O_PATH"),
        ]),
        ["prot"] = new("PROT_NONE", 0, [(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC"), (0x1000000, "PROT_GROWSDOWN")]),
        ["mapflags"] = new("0", 3,
        [
            (1, "MAP_SHARED"), (2, "MAP_PRIVATE"), (3, "MAP_SHARED_VALIDATE"), (0x10, "MAP_FIXED"), (0x20, "MAP_ANONYMOUS"), (0x40, "MAP_32BIT"), (0x100, "MAP_GROWSDOWN"),
            (0x800, "MAP_DENYWRITE"), (0x2000, "MAP_LOCKED"), (0x4000, "MAP_NORESERVE"), (0x8000, "MAP_POPULATE"), (0x10000, "MAP_NONBLOCK"), (0x20000, "MAP_STACK"),
            (0x40000, "MAP_HUGETLB"), (0x100000, "MAP_FIXED_NOREPLACE"),
        ]),
        ["mremapflags"] = new("0", 0, [(1, "MREMAP_MAYMOVE"), (2, "MREMAP_FIXED"), (4, "MREMAP_DONTUNMAP")]),
        ["cloneflags"] = new("0", 0xFF,
        [
            (17, "SIGCHLD"), (0x100, "CLONE_VM"), (0x200, "CLONE_FS"), (0x400, "CLONE_FILES"), (0x800, "CLONE_SIGHAND"), (0x2000, "CLONE_PTRACE"), (0x4000, "CLONE_VFORK"),
            (0x8000, "CLONE_PARENT"), (0x10000, "CLONE_THREAD"), (0x40000, "CLONE_SYSVSEM"), (0x80000, "CLONE_SETTLS"), (0x100000, "CLONE_PARENT_SETTID"),
            (0x200000, "CLONE_CHILD_CLEARTID"), (0x1000000, "CLONE_CHILD_SETTID"),
        ]),
        ["futexop"] = new("FUTEX_WAIT", 0x7F,
        [
            (0, "FUTEX_WAIT"), (1, "FUTEX_WAKE"), (3, "FUTEX_REQUEUE"), (4, "FUTEX_CMP_REQUEUE"), (5, "FUTEX_WAKE_OP"), (6, "FUTEX_LOCK_PI"), (7, "FUTEX_UNLOCK_PI"),
            (8, "FUTEX_TRYLOCK_PI"), (9, "FUTEX_WAIT_BITSET"), (10, "FUTEX_WAKE_BITSET"), (0x80, "FUTEX_PRIVATE_FLAG"), (0x100, "FUTEX_CLOCK_REALTIME"),
        ]),
        ["whence"] = new("SEEK_SET", ulong.MaxValue, [(0, "SEEK_SET"), (1, "SEEK_CUR"), (2, "SEEK_END"), (3, "SEEK_DATA"), (4, "SEEK_HOLE")]),
        ["sighow"] = new("SIG_BLOCK", ulong.MaxValue, [(0, "SIG_BLOCK"), (1, "SIG_UNBLOCK"), (2, "SIG_SETMASK")]),
        ["waitflags"] = new("0", 0, [(1, "WNOHANG"), (2, "WSTOPPED"), (4, "WEXITED"), (8, "WCONTINUED"), (0x1000000, "WNOWAIT")]),
        ["atflags"] = new("0", 0,
        [
            (0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_REMOVEDIR"), (0x400, "AT_SYMLINK_FOLLOW"), (0x800, "AT_NO_AUTOMOUNT"), (0x1000, "AT_EMPTY_PATH"),
        ]),
        ["accessmode"] = new("F_OK", 0, [(4, "R_OK"), (2, "W_OK"), (1, "X_OK")]),
        ["madvice"] = new("MADV_NORMAL", ulong.MaxValue,
        [
            (0, "MADV_NORMAL"), (1, "MADV_RANDOM"), (2, "MADV_SEQUENTIAL"), (3, "MADV_WILLNEED"), (4, "MADV_DONTNEED"), (8, "MADV_FREE"), (9, "MADV_REMOVE"),
            (10, "MADV_DONTFORK"), (11, "MADV_DOFORK"), (14, "MADV_HUGEPAGE"), (15, "MADV_NOHUGEPAGE"), (18, "MADV_WIPEONFORK"), (20, "MADV_COLD"),
            (21, "MADV_PAGEOUT"), (22, "MADV_POPULATE_READ"), (23, "MADV_POPULATE_WRITE"),
        ]),
        ["msyncflags"] = new("0", 0, [(1, "MS_ASYNC"), (2, "MS_INVALIDATE"), (4, "MS_SYNC")]),
        ["memfdflags"] = new("0", 0, [(1, "MFD_CLOEXEC"), (2, "MFD_ALLOW_SEALING"), (4, "MFD_HUGETLB"), (8, "MFD_NOEXEC_SEAL"), (16, "MFD_EXEC")]),
        ["pipeflags"] = new("0", 0, [(0x800, "O_NONBLOCK"), (0x4000, "O_DIRECT"), (0x80000, "O_CLOEXEC")]),
        ["clock"] = new("CLOCK_REALTIME", ulong.MaxValue,
        [
            (0, "CLOCK_REALTIME"), (1, "CLOCK_MONOTONIC"), (2, "CLOCK_PROCESS_CPUTIME_ID"), (3, "CLOCK_THREAD_CPUTIME_ID"), (4, "CLOCK_MONOTONIC_RAW"),
            (5, "CLOCK_REALTIME_COARSE"), (6, "CLOCK_MONOTONIC_COARSE"), (7, "CLOCK_BOOTTIME"),
        ]),
    };

    /// <summary>The flags' names, or null when the kind is not one of names.</summary>
    public static string? Format(string kindName, ulong value)
    {
        if (!Kinds.TryGetValue(kindName, out Kind? kind))
            return null;
        if (value == 0)
            return kind.Zero;
        var names = new List<string>();
        ulong rest = value & ~kind.Mask, choice = value & kind.Mask;
        foreach ((ulong bits, string name) in kind.Names)
        {
            if ((bits & kind.Mask) == bits && kind.Mask != 0)
            {
                if (choice == bits)
                {
                    names.Add(name);
                    choice = 0;
                }
            }
            else if (bits != 0 && (rest & bits) == bits)
            {
                names.Add(name);
                rest &= ~bits;
            }
        }
        rest |= choice;
        if (rest != 0)
            names.Add("0x" + rest.ToString("x", CultureInfo.InvariantCulture));
        return string.Join('|', names);
    }
}
