using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Notifiers;

/// <summary>One callback of a notifier: named in reports, and forbidden to sleep where the rules say so (non_block_start, page-table locks).</summary>
internal readonly ref struct CallbackScope
{
    private readonly Task? _task;
    private readonly bool _maySleep;
    private readonly OperationScope _operation;

    public CallbackScope(Task? task, string name, ulong start, ulong end, bool maySleep)
    {
        _task = task;
        _maySleep = maySleep;
        _operation = task.Operation(name, start, end);
        if (task is null)
            return;
        task.Operations.Callbacks++;
        if (!maySleep)
            task.NonBlockStart();
    }

    public CallbackScope(Task? task, string name, in MmuNotifierRange range)
        : this(task, name, range.Start, range.End, range.Blockable)
    {
    }

    public void Dispose()
    {
        if (_task is not null)
        {
            _task.Operations.Callbacks--;
            if (!_maySleep)
                _task.NonBlockEnd();
        }
        _operation.Dispose();
    }
}
