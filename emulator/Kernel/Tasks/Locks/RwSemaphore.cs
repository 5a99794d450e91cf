using System.Runtime.CompilerServices;

namespace Emulator.Kernel.Tasks.Locks;

/// <summary>Many readers or one writer; a waiting writer keeps new readers out. Readers must not nest.</summary>
public sealed class RwSemaphore(LockClass lockClass)
{
    private const int Writer = -1;

    private readonly WaitQueue _queue = new();
    private int _state; // -1: a writer; otherwise the number of readers.
    private int _writersWaiting;
    private LockDep? _lockDep;

    public bool IsHeld => Volatile.Read(ref _state) != 0;

    public bool IsHeldForWrite => Volatile.Read(ref _state) == Writer;

    public bool TryLockRead()
    {
        while (Volatile.Read(ref _writersWaiting) == 0)
        {
            int state = Volatile.Read(ref _state);
            if (state == Writer)
                return false;
            if (Interlocked.CompareExchange(ref _state, state + 1, state) == state)
                return true;
        }
        return false;
    }

    /// <summary>As <see cref="TryLockRead()"/>, for a caller whom lockdep watches.</summary>
    public bool TryLockRead(Task task, [CallerMemberName] string where = "")
    {
        if (!TryLockRead())
            return false;
        if (task.Machine.LockDep is { } lockDep)
            (_lockDep = lockDep).Acquired(task, this, lockClass, LockMode.Shared, where);
        return true;
    }

    /// <summary>As <see cref="TryLockWrite()"/>, for a caller whom lockdep watches.</summary>
    public bool TryLockWrite(Task task, [CallerMemberName] string where = "")
    {
        if (!TryLockWrite())
            return false;
        if (task.Machine.LockDep is { } lockDep)
            (_lockDep = lockDep).Acquired(task, this, lockClass, LockMode.Exclusive, where);
        return true;
    }

    public bool TryLockWrite() => Interlocked.CompareExchange(ref _state, Writer, 0) == 0;

    private static void RequireUncontended(bool taken)
    {
        if (!taken)
            throw new InvalidOperationException("Somebody who is no task would have to wait for a lock.");
    }

    /// <inheritdoc cref="Mutex.Lock"/>
    /// <remarks>Without a task only where nobody else can hold the lock: in a machine that is being made, and in tests.</remarks>
    public void LockRead(Task? task, int subclass = 0, [CallerMemberName] string where = "")
    {
        if (task is null)
        {
            RequireUncontended(TryLockRead());
            return;
        }
        if (task.Machine.LockDep is { } lockDep)
            (_lockDep = lockDep).Acquire(task, this, lockClass, LockKind.Sleeping, LockMode.Shared, subclass, where);
        task.PreemptionPoint();
        if (!TryLockRead())
            _queue.Wait(task, this, static s => s.TryLockRead(), interruptible: false);
    }

    /// <inheritdoc cref="Mutex.Lock"/>
    public void LockWrite(Task? task, int subclass = 0, [CallerMemberName] string where = "")
    {
        if (task is null)
        {
            RequireUncontended(TryLockWrite());
            return;
        }
        if (task.Machine.LockDep is { } lockDep)
            (_lockDep = lockDep).Acquire(task, this, lockClass, LockKind.Sleeping, LockMode.Exclusive, subclass, where);
        task.PreemptionPoint();
        if (TryLockWrite())
            return;
        Interlocked.Increment(ref _writersWaiting);
        try
        {
            _queue.Wait(task, this, static s => s.TryLockWrite(), interruptible: false);
        }
        finally
        {
            // Readers that this writer kept out may go once it is the owner no longer: UnlockWrite wakes them.
            if (Interlocked.Decrement(ref _writersWaiting) == 0 && !IsHeldForWrite)
                _queue.WakeAll();
        }
    }

    public void UnlockRead()
    {
        _lockDep?.Release(this);
        if (Interlocked.Decrement(ref _state) == 0)
            _queue.WakeAll();
    }

    public void UnlockWrite()
    {
        _lockDep?.Release(this);
        Volatile.Write(ref _state, 0);
        _queue.WakeAll();
    }

    /// <summary>Turns the writer into a reader without letting another writer in between.</summary>
    public void Downgrade()
    {
        _lockDep?.Downgrade(this);
        Volatile.Write(ref _state, 1);
        _queue.WakeAll();
    }

    public ReadScope EnterRead(Task? task, int subclass = 0, [CallerMemberName] string where = "")
    {
        LockRead(task, subclass, where);
        return new ReadScope(this);
    }

    public WriteScope EnterWrite(Task? task, int subclass = 0, [CallerMemberName] string where = "")
    {
        LockWrite(task, subclass, where);
        return new WriteScope(this);
    }

    public readonly ref struct ReadScope(RwSemaphore semaphore)
    {
        public void Dispose() => semaphore.UnlockRead();
    }

    public readonly ref struct WriteScope(RwSemaphore semaphore)
    {
        public void Dispose() => semaphore.UnlockWrite();
    }
}
