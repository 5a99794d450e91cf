using System.Runtime.CompilerServices;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Notifiers;

/// <summary>
/// Sleepable read-copy-update (kernel/rcu/srcutree.c): readers may sleep; <see cref="Synchronize"/> waits for all that were inside when
/// it was called, and <see cref="Call"/> does something when they have left.
/// </summary>
/// <remarks>
/// Readers count in one of two slots. A grace period turns new readers to the other slot, which is empty since the grace period before,
/// and ends when the old one is empty.
/// </remarks>
internal sealed class Srcu
{
    private readonly Lock _lock = new();
    private readonly WaitQueue _queue = new();
    private readonly Mutex _gracePeriod = new(LockClass.Srcu);
    private readonly List<Action> _callbacks = [];
    private readonly int[] _readers = new int[2];
    private int _current;
    private LockDep? _lockDep;

    /// <summary>Readers inside now.</summary>
    public int Readers => Volatile.Read(ref _readers[0]) + Volatile.Read(ref _readers[1]);

    /// <summary>Enters a read section; the result goes to <see cref="Exit"/>.</summary>
    public int Enter(Task? task, [CallerMemberName] string where = "")
    {
        if (task?.Machine.LockDep is { } lockDep)
            (_lockDep = lockDep).Acquire(task, this, LockClass.SrcuRead, LockKind.Section, LockMode.Recursive, 0, where);
        lock (_lock)
        {
            _readers[_current]++;
            return _current;
        }
    }

    public void Exit(int slot)
    {
        _lockDep?.Release(this);
        Action[] due = [];
        lock (_lock)
        {
            _readers[slot]--;
            if (_callbacks.Count != 0 && Readers == 0)
            {
                due = [.. _callbacks];
                _callbacks.Clear();
            }
        }
        foreach (Action callback in due)
            callback();
        _queue.WakeAll();
    }

    /// <summary>Waits until every reader that is inside now has left (synchronize_srcu).</summary>
    public void Synchronize(Task? task)
    {
        if (task is null)
        {
            if (Readers != 0)
                throw new InvalidOperationException("Somebody who is no task waits for callbacks of notifiers.");
            return;
        }
        task.Machine.LockDep?.Synchronize(task, this, LockClass.SrcuRead, nameof(Synchronize));
        using (_gracePeriod.Enter(task))
        {
            int old;
            lock (_lock)
            {
                old = _current;
                _current ^= 1;
            }
            _queue.Wait(task, (_readers, old), static s => Volatile.Read(ref s._readers[s.old]) == 0, interruptible: false);
        }
    }

    /// <summary>Calls <paramref name="callback"/> once every reader that is inside now has left (call_srcu): at once if there is none.</summary>
    public void Call(Action callback)
    {
        lock (_lock)
        {
            if (Readers != 0)
            {
                _callbacks.Add(callback);
                return;
            }
        }
        callback();
    }

    /// <summary>Waits for the callbacks of <see cref="Call"/> (srcu_barrier).</summary>
    public void Barrier(Task? task)
    {
        lock (_lock)
        {
            if (_callbacks.Count == 0)
                return;
        }
        if (task is null)
            throw new InvalidOperationException("Somebody who is no task waits for callbacks of notifiers.");
        _queue.Wait(task, this, static s => s.Idle, interruptible: false);
    }

    private bool Idle
    {
        get
        {
            lock (_lock)
                return _callbacks.Count == 0;
        }
    }
}
