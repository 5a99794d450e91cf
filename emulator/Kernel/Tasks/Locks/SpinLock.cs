namespace Emulator.Kernel.Tasks.Locks;

/// <summary>
/// A lock for short sections that never block. The spinning vCPU serves interrupts from others, or two vCPUs that each hold what the other
/// one's flush waits for would wait for ever.
/// </summary>
public sealed class SpinLock
{
    private int _held;

    public bool IsHeld => Volatile.Read(ref _held) != 0;

    public bool TryLock() => Volatile.Read(ref _held) == 0 && Interlocked.CompareExchange(ref _held, 1, 0) == 0;

    /// <param name="task">The caller; null only while a machine is being made, when nobody else can hold the lock.</param>
    public void Lock(Task? task)
    {
        task?.PreemptionPoint();
        if (TryLock())
            return;
        var spin = default(SpinWait);
        while (!TryLock())
        {
            task?.SpinOnce();
            spin.SpinOnce(sleep1Threshold: -1);
        }
    }

    public void Unlock() => Volatile.Write(ref _held, 0);

    public Scope Enter(Task? task)
    {
        Lock(task);
        return new Scope(this);
    }

    public readonly ref struct Scope(SpinLock spinLock)
    {
        public void Dispose() => spinLock.Unlock();
    }
}
