using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Emulator.Kernel.Syscalls;

namespace Emulator.Kernel.Tracing;

/// <summary>
/// Prints system calls in the format of strace(1): <c>name(arguments) = result</c>, a line for each call when it returns. Once a second task
/// appears, lines carry <c>[pid N]</c>.
/// </summary>
public sealed class Strace(TextWriter output) : ISyscallTracer
{
    private readonly ConcurrentDictionary<int, string[]> _entered = new();
    private readonly Lock _lock = new();
    private int _first, _many;

    public void Enter(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args)
    {
        if (_first == 0)
            Interlocked.CompareExchange(ref _first, task.Tid, 0);
        if (_first != task.Tid)
            _many = 1;
        string[] kinds = Kinds(definition);
        var texts = new string[kinds.Length];
        for (int i = 0; i < kinds.Length; i++)
            texts[i] = kinds[i].StartsWith("out:", StringComparison.Ordinal) ? "" : ArgumentText.Format(task, kinds, i, args, null);
        // These do not come back.
        if (definition?.Name is "exit" or "exit_group")
            Print(task, $"{definition.Name}({string.Join(", ", texts)}) = ?");
        else
            _entered[task.Tid] = texts;
    }

    public void Leave(Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args, long result)
    {
        if (!_entered.TryRemove(task.Tid, out string[]? texts))
            return;
        string[] kinds = Kinds(definition);
        for (int i = 0; i < kinds.Length; i++)
        {
            if (kinds[i].StartsWith("out:", StringComparison.Ordinal))
                texts[i] = ArgumentText.Format(task, kinds, i, args, result);
        }
        string name = definition?.Name ?? SyscallNames.Of(number);
        Print(task, $"{name}({string.Join(", ", texts)}) = {Result(definition, result)}{(definition is null ? " [not implemented by the emulator]" : "")}");
    }

    private static string[] Kinds(SyscallDefinition? definition) => definition is null
        ? ["hex", "hex", "hex", "hex", "hex", "hex"]
        : definition.Arguments.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private static string Result(SyscallDefinition? definition, long result)
    {
        if (result is < 0 and > -4096)
        {
            return result switch
            {
                -512 => "? ERESTARTSYS (To be restarted if SA_RESTART is set)",
                -513 => "? ERESTARTNOINTR (To be restarted)",
                -514 => "? ERESTARTNOHAND (To be restarted if no handler)",
                -516 => "? ERESTART_RESTARTBLOCK (Interrupted by signal)",
                _ => string.Create(CultureInfo.InvariantCulture, $"-1 {Errno.Name((int)-result)} ({ErrnoText.Describe((int)-result)})"),
            };
        }
        return definition?.Name is "mmap" or "brk" or "mremap" or "shmat"
            ? "0x" + result.ToString("x", CultureInfo.InvariantCulture)
            : result.ToString(CultureInfo.InvariantCulture);
    }

    private void Print(Task task, string text)
    {
        lock (_lock)
            output.WriteLine(_many != 0 ? string.Create(CultureInfo.InvariantCulture, $"[pid {task.Tid,5}] {text}") : text);
    }
}
