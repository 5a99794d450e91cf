using Emulator.Kernel.Notifiers;

namespace Emulator.Kernel.Tasks;

/// <summary>What a task is doing inside the kernel, for reports: a stack of names, kept by the task alone.</summary>
public sealed class Operations
{
    private const int Most = 16;

    private readonly (string Name, ulong Start, ulong End)[] _stack = new (string, ulong, ulong)[Most];
    private int _depth;

    /// <summary>Changes of page tables that the task has announced to notifiers and not ended.</summary>
    internal int OpenRanges { get; set; }

    /// <summary>Callbacks of notifiers that the task is in.</summary>
    internal int Callbacks { get; set; }

    internal int Depth => _depth;

    /// <summary>The first and the last of the names; empty when there is none.</summary>
    internal string Outermost => _depth == 0 ? "" : _stack[0].Name;

    internal string Innermost => _depth == 0 ? "" : _stack[Math.Min(_depth, Most) - 1].Name;

    internal void Push(string name, ulong start, ulong end)
    {
        if (_depth < Most)
            _stack[_depth] = (name, start, end);
        _depth++;
    }

    internal void Pop() => _depth--;

    /// <summary>The operations, outermost first.</summary>
    internal string[] Names() => Names(Copy());

    /// <summary>As <see cref="Names()"/>, of what <see cref="Copy"/> gave.</summary>
    internal static string[] Names((string Name, ulong Start, ulong End)[] operations) =>
        Array.ConvertAll(operations, static o => o.End == 0 ? o.Name : $"{o.Name} {o.Start:x}-{o.End:x}");

    /// <summary>The operations, outermost first, for those who may have to name them later.</summary>
    internal (string Name, ulong Start, ulong End)[] Copy() => _depth == 0 ? [] : _stack[..Math.Min(_depth, Most)];
}

/// <summary>Ends an operation; see <see cref="OperationScopes.Operation"/>.</summary>
public readonly ref struct OperationScope
{
    private readonly Task? _task;
    private readonly int _openRanges;

    internal OperationScope(Task? task)
    {
        _task = task;
        _openRanges = task?.Operations.OpenRanges ?? 0;
    }

    public void Dispose()
    {
        if (_task is null)
            return;
        Operations operations = _task.Operations;
        if (operations.OpenRanges > _openRanges)
        {
            _task.Machine.Violations.Report(_task, NotifierRules.EndFollowsStart,
                $"{operations.OpenRanges - _openRanges} announced changes are not ended");
            operations.OpenRanges = _openRanges;
        }
        operations.Pop();
    }
}

/// <summary>Names what a task does: <c>using (task.Operation("munmap", start, end))</c>.</summary>
public static class OperationScopes
{
    /// <param name="task">Who; null when no task does it.</param>
    /// <param name="name">Linux's name of the operation; a constant.</param>
    /// <param name="start">First byte of what it is about.</param>
    /// <param name="end">First byte behind; 0: it is about no range.</param>
    public static OperationScope Operation(this Task? task, string name, ulong start = 0, ulong end = 0)
    {
        var scope = new OperationScope(task);
        task?.Operations.Push(name, start, end);
        return scope;
    }
}
