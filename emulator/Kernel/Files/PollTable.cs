using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files;

/// <summary>Collects the wait queues that tell when a file's readiness changes (poll_table).</summary>
public abstract class PollTable
{
    /// <summary>Called by <see cref="OpenFile.Poll"/> for each queue that is woken, by <see cref="WaitQueue.WakeAll"/>, at a change.</summary>
    public abstract void Add(WaitQueue queue);
}

/// <summary>One poll or select call: sleeps on all queues of all its files at once.</summary>
internal sealed class PollWaiters(Task task) : PollTable
{
    private readonly List<(WaitQueue Queue, Waiter Waiter)> _entries = [];
    private readonly WaitQueue _own = new();
    private int _triggered;

    public override void Add(WaitQueue queue)
    {
        var waiter = new Trigger(this);
        _entries.Add((queue, waiter));
        queue.Add(waiter);
    }

    /// <summary>Sleeps until any file changed since the last call.</summary>
    public WaitResult Wait(long deadlineNs) =>
        _own.Wait(task, this, static p => Interlocked.Exchange(ref p._triggered, 0) != 0, interruptible: true, deadlineNs);

    public void RemoveAll()
    {
        foreach ((WaitQueue queue, Waiter waiter) in _entries)
            queue.Remove(waiter);
        _entries.Clear();
    }

    private sealed class Trigger(PollWaiters owner) : Waiter(null)
    {
        public override void Notify()
        {
            Volatile.Write(ref owner._triggered, 1);
            owner._own.WakeAll();
        }
    }
}
