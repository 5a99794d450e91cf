namespace Emulator.Kernel.Tasks;

/// <summary>Signal numbers and their default actions (include/uapi/asm-generic/signal.h, signal(7)).</summary>
public static class Signal
{
    public const int SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGBUS = 7, SIGFPE = 8, SIGKILL = 9,
        SIGUSR1 = 10, SIGSEGV = 11, SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGTERM = 15, SIGSTKFLT = 16, SIGCHLD = 17, SIGCONT = 18,
        SIGSTOP = 19, SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22, SIGURG = 23, SIGXCPU = 24, SIGXFSZ = 25, SIGVTALRM = 26, SIGPROF = 27,
        SIGWINCH = 28, SIGIO = 29, SIGPWR = 30, SIGSYS = 31, SIGRTMIN = 32, Count = 64;

    /// <summary>Signals that an instruction raises in the task itself.</summary>
    internal const ulong Synchronous = (1UL << (SIGSEGV - 1)) | (1UL << (SIGBUS - 1)) | (1UL << (SIGILL - 1)) | (1UL << (SIGTRAP - 1))
        | (1UL << (SIGFPE - 1)) | (1UL << (SIGSYS - 1));

    internal const ulong Unblockable = (1UL << (SIGKILL - 1)) | (1UL << (SIGSTOP - 1));

    internal const ulong StopSignals = (1UL << (SIGSTOP - 1)) | (1UL << (SIGTSTP - 1)) | (1UL << (SIGTTIN - 1)) | (1UL << (SIGTTOU - 1));

    private const ulong IgnoredByDefault = (1UL << (SIGCHLD - 1)) | (1UL << (SIGCONT - 1)) | (1UL << (SIGURG - 1)) | (1UL << (SIGWINCH - 1));

    private const ulong Cores = Synchronous | (1UL << (SIGQUIT - 1)) | (1UL << (SIGABRT - 1)) | (1UL << (SIGXCPU - 1)) | (1UL << (SIGXFSZ - 1));

    /// <summary>The signal's bit in a mask.</summary>
    public static ulong Bit(int signal) => 1UL << (signal - 1);

    internal static bool IsIgnoredByDefault(int signal) => (IgnoredByDefault & Bit(signal)) != 0;

    internal static bool StopsByDefault(int signal) => (StopSignals & Bit(signal)) != 0;

    internal static bool DumpsCore(int signal) => (Cores & Bit(signal)) != 0;

    private static readonly string[] Names =
    [
        "0", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE",
        "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ",
        "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
    ];

    /// <summary>The name as strace prints it: <c>SIGSEGV</c>, <c>SIGRT_3</c>.</summary>
    public static string Name(int signal) =>
        signal >= 0 && signal < Names.Length ? Names[signal] : signal <= Count ? $"SIGRT_{signal - SIGRTMIN}" : $"{signal}";
}
