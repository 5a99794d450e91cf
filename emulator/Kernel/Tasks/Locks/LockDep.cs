using System.Collections.Concurrent;
using System.Globalization;

namespace Emulator.Kernel.Tasks.Locks;

/// <summary>
/// Watches locks (kernel/locking/lockdep.c): an order in which two classes were ever taken is remembered, and its reverse is reported the first
/// time it is seen, whether or not two tasks happened to meet in it. Also reported: sleeping where it is forbidden, and locks that outlive
/// the system call that took them.
/// </summary>
/// <remarks>What a host thread holds is kept by that thread alone; the graph is shared, under a leaf lock that is taken for new edges only.</remarks>
internal sealed class LockDep(Action<Task?, string, string> report)
{
    private readonly ConcurrentDictionary<int, List<HeldLock>> _held = new();
    private readonly ConcurrentDictionary<int, int> _pages = new();
    private readonly LockGraph _graph = new();

    /// <param name="Lock">The lock itself.</param>
    /// <param name="Node">Its class and subclass in the graph.</param>
    /// <param name="Where">Who took it.</param>
    private readonly record struct HeldLock(object Lock, LockNode Node, LockMode Mode, LockKind Kind, string Where)
    {
        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Node}{Suffix(Mode)} taken in {Where}");
    }

    private static string Suffix(LockMode mode) => mode == LockMode.Exclusive ? "" : " (read)";

    private List<HeldLock> Mine => _held.GetOrAdd(Environment.CurrentManagedThreadId, static _ => []);

    /// <summary>A task is about to take a lock, and will wait for it if it must.</summary>
    public void Acquire(Task task, object what, LockClass lockClass, LockKind kind, LockMode mode, int subclass, string where)
    {
        List<HeldLock> held = Mine;
        if (kind == LockKind.Sleeping)
            MightSleep(task, held, $"waiting for {lockClass} in {where}");
        var next = new HeldLock(what, new LockNode(lockClass, subclass), mode, kind, where);
        foreach (HeldLock outer in held)
            Check(task, outer, next);
        held.Add(next);
    }

    /// <summary>A task has taken a lock without waiting: nobody can be waiting in a circle because of that.</summary>
    public void Acquired(Task task, object what, LockClass lockClass, LockMode mode, string where) =>
        Mine.Add(new HeldLock(what, new LockNode(lockClass, 0), mode, LockKind.Sleeping, where));

    /// <summary>
    /// A page is locked, after waiting or not. Whoever has one already only tries further ones, and may have hundreds; so all of a thread's count
    /// as one lock, which is taken with the first and released with the last.
    /// </summary>
    /// <param name="task">The caller, if it waited.</param>
    /// <param name="what">Stands for all pages.</param>
    /// <param name="where">For reports.</param>
    public void AcquirePage(Task? task, object what, string where)
    {
        if (_pages.AddOrUpdate(Environment.CurrentManagedThreadId, 1, static (_, count) => count + 1) > 1)
            return;
        if (task is not null)
            Acquire(task, what, LockClass.Page, LockKind.Sleeping, LockMode.Exclusive, 0, where);
        else
            Mine.Add(new HeldLock(what, new LockNode(LockClass.Page, 0), LockMode.Exclusive, LockKind.Sleeping, where));
    }

    /// <summary>A page is unlocked. Those that were born locked were never acquired.</summary>
    public void ReleasePage(object what)
    {
        if (_pages.AddOrUpdate(Environment.CurrentManagedThreadId, 0, static (_, count) => Math.Max(0, count - 1)) == 0)
            Release(what);
    }

    /// <summary>A task waits until nobody holds a lock, without taking it (lock_sync).</summary>
    public void Synchronize(Task task, object what, LockClass lockClass, string where)
    {
        Acquire(task, what, lockClass, LockKind.Sleeping, LockMode.Exclusive, 0, where);
        Release(what);
    }

    public void Release(object what)
    {
        if (!_held.TryGetValue(Environment.CurrentManagedThreadId, out List<HeldLock>? held))
            return;
        int at = held.FindLastIndex(h => ReferenceEquals(h.Lock, what));
        if (at >= 0)
            held.RemoveAt(at);
    }

    public void Downgrade(object what)
    {
        List<HeldLock> held = Mine;
        int at = held.FindLastIndex(h => ReferenceEquals(h.Lock, what));
        if (at >= 0)
            held[at] = held[at] with { Mode = LockMode.Shared };
    }

    /// <summary>Whether the calling thread holds a lock (lockdep_is_held).</summary>
    public bool IsHeld(object what) => Mine.Exists(h => ReferenceEquals(h.Lock, what));

    /// <summary>The caller may sleep here (might_sleep): it must hold no spin lock and be in no non-blockable section.</summary>
    public void MightSleep(Task task, string what) => MightSleep(task, Mine, what);

    private void MightSleep(Task task, List<HeldLock> held, string what)
    {
        if (task.NonBlockCount > 0)
            report(task, Notifiers.NotifierRules.MustNotSleep, $"{what}, inside non_block_start: the caller has promised not to block");
        int spin = held.FindLastIndex(static h => h.Kind == LockKind.Spin);
        if (spin >= 0)
            report(task, Notifiers.NotifierRules.MustNotSleep, $"{what}, while holding the spin lock {held[spin]}");
    }

    /// <summary>Nothing may be held when a system call or a task ends.</summary>
    public void AssertNothingHeld(Task task, string what)
    {
        List<HeldLock> held = Mine;
        if (held.Count == 0)
            return;
        report(task, LockRules.HeldAtExit, $"{what} ends while holding {string.Join(", ", held)}");
        held.Clear();
    }

    /// <summary>A task's thread goes back to the pool.</summary>
    public void Forget()
    {
        _held.TryRemove(Environment.CurrentManagedThreadId, out _);
        _pages.TryRemove(Environment.CurrentManagedThreadId, out _);
    }

    private void Check(Task task, in HeldLock outer, in HeldLock next)
    {
        bool readers = outer.Mode == LockMode.Recursive && next.Mode == LockMode.Recursive;
        if (ReferenceEquals(outer.Lock, next.Lock))
        {
            if (!readers)
                report(task, LockRules.Recursion, $"{next} is held already: {outer}");
            return;
        }
        if (outer.Node == next.Node)
        {
            if (!readers)
                report(task, LockRules.PossibleRecursion, $"{next}, and another lock of the class is held: {outer}; nested locks of a class need subclasses");
            return;
        }
        var edge = new LockEdge(outer.Node, outer.Mode, next.Node, next.Mode);
        if (_graph.Knows(edge))
            return;
        string seen = Describe(task, outer, next);
        if (_graph.Add(edge, seen) is { } circle)
            report(task, LockRules.Inversion, $"{seen}\nbut the opposite order was seen before:\n{circle}");
    }

    private static string Describe(Task task, in HeldLock outer, in HeldLock next)
    {
        string[] operations = task.Operations.Names();
        return string.Create(CultureInfo.InvariantCulture,
            $"  {outer.Node}{Suffix(outer.Mode)} -> {next.Node}{Suffix(next.Mode)}: first in {outer.Where}, then in {next.Where}, by {task}{(operations.Length == 0 ? "" : " in ")}{string.Join(" > ", operations)}");
    }
}
