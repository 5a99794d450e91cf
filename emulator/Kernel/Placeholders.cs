// Types whose owners replace these lines: delete the line together with pushing the real type.
namespace Emulator.Kernel;

internal static class Exec
{
    internal static long First(Task task, string hostProgram, IReadOnlyList<byte[]> argv, IReadOnlyList<byte[]> envp, out string? message)
    {
        message = null;
        return -Errno.ENOEXEC;
    }
}
