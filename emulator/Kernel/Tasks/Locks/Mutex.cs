using System.Runtime.CompilerServices;

namespace Emulator.Kernel.Tasks.Locks;

/// <summary>A sleeping lock. <c>using (mutex.Enter(task))</c> holds it for a scope.</summary>
public sealed class Mutex(LockClass lockClass)
{
    private readonly WaitQueue _queue = new();
    private int _held;
    private LockDep? _lockDep;

    public bool IsHeld => Volatile.Read(ref _held) != 0;

    private bool TryTake() => Interlocked.CompareExchange(ref _held, 1, 0) == 0;

    public bool TryLock(Task? task, [CallerMemberName] string where = "")
    {
        if (!TryTake())
            return false;
        if (task?.Machine.LockDep is { } lockDep)
            (_lockDep = lockDep).Acquired(task, this, lockClass, LockMode.Exclusive, where);
        return true;
    }

    /// <param name="task">The caller; null only while nobody can hold the lock for long.</param>
    /// <param name="subclass">Higher than that of another lock of the class that the caller holds.</param>
    /// <param name="where">For reports.</param>
    public void Lock(Task? task, int subclass = 0, [CallerMemberName] string where = "")
    {
        if (task is null)
        {
            SpinWait.SpinUntil(TryTake);
            return;
        }
        if (task.Machine.LockDep is { } lockDep)
            (_lockDep = lockDep).Acquire(task, this, lockClass, LockKind.Sleeping, LockMode.Exclusive, subclass, where);
        task.PreemptionPoint();
        if (!TryTake())
            _queue.Wait(task, this, static m => m.TryTake(), interruptible: false);
    }

    public void Unlock()
    {
        _lockDep?.Release(this);
        Volatile.Write(ref _held, 0);
        _queue.Wake();
    }

    public Scope Enter(Task? task, int subclass = 0, [CallerMemberName] string where = "")
    {
        Lock(task, subclass, where);
        return new Scope(this);
    }

    public readonly ref struct Scope(Mutex mutex)
    {
        public void Dispose() => mutex.Unlock();
    }
}
