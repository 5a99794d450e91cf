using Emulator.Kernel.Memory;
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

/// <summary>Holds every lock under which changes of an address space begin and end, besides the mmap lock, which the caller holds (mm_take_all_locks).</summary>
internal readonly ref struct AllLocks
{
    private readonly List<PageCache> _caches;

    public AllLocks(Task? task, Mm mm)
    {
        var caches = new SortedList<uint, PageCache>();
        for (Vma? vma = mm.Vmas.First; vma is not null; vma = mm.Vmas.Next(vma))
        {
            if (vma.Cache is { } cache)
                caches[cache.Id] = cache;
        }
        // Always in the same order, or two registrations could wait for each other.
        _caches = [.. caches.Values];
        for (int i = 0; i < _caches.Count; i++)
            _caches[i].MappingsLock.LockWrite(task, subclass: i);
    }

    public void Dispose()
    {
        foreach (PageCache cache in _caches)
            cache.MappingsLock.UnlockWrite();
    }
}
