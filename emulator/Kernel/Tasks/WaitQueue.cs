namespace Emulator.Kernel.Tasks;

/// <summary>How a wait ended.</summary>
public enum WaitResult
{
    Ok,

    /// <summary>A signal is pending; the caller returns -ERESTARTSYS or -EINTR.</summary>
    Interrupted,

    TimedOut,
}

/// <summary>An entry of a <see cref="WaitQueue"/>. The plain one wakes its task; epoll derives its own.</summary>
public class Waiter(Task? task)
{
    internal LinkedListNode<Waiter>? Node;
    internal bool Signalled;

    public Task? Task { get; } = task;

    /// <summary>Called with the queue's lock held: must not block, take another lock that is held around a wake, or send an IPI.</summary>
    public virtual void Notify() => Task!.WakeUp();
}

/// <summary>The one wait primitive: tasks that wait for a condition, and those who make it true and call <see cref="Wake"/>.</summary>
/// <remarks>
/// A waiter joins the queue, announces that it is about to sleep, and only then looks at the condition. A waker makes the condition true
/// and only then looks at the queue. Each does its two steps in that order with a full fence between them, so one of them sees the other.
/// </remarks>
public sealed class WaitQueue
{
    private readonly Lock _lock = new();
    private readonly LinkedList<Waiter> _waiters = new();
    private int _count;

    public bool HasWaiters => Volatile.Read(ref _count) != 0;

    public void Add(Waiter waiter)
    {
        lock (_lock)
        {
            waiter.Node = _waiters.AddLast(waiter);
            _count++;
        }
    }

    public void Remove(Waiter waiter)
    {
        lock (_lock)
        {
            if (waiter.Node is null)
                return;
            _waiters.Remove(waiter.Node);
            waiter.Node = null;
            _count--;
        }
    }

    /// <summary>Wakes the first <paramref name="count"/> waiters that nobody has woken yet.</summary>
    public void Wake(int count = 1)
    {
        Interlocked.MemoryBarrier(); // Partner: the fence in Scheduler.PrepareToSleep.
        if (Volatile.Read(ref _count) == 0)
            return;
        lock (_lock)
        {
            for (LinkedListNode<Waiter>? node = _waiters.First; node is not null && count > 0;)
            {
                LinkedListNode<Waiter>? next = node.Next;
                if (!node.Value.Signalled)
                {
                    node.Value.Signalled = true;
                    count--;
                    node.Value.Notify();
                }
                node = next;
            }
        }
    }

    /// <summary>Wakes everyone, also those already woken: derived waiters want to hear of each event.</summary>
    public void WakeAll()
    {
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _count) == 0)
            return;
        lock (_lock)
        {
            for (LinkedListNode<Waiter>? node = _waiters.First; node is not null;)
            {
                LinkedListNode<Waiter>? next = node.Next;
                node.Value.Signalled = true;
                node.Value.Notify();
                node = next;
            }
        }
    }

    /// <summary>Waits until <paramref name="condition"/> holds; it is evaluated on the waiting task's own thread.</summary>
    /// <param name="task">The caller.</param>
    /// <param name="condition">Must be cheap and must not block.</param>
    /// <param name="interruptible">Return <see cref="WaitResult.Interrupted"/> when a signal is pending.</param>
    /// <param name="deadlineNs">On the monotonic clock; <see cref="Clock.Never"/> to wait for ever.</param>
    /// <exception cref="TaskKilledException">The machine is being taken down.</exception>
    public WaitResult Wait(Task task, Func<bool> condition, bool interruptible = true, long deadlineNs = Clock.Never) =>
        Wait(task, condition, static c => c(), interruptible, deadlineNs);

    /// <inheritdoc cref="Wait(Task, Func{bool}, bool, long)"/>
    public WaitResult Wait<TState>(Task task, TState state, Func<TState, bool> condition, bool interruptible = true, long deadlineNs = Clock.Never)
    {
        task.MightSleep("waiting");
        if (condition(state))
            return WaitResult.Ok;
        var waiter = new Waiter(task);
        Add(waiter);
        WaitResult result = WaitResult.TimedOut;
        try
        {
            while (true)
            {
                waiter.Signalled = false;
                task.PrepareToSleep();
                if (condition(state))
                    return result = WaitResult.Ok;
                if (interruptible && task.SignalPending)
                    return result = WaitResult.Interrupted;
                if (deadlineNs != Clock.Never && task.Machine.Clock.MonotonicNs >= deadlineNs)
                    return result = WaitResult.TimedOut;
                task.Sleep(deadlineNs);
            }
        }
        finally
        {
            Remove(waiter);
            // A wake-up that this waiter consumed without using it belongs to the next one.
            if (result != WaitResult.Ok && waiter.Signalled)
                Wake();
        }
    }
}

/// <summary>Unwinds a task's kernel stack when its machine is taken down; caught at the task's root only.</summary>
public sealed class TaskKilledException : Exception
{
    public TaskKilledException()
        : base("the machine is being taken down")
    {
    }

    public TaskKilledException(string message)
        : base(message)
    {
    }

    public TaskKilledException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
