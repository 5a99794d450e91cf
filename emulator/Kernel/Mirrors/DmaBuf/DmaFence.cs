using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// Work of a device that will have ended some time soon (<c>struct dma_fence</c>). The contract is that of drivers/dma-buf/dma-fence.c: it is signalled in
/// bounded time, whatever happens, so it may be waited for under a dma_resv, in reclaim and in notifiers; hence who has still to signal it takes no
/// dma_resv and allocates nothing.
/// </summary>
internal sealed class DmaFence
{
    private readonly WaitQueue _queue = new();
    private readonly List<WaitQueue> _listeners = [];
    private int _signalled;

    public bool IsSignalled => Volatile.Read(ref _signalled) != 0;

    /// <summary>How the work ended: 0 or a negative errno.</summary>
    public int Error { get; private set; }

    /// <summary>The work has ended (dma_fence_signal); once.</summary>
    public void Signal(int error = 0)
    {
        Error = error;
        WaitQueue[] listeners;
        lock (_listeners)
        {
            Volatile.Write(ref _signalled, 1);
            listeners = [.. _listeners];
            _listeners.Clear();
        }
        _queue.WakeAll();
        foreach (WaitQueue queue in listeners)
            queue.WakeAll();
    }

    /// <summary>Has a queue woken when the fence is signalled (dma_fence_add_callback).</summary>
    public void Listen(WaitQueue queue)
    {
        lock (_listeners)
        {
            if (!IsSignalled && !_listeners.Contains(queue))
                _listeners.Add(queue);
        }
    }

    /// <summary>Ends <see cref="Listen"/> (dma_fence_remove_callback).</summary>
    public void Ignore(WaitQueue queue)
    {
        lock (_listeners)
            _listeners.Remove(queue);
    }

    /// <param name="task">The caller.</param>
    /// <param name="map">The machine's mark for waits on fences.</param>
    /// <param name="interruptible">A signal ends the wait.</param>
    /// <param name="deadlineNs">On the monotonic clock.</param>
    public WaitResult Wait(Task task, LockMap map, bool interruptible, long deadlineNs = Clock.Never)
    {
        if (IsSignalled)
            return WaitResult.Ok;
        using LockMap.Scope scope = map.Enter(task);
        return _queue.Wait(task, this, static f => f.IsSignalled, interruptible, deadlineNs);
    }
}
