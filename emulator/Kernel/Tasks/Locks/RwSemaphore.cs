namespace Emulator.Kernel.Tasks.Locks;

/// <summary>Many readers or one writer; a waiting writer keeps new readers out. Readers must not nest.</summary>
public sealed class RwSemaphore
{
    private const int Writer = -1;

    private readonly WaitQueue _queue = new();
    private int _state; // -1: a writer; otherwise the number of readers.
    private int _writersWaiting;

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

    public bool TryLockWrite() => Interlocked.CompareExchange(ref _state, Writer, 0) == 0;

    public void LockRead(Task task)
    {
        task.PreemptionPoint();
        if (!TryLockRead())
            _queue.Wait(task, this, static s => s.TryLockRead(), interruptible: false);
    }

    public void LockWrite(Task task)
    {
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
        if (Interlocked.Decrement(ref _state) == 0)
            _queue.WakeAll();
    }

    public void UnlockWrite()
    {
        Volatile.Write(ref _state, 0);
        _queue.WakeAll();
    }

    /// <summary>Turns the writer into a reader without letting another writer in between.</summary>
    public void Downgrade()
    {
        Volatile.Write(ref _state, 1);
        _queue.WakeAll();
    }

    public ReadScope EnterRead(Task task)
    {
        LockRead(task);
        return new ReadScope(this);
    }

    public WriteScope EnterWrite(Task task)
    {
        LockWrite(task);
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
