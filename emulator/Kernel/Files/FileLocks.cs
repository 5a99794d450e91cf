using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files;

/// <summary>A lock on a byte range. Linux's F_RDLCK and F_WRLCK.</summary>
/// <param name="Owner">The descriptor table for POSIX locks, the open file for OFD and flock locks.</param>
/// <param name="Pid">Who F_GETLK reports; -1 for OFD locks.</param>
/// <param name="Start">First byte.</param>
/// <param name="End">Last byte, <see cref="long.MaxValue"/> for "to the end".</param>
/// <param name="Exclusive">A write lock.</param>
internal sealed record FileLock(object Owner, int Pid, long Start, long End, bool Exclusive)
{
    public bool ConflictsWith(FileLock other) =>
        !ReferenceEquals(Owner, other.Owner) && (Exclusive || other.Exclusive) && Start <= other.End && other.Start <= End;
}

/// <summary>The advisory locks of one file (fs/locks.c): fcntl's record locks, and flock's whole-file locks, which do not see each other.</summary>
/// <remarks>In bounds: each lock is counted in the kernel's memory, and none is taken when there is no room. Ranges were made by arithmetic that refuses to wrap.</remarks>
public sealed class FileLocks
{
    private readonly Lock _lock = new();
    private readonly List<FileLock> _records = [];
    private readonly List<FileLock> _whole = [];
    private readonly WaitQueue _released = new();
    private Memory.KernelMemory? _memory;

    private void Count(int more) => _memory?.Charge(more * (long)Memory.KernelMemory.FileLock);

    internal bool IsEmpty => _records.Count == 0 && _whole.Count == 0;

    /// <summary>The first record lock in the way of <paramref name="wanted"/>, or null.</summary>
    internal FileLock? FindConflict(FileLock wanted)
    {
        lock (_lock)
            return _records.Find(wanted.ConflictsWith);
    }

    /// <summary>F_SETLK, F_SETLKW and the OFD forms.</summary>
    internal long SetRecord(Task task, FileLock wanted, bool wait) => Acquire(task, _records, wanted, wait);

    /// <summary>Removes the owner's record locks from a range, splitting what reaches beyond it.</summary>
    internal void ClearRecord(object owner, long start, long end) => Clear(_records, owner, start, end);

    /// <summary>flock(2). A conversion drops the old lock first, so that it may lose it (flock(2), NOTES).</summary>
    internal long SetWhole(Task task, OpenFile owner, bool exclusive, bool wait)
    {
        var wanted = new FileLock(owner, task.Process.Pid, 0, long.MaxValue, exclusive);
        lock (_lock)
        {
            if (_whole.Exists(l => ReferenceEquals(l.Owner, owner) && l.Exclusive == exclusive))
                return 0;
        }
        Clear(_whole, owner, 0, long.MaxValue);
        return Acquire(task, _whole, wanted, wait);
    }

    internal void ClearWhole(OpenFile owner) => Clear(_whole, owner, 0, long.MaxValue);

    internal void ReleasePosix(object table) => Clear(_records, table, 0, long.MaxValue);

    internal void ReleaseOwner(object owner)
    {
        Clear(_whole, owner, 0, long.MaxValue);
        Clear(_records, owner, 0, long.MaxValue);
    }

    private long Acquire(Task task, List<FileLock> list, FileLock wanted, bool wait)
    {
        _memory = task.Machine.KernelMemory;
        if (!_memory.HasRoom)
            return -Errno.ENOLCK;
        if (TryAcquire(list, wanted))
            return 0;
        if (!wait)
            return -Errno.EAGAIN;
        return _released.Wait(task, (Self: this, list, wanted), static s => s.Self.TryAcquire(s.list, s.wanted)) switch
        {
            WaitResult.Ok => 0,
            _ => -Errno.ERESTARTSYS,
        };
    }

    private bool TryAcquire(List<FileLock> list, FileLock wanted)
    {
        bool replaced;
        lock (_lock)
        {
            if (list.Exists(wanted.ConflictsWith))
                return false;
            int before = list.Count;
            replaced = Carve(list, wanted.Owner, wanted.Start, wanted.End);
            list.Add(wanted);
            Count(list.Count - before);
        }
        if (replaced && !wanted.Exclusive)
            _released.WakeAll(); // A downgrade lets other readers in.
        return true;
    }

    private void Clear(List<FileLock> list, object owner, long start, long end)
    {
        lock (_lock)
        {
            int before = list.Count;
            if (before == 0 || !Carve(list, owner, start, end))
                return;
            Count(list.Count - before);
        }
        _released.WakeAll();
    }

    private static bool Carve(List<FileLock> list, object owner, long start, long end)
    {
        bool any = false;
        for (int i = list.Count - 1; i >= 0; i--)
        {
            FileLock l = list[i];
            if (!ReferenceEquals(l.Owner, owner) || l.Start > end || start > l.End)
                continue;
            any = true;
            list.RemoveAt(i);
            if (l.Start < start)
                list.Add(l with { End = start - 1 });
            if (l.End > end)
                list.Add(l with { Start = end + 1 });
        }
        return any;
    }
}
