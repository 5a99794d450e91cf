using System.Runtime.InteropServices;
using System.Text;

namespace Emulator.Cli.Host;

/// <summary>What the command line does to its own host process: writing whole messages, and dying by a signal.</summary>
internal static unsafe partial class HostProcess
{
    private const int StandardError = 2;
    private const int ResourceCore = 4;

    /// <summary>Writes to standard error at once, without the console library's start-up cost.</summary>
    public static void WriteError(string text)
    {
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

    /// <summary>Stops this process as the terminal would (SIGTSTP, SIGTTIN, SIGTTOU), until somebody continues it.</summary>
    public static void Stop() => _ = Kill(GetPid(), 19);

    public static bool IsTerminal(int descriptor) => IsATty(descriptor) == 1;

    [StructLayout(LayoutKind.Sequential)]
    private struct Limit
    {
        public ulong Current, Maximum;
    }

    [LibraryImport("libc", EntryPoint = "write")]
    private static partial nint Write(int descriptor, byte* data, nuint count);

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "getpid")]
    private static partial int GetPid();

    [LibraryImport("libc", EntryPoint = "isatty")]
    private static partial int IsATty(int descriptor);

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint Signal(int signal, nint handler);

    [LibraryImport("libc", EntryPoint = "pthread_sigmask")]
    private static partial int SetMask(int how, ulong* set, ulong* old);

    [LibraryImport("libc", EntryPoint = "setrlimit")]
    private static partial int SetLimit(int resource, Limit* limit);
}
