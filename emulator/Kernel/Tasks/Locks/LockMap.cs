using System.Runtime.CompilerServices;

namespace Emulator.Kernel.Tasks.Locks;

/// <summary>
/// Something that is waited for like a lock but is none: lockdep is told where it would be held (lock_map_acquire), and so finds circles that
/// no lock alone makes.
/// </summary>
internal sealed class LockMap(LockClass lockClass)
{
    /// <param name="task">The caller; null: nobody whom lockdep watches.</param>
    /// <param name="sleeps">What is done inside may sleep.</param>
    /// <param name="where">For reports.</param>
    public Scope Enter(Task? task, bool sleeps = true, [CallerMemberName] string where = "")
    {
        LockDep? lockDep = task?.Machine.LockDep;
        lockDep?.Acquire(task!, this, lockClass, sleeps ? LockKind.Sleeping : LockKind.Spin, LockMode.Exclusive, 0, where);
        return new Scope(lockDep, this);
    }

    public readonly ref struct Scope(LockDep? lockDep, LockMap map)
    {
        public void Dispose() => lockDep?.Release(map);
    }
}
