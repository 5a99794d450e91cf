namespace Emulator.Kernel.Tasks.Locks;

/// <summary>A sleeping lock. <c>using (mutex.Enter(task))</c> holds it for a scope.</summary>
public sealed class Mutex
{
    private readonly WaitQueue _queue = new();
    private int _held;

    public bool IsHeld => Volatile.Read(ref _held) != 0;

    public bool TryLock() => Interlocked.CompareExchange(ref _held, 1, 0) == 0;

    public void Lock(Task task)
    {
        task.PreemptionPoint();
        if (!TryLock())
            _queue.Wait(task, this, static m => m.TryLock(), interruptible: false);
    }

    public void Unlock()
    {
        Volatile.Write(ref _held, 0);
        _queue.Wake();
    }

    public Scope Enter(Task task)
    {
        Lock(task);
        return new Scope(this);
    }

    public readonly ref struct Scope(Mutex mutex)
    {
        public void Dispose() => mutex.Unlock();
    }
}
