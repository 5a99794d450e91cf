using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>What is counted of buffers.</summary>
public enum DmaBufCounter
{
    Exports,
    Releases,
    /// <summary>Mappings that exporters made for devices.</summary>
    Maps,
    Unmaps,
    MoveNotifies,
    /// <summary>Mappings taken back in notifiers.</summary>
    Revokes,
    /// <summary>Pages of buffers looked up.</summary>
    Acquired,
    /// <summary>Pages of buffers given up because they left their file.</summary>
    Invalidated,
    /// <summary>Jobs of importing devices.</summary>
    Jobs,
    /// <summary>Bytes of buffers that devices read or wrote.</summary>
    Bytes,
    IotlbHits,
    IotlbMisses,
    IotlbFlushes,
    /// <summary>Pages that devices read or wrote though they had left the file: old data, or writes lost.</summary>
    OrphanReads,
    OrphanWrites,
    /// <summary>Pages that devices read or wrote after they were freed.</summary>
    FreedReads,
    FreedWrites,
}

/// <summary>A buffer showed, or shows, something else than its file.</summary>
/// <param name="What">Who sees what.</param>
/// <param name="ByDesign">The mode says that it does this.</param>
public sealed record Incoherence(string What, bool ByDesign)
{
    public override string ToString() => $"{(ByDesign ? "incoherent by design" : "incoherent")}: {What}";
}

/// <summary>What the buffers of a machine have in common.</summary>
public sealed class DmaBufs
{
    private const int Kept = 100;

    private static readonly LockClass FenceClass = new("dma_fence");

    private readonly Machine _machine;
    private readonly long[] _counts = new long[(int)DmaBufCounter.FreedWrites + 1];
    private readonly Lock _lock = new();
    private readonly List<Incoherence> _incoherences = [];

    internal DmaBufs(Machine machine, UdmabufOptions udmabuf)
    {
        _machine = machine;
        Udmabuf = udmabuf;
    }

    /// <summary>How /dev/udmabuf behaves.</summary>
    public UdmabufOptions Udmabuf { get; internal set; }

    /// <summary>Held by lockdep's lights while fences are waited for, and by who has to signal one (dma_fence_begin_signalling).</summary>
    internal LockMap FenceMap { get; } = new(FenceClass);

    public long this[DmaBufCounter counter] => Volatile.Read(ref _counts[(int)counter]);

    internal void Count(DmaBufCounter counter, long n = 1) => Interlocked.Add(ref _counts[(int)counter], n);

    /// <summary>What was reported so far, the first hundred.</summary>
    public IReadOnlyList<Incoherence> Incoherences
    {
        get
        {
            lock (_lock)
                return [.. _incoherences];
        }
    }

    /// <summary>Says, once and in the kernel's log, that a buffer and its file are not one.</summary>
    internal void Report(string what, bool byDesign)
    {
        var found = new Incoherence(what, byDesign);
        lock (_lock)
        {
            if (_incoherences.Count == Kept || _incoherences.Contains(found))
                return;
            _incoherences.Add(found);
        }
        _machine.KernelLog.Write($"udmabuf: {found}");
    }

    private int _orderDeclared;

    /// <summary>
    /// Tells lockdep the order that everybody who shares buffers keeps, before anybody has shown it (drivers/dma-buf/dma-resv.c:dma_resv_lockdep): mmap_lock,
    /// dma_resv, reclaim, i_mmap_lock, notifiers, waits for fences.
    /// </summary>
    internal void DeclareLockOrder(Task task)
    {
        if (_machine.LockDep is null || Interlocked.Exchange(ref _orderDeclared, 1) != 0)
            return;
        using RwSemaphore.ReadScope mmap = new RwSemaphore(LockClass.MmapLock).EnterRead(task);
        using Mutex.Scope resv = new DmaResv(FenceMap).Lock.Enter(task);
        using LockMap.Scope reclaim = _machine.MemorySystem.ReclaimMap.Enter(task);
        using RwSemaphore.ReadScope mappings = new RwSemaphore(LockClass.MappingsLock).EnterRead(task);
        using LockMap.Scope notifier = _machine.MemorySystem.NotifierMap.Enter(task);
        using LockMap.Scope fence = FenceMap.Enter(task);
    }

    /// <summary>A device touched a frame that was freed: memory of somebody else's.</summary>
    internal void ReportFreed(Task? task, string what) => _machine.Violations.Report(task, DmaBufRules.DeviceMemory, what);
}
