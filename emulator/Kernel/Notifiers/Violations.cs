namespace Emulator.Kernel.Notifiers;

/// <summary>One broken rule.</summary>
/// <param name="Rule">The rule's text.</param>
/// <param name="Text">What broke it.</param>
/// <param name="Task">Who, or empty when no task did.</param>
/// <param name="Operations">What the task was doing, outermost first.</param>
public sealed record Violation(string Rule, string Text, string Task, IReadOnlyList<string> Operations)
{
    public override string ToString()
    {
        string at = Operations.Count == 0 ? "" : $"\n  in: {string.Join(" > ", Operations)}";
        return $"rule broken: {Rule}\n  {Text}{(Task.Length == 0 ? "" : $"\n  by: {Task}")}{at}";
    }
}

/// <summary>
/// Where everything is reported that breaks a rule of the kernel's interfaces. The operation goes on as Linux's would, so a machine with
/// violations has shown something wrong and says so at its end. Any thread may report.
/// </summary>
public sealed class Violations
{
    /// <summary>More are counted but not kept: a broken rule in a loop must not fill the host's memory.</summary>
    private const int Kept = 1000;

    private readonly Lock _lock = new();
    private readonly List<Violation> _list = [];
    private long _count;

    public long Count => Volatile.Read(ref _count);

    /// <summary>What was reported so far, the first thousand.</summary>
    public IReadOnlyList<Violation> All
    {
        get
        {
            lock (_lock)
                return [.. _list];
        }
    }

    /// <summary>Returns what was reported and forgets it: for those who break rules on purpose.</summary>
    public IReadOnlyList<Violation> Take()
    {
        lock (_lock)
        {
            Violation[] taken = [.. _list];
            _list.Clear();
            _count = 0;
            return taken;
        }
    }

    /// <param name="task">The task that broke it, if a task did; its operations are recorded.</param>
    /// <param name="rule">The rule's text.</param>
    /// <param name="text">What broke it, with the figures.</param>
    internal void Report(Task? task, string rule, string text)
    {
        var violation = new Violation(rule, text, task?.ToString() ?? "", task?.Operations.Names() ?? []);
        lock (_lock)
        {
            _count++;
            if (_list.Count < Kept)
                _list.Add(violation);
        }
    }
}
