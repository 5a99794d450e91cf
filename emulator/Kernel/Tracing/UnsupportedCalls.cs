using System.Globalization;
using Emulator.Kernel.Syscalls;

namespace Emulator.Kernel.Tracing;

/// <summary>Remembers the system calls that were answered with -ENOSYS because nobody has written them.</summary>
/// <param name="output">Where each is named when it first happens; null for nowhere.</param>
public sealed class UnsupportedCalls(TextWriter? output) : ISyscallTracer
{
    private readonly Lock _lock = new();
    private readonly SortedDictionary<ulong, long> _seen = [];

    /// <summary>Name and number of calls, by number.</summary>
    public IReadOnlyList<(string Name, long Count)> Seen
    {
        get
        {
            lock (_lock)
                return [.. _seen.Select(s => (Name(s.Key), s.Value))];
        }
    }

    public static string Name(ulong number) => SyscallNames.Find(number) ?? string.Create(CultureInfo.InvariantCulture, $"syscall_0x{number:x}");

    public void Enter(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args)
    {
        if (definition is not null)
            return;
        bool first;
        lock (_lock)
        {
            first = !_seen.TryGetValue(number, out long count);
            _seen[number] = count + 1;
        }
        if (first)
            output?.WriteLine(string.Create(CultureInfo.InvariantCulture, $"emulator: {task}: system call {number} ({Name(number)}) is not implemented: ENOSYS"));
    }

    public void Leave(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args, long result)
    {
    }
}
