namespace Emulator.Kernel.Tasks.Locks;

/// <summary>
/// What lockdep knows a lock by: all locks of a class are taken in one order with respect to other classes. Two locks of one class may be
/// held together only if the inner one is taken with a higher subclass (<c>spin_lock_nested</c>), which names the rule by which they differ.
/// </summary>
/// <param name="name">As reports name it.</param>
public sealed class LockClass(string name)
{
    /// <summary>SINGLE_DEPTH_NESTING: the inner one of two locks of a class.</summary>
    public const int Nested = 1;

    internal static LockClass MmapLock { get; } = new("mmap_lock");
    /// <summary>That of a host address space, taken inside a sharer's (mmap_read_lock_nested).</summary>
    internal static LockClass HostMmapLock { get; } = new("mmap_lock of an mshare host");
    internal static LockClass PageTableLock { get; } = new("page_table_lock");
    internal static LockClass MappingsLock { get; } = new("i_mmap_lock");

    /// <summary>Of mappings of drivers' frames: a driver takes those back while the mappings of the file behind them are locked.</summary>
    internal static LockClass DeviceMappingsLock { get; } = new("i_mmap_lock(device)");
    internal static LockClass Page { get; } = new("page_lock");
    internal static LockClass AnonVma { get; } = new("anon_vma_lock");
    internal static LockClass Srcu { get; } = new("srcu_gp_mutex");
    internal static LockClass SrcuRead { get; } = new("srcu");

    /// <summary>Not a lock: held while notifiers are told the start or the end of a change, so that what they wait for takes part in the order
    /// (__mmu_notifier_invalidate_range_start_map).</summary>
    internal static LockClass InvalidateRangeStart { get; } = new("mmu_notifier_invalidate_range_start");

    internal static LockClass InvalidateRangeStartNested { get; } = new("mmu_notifier_invalidate_range_start/1");

    /// <summary>Not a lock: held while an allocation may reclaim memory.</summary>
    internal static LockClass FsReclaim { get; } = new("fs_reclaim");
    internal static LockClass FilePosition { get; } = new("f_pos_lock");
    internal static LockClass HugeTlbFault { get; } = new("hugetlb_fault_mutex");
    internal static LockClass HugeTlbVma { get; } = new("hugetlb_vma_lock");
    internal static LockClass ShmemPunch { get; } = new("shmem_falloc");
    internal static LockClass InodeWrite { get; } = new("i_rwsem");
    internal static LockClass FutexBucket { get; } = new("futex_hash_bucket");

    public string Name { get; } = name;

    public override string ToString() => Name;
}

/// <summary>What a lock means for sleeping.</summary>
public enum LockKind
{
    /// <summary>Who waits for it spins; who holds it must not sleep.</summary>
    Spin,

    /// <summary>Who waits for it sleeps, and who holds it may.</summary>
    Sleeping,

    /// <summary>Nobody waits to enter; who is inside may sleep: a read section of SRCU, or a mere mark for the order of locks (lock_map).</summary>
    Section,
}

/// <summary>How a lock is held.</summary>
public enum LockMode
{
    Exclusive,

    /// <summary>With other readers; a waiting writer keeps new readers out, so that readers take part in deadlocks as writers do.</summary>
    Shared,

    /// <summary>With other readers, whoever waits (SRCU): a reader waits for nobody but an active writer.</summary>
    Recursive,
}
