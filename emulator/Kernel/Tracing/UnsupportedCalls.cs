using System.Collections.Concurrent;
using System.Globalization;
using Emulator.Kernel.Syscalls;

namespace Emulator.Kernel.Tracing;

/// <summary>Names each system call that nobody has written when a guest first makes it.</summary>
public sealed class UnsupportedCalls(TextWriter output) : ISyscallTracer
{
    private readonly ConcurrentDictionary<ulong, bool> _seen = new();

    public void Enter(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args)
    {
        if (definition is null && _seen.TryAdd(number, true))
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"emulator: {task}: system call {number} ({SyscallNames.Of(number)}) is not implemented: ENOSYS"));
    }

    public void Leave(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args, long result)
    {
    }
}
