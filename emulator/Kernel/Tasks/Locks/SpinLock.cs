using System.Runtime.CompilerServices;

namespace Emulator.Kernel.Tasks.Locks;

/// <summary>
/// A lock for short sections that never block. The spinning vCPU serves interrupts from others, or two vCPUs that each hold what the other
/// one's flush waits for would wait for ever.
/// </summary>
public sealed class SpinLock(LockClass lockClass)
{
    private int _held;
    private LockDep? _lockDep;

    public bool IsHeld => Volatile.Read(ref _held) != 0;

    public bool TryLock() => Volatile.Read(ref _held) == 0 && Interlocked.CompareExchange(ref _held, 1, 0) == 0;

    /// <param name="task">The caller; null only while a machine is being made, when nobody else can hold the lock.</param>
    /// <param name="subclass">Higher than that of another lock of the class that the caller holds.</param>
    /// <param name="where">For reports.</param>
    public void Lock(Task? task, int subclass = 0, [CallerMemberName] string where = "")
    {
        if (task?.Machine.LockDep is { } lockDep)
            (_lockDep = lockDep).Acquire(task, this, lockClass, LockKind.Spin, LockMode.Exclusive, subclass, where);
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

    public void Unlock()
    {
        _lockDep?.Release(this);
        Volatile.Write(ref _held, 0);
    }

    public Scope Enter(Task? task, int subclass = 0, [CallerMemberName] string where = "")
    {
        Lock(task, subclass, where);
        return new Scope(this);
    }

    public readonly ref struct Scope(SpinLock spinLock)
    {
        public void Dispose() => spinLock.Unlock();
    }
}
