using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>What a fence's work does with the buffer (enum dma_resv_usage). Who asks for one kind gets those before it, too.</summary>
internal enum DmaResvUsage
{
    /// <summary>The kernel moves the buffer: nobody may touch it before.</summary>
    Kernel,
    Write,
    Read,
    /// <summary>Everything else, such as the drawing-up of page tables.</summary>
    Bookkeep,
}

/// <summary>A buffer's lock, and the work of devices that is under way with it (<c>struct dma_resv</c>).</summary>
/// <remarks>
/// The order that dma_resv_lockdep declares: mmap_lock, dma_resv, reclaim, i_mmap_lock, notifiers, waits for fences. So one may allocate
/// and wait for fences under this lock, and must not take it in a notifier.
/// </remarks>
internal sealed class DmaResv(LockMap fences)
{
    private static readonly LockClass Class = new("dma_resv");

    private readonly List<(DmaFence Fence, DmaResvUsage Usage)> _fences = [];

    public Mutex Lock { get; } = new(Class);

    /// <summary>Woken when a fence is signalled.</summary>
    public WaitQueue Changed { get; } = new();

    /// <summary>The usage for which one waits before reading, or before writing (dma_resv_usage_rw).</summary>
    public static DmaResvUsage Before(bool write) => write ? DmaResvUsage.Read : DmaResvUsage.Write;

    /// <summary>dma_resv_add_fence. The lock is held, or the exporter's own that excludes those who wait in its notifier.</summary>
    public void Add(DmaFence fence, DmaResvUsage usage)
    {
        fence.Listen(Changed);
        lock (_fences)
        {
            _fences.RemoveAll(static f => f.Fence.IsSignalled);
            // A fence once, for the stricter usage: programs may export and import the same ones again and again.
            int known = _fences.FindIndex(f => f.Fence == fence);
            if (known < 0)
                _fences.Add((fence, usage));
            else if (usage < _fences[known].Usage)
                _fences[known] = (fence, usage);
        }
    }

    /// <summary>The fences of a usage that are not signalled yet.</summary>
    public DmaFence[] Pending(DmaResvUsage usage)
    {
        lock (_fences)
            return [.. _fences.Where(f => f.Usage <= usage && !f.Fence.IsSignalled).Select(static f => f.Fence)];
    }

    /// <summary>Whether nothing of a usage is under way (dma_resv_test_signaled).</summary>
    public bool IsIdle(DmaResvUsage usage)
    {
        lock (_fences)
            return !_fences.Exists(f => f.Usage <= usage && !f.Fence.IsSignalled);
    }

    /// <summary>Waits until what is under way now has ended (dma_resv_wait_timeout).</summary>
    /// <param name="task">The caller; null only when no task is left that could have started anything.</param>
    /// <param name="usage">What to wait for.</param>
    /// <param name="interruptible">A signal ends the wait.</param>
    public WaitResult Wait(Task? task, DmaResvUsage usage, bool interruptible)
    {
        if (task is null)
            return WaitResult.Ok;
        foreach (DmaFence fence in Pending(usage))
        {
            WaitResult result = fence.Wait(task, fences, interruptible);
            if (result != WaitResult.Ok)
                return result;
        }
        return WaitResult.Ok;
    }
}
