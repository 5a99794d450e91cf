namespace Emulator.Kernel.Syscalls;

/// <summary>execve and execveat.</summary>
internal static class ExecSyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
    ];
}
