using System.Globalization;

namespace Emulator.Kernel.Tracing;

/// <summary>Names of signals (include/uapi/asm-generic/signal.h); real-time signals as strace writes them.</summary>
public static class SignalText
{
    private static readonly string[] Names =
    [
        "SIG_0", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2",
        "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU",
        "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
    ];

    /// <summary>The name; the number itself for what is no signal.</summary>
    public static string Name(int signal) => signal >= 0 && signal < Names.Length ? Names[signal]
        : signal is >= 32 and <= 64 ? string.Create(CultureInfo.InvariantCulture, $"SIGRT_{signal - 32}") : signal.ToString(CultureInfo.InvariantCulture);
}
