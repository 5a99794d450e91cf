using System.Runtime.InteropServices;

namespace Emulator.Kernel.Tracing;

/// <summary>What an error number means, in the words of perror(3); <see cref="Errno.Name"/> gives its name.</summary>
public static class ErrnoText
{
    /// <summary>The host's text; its numbers are those of Linux where the emulator runs on Linux.</summary>
    public static string Describe(int errno) => Marshal.GetPInvokeErrorMessage(errno);
}
