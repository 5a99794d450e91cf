using System.Runtime.InteropServices;
using System.Text;

namespace Emulator.Cli.Host;

/// <summary>What the command line does to its own host process: writing whole messages, and dying by a signal.</summary>
internal static unsafe partial class HostProcess
{
    public const int StandardOutput = 1, StandardError = 2;
    private const int GetDescriptorFlags = 1, CloseOnExec = 1;
    private const int ResourceCore = 4;
    private const int TerminalStop = 20;
    /// <summary>No libc's struct is larger.</summary>
    private const int SigactionSize = 256;

    /// <summary>Writes to standard error at once, without the console library's start-up cost.</summary>
    public static void WriteError(string text)
    {
        if (Inherited(StandardError) < 0)
            return;
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        fixed (byte* start = bytes)
        {
            int done = 0;
            while (done < bytes.Length)
            {
                nint written = Write(StandardError, start + done, (nuint)(bytes.Length - done));
                if (written <= 0)
                    return;
                done += (int)written;
            }
        }
    }

    /// <summary>Ends this process by a signal, so that the shell sees what killed the guest. No core is written: it would show us, not the guest.</summary>
    public static int DieBy(int signal)
    {
        var none = default(Limit);
        _ = SetLimit(ResourceCore, &none);
        _ = Signal(signal, 0);
        ulong mask = 1UL << (signal - 1);
        _ = SetMask(1, &mask, null);
        _ = Kill(GetPid(), signal);
        // A signal whose default is to be ignored: what a shell would show.
        return 128 + signal;
    }

    /// <summary>Ends this process at once, whatever its threads are doing.</summary>
    public static void Exit(int code) => ExitNow(code);

    /// <summary>
    /// Stops this process as the terminal would, until somebody continues it. The host ignores the stop, and this returns at once, where nobody could.
    /// </summary>
    public static void Stop()
    {
        // All zero bytes of a struct sigaction are SIG_DFL with no flags.
        byte* standard = stackalloc byte[SigactionSize], old = stackalloc byte[SigactionSize];
        new Span<byte>(standard, SigactionSize).Clear();
        if (Action(TerminalStop, standard, old) != 0)
            return;
        // To this very thread: a signal to the process might reach another one only after the old action is back.
        _ = Raise(TerminalStop);
        _ = Action(TerminalStop, old, null);
    }

    /// <summary>
    /// A standard stream as we were started with it; -1: it was closed. The runtime's own files and pipes take the place of closed streams
    /// before we run, but what came through execve is never marked to be closed by it, and all of the runtime's is.
    /// </summary>
    public static int Inherited(int descriptor) => (Control(descriptor, GetDescriptorFlags, 0) & CloseOnExec) == 0 ? descriptor : -1;

    public static bool IsTerminal(int descriptor) => IsATty(descriptor) == 1;

    [StructLayout(LayoutKind.Sequential)]
    private struct Limit
    {
        public ulong Current, Maximum;
    }

    [LibraryImport("libc", EntryPoint = "write")]
    private static partial nint Write(int descriptor, byte* data, nuint count);

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void ExitNow(int code);

    [LibraryImport("libc", EntryPoint = "fcntl")]
    private static partial int Control(int descriptor, int command, nint argument);

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "raise")]
    private static partial int Raise(int signal);

    [LibraryImport("libc", EntryPoint = "getpid")]
    private static partial int GetPid();

    [LibraryImport("libc", EntryPoint = "isatty")]
    private static partial int IsATty(int descriptor);

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint Signal(int signal, nint handler);

    [LibraryImport("libc", EntryPoint = "sigaction")]
    private static partial int Action(int signal, byte* action, byte* old);

    [LibraryImport("libc", EntryPoint = "pthread_sigmask")]
    private static partial int SetMask(int how, ulong* set, ulong* old);

    [LibraryImport("libc", EntryPoint = "setrlimit")]
    private static partial int SetLimit(int resource, Limit* limit);
}
