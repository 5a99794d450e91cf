using System.Collections.Concurrent;
using Emulator.Hardware;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Loader;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>What all address spaces of a machine share: frames, TLB shootdown, the kernel's half of the page tables, cached host files.</summary>
public sealed class MemorySystem : IDisposable
{
    private readonly long _bootFrames;

    /// <param name="platform">The hardware.</param>
    /// <param name="swapBytes">Size of the swap area; 0: none.</param>
    /// <summary>What kernel objects take of the host, beside the machine's memory.</summary>
    public KernelMemory KernelMemory { get; }

    public MemorySystem(Platform platform, ulong swapBytes = 0)
    {
        Pages = new PageAllocator(platform.Memory);
        KernelMemory = KernelMemory.For(platform.Memory.Bytes);
        Swap = new SwapArea(Pages, Events, swapBytes);
        Pages.Swap = Swap;
        Reclaim = new PageReclaim(this);
        Pages.Reclaim = Reclaim;
        Overcommit = new Overcommit(Pages, Swap, Sysctls);
        Pages.Overcommit = Overcommit;
        HugeTlb = new HugeTlbPools(Pages, Events);
        HugePages = new HugePages(this);
        KernelTables = PageTables.Create(Pages, null) ?? throw new InvalidOperationException("The machine has no memory for a page table.");
        VsyscallPage.Map(Pages, KernelTables);
        Vdso = new Vdso(Pages);
        Shootdown = new TlbShootdown(platform.Vcpus, platform.InterProcessor, KernelTables.Root);
        Rmap = new Rmap(this);
        Migration = new Migration(this);
        _bootFrames = Pages.UsedFrames;
    }

    /// <summary>The Linux release that is followed where releases differ.</summary>
    public KernelProfile Profile => Shootdown.Profile;

    public PageAllocator Pages { get; }

    public TlbShootdown Shootdown { get; }

    internal Vdso Vdso { get; }

    internal PageLocks PageLocks => Pages.Locks;

    internal Rmap Rmap { get; }

    /// <summary>The owners of anonymous pages.</summary>
    internal NumberTable<AnonVma> AnonVmas { get; } = new();

    internal Migration Migration { get; }

    private readonly ConcurrentDictionary<ulong, Mm> _addressSpaces = new();

    internal void Add(Mm mm) => _addressSpaces[mm.Context.Id] = mm;

    internal void Remove(Mm mm) => _addressSpaces.TryRemove(mm.Context.Id, out _);

    /// <summary>The address spaces that are there, in the order they were made.</summary>
    internal IReadOnlyList<Mm> AddressSpaces => [.. _addressSpaces.OrderBy(static p => p.Key).Select(static p => p.Value)];

    public SwapArea Swap { get; }

    internal PageReclaim Reclaim { get; }

    internal Overcommit Overcommit { get; }

    /// <summary>The settings of /proc/sys/vm.</summary>
    public VmSysctls Sysctls { get; } = new();

    /// <summary>The counters of /proc/vmstat.</summary>
    public VmEvents Events { get; } = new();

    /// <summary>vm.memfd_noexec: whether memfds may be executable.</summary>
    public int MemfdNoExec { get; set; }

    /// <summary>Huge pages kept for hugetlb mappings.</summary>
    public HugeTlbPools HugeTlb { get; }

    /// <summary>Transparent huge pages.</summary>
    public HugePages HugePages { get; }

    /// <summary>System V shared memory segments.</summary>
    public SysvSharedMemory SysvSharedMemory { get; } = new();

    /// <summary>Broken rules.</summary>
    public Violations Violations { get; } = new();

    /// <summary>Under which callbacks of notifiers run.</summary>
    internal Srcu NotifierSrcu { get; } = new();

    /// <summary>What lockdep takes for a lock that is held while notifiers are told of changes.</summary>
    internal LockMap NotifierMap { get; } = new(LockClass.InvalidateRangeStart);

    private readonly LockMap _nestedNotifierMap = new(LockClass.InvalidateRangeStartNested);

    /// <summary>
    /// The map for a change that a task announces: another one inside a callback that takes a driver's own mappings away. Nobody can mirror those frames in
    /// turn, so it goes no deeper. Any other change that a callback announces is a circle. Linux has one map, without such an annotation, and reports both.
    /// </summary>
    internal LockMap NotifierMapOf(Tasks.Task? task, in Notifiers.MmuNotifierRange range) =>
        range.OfDriver && task?.Operations.Callbacks > 0 ? _nestedNotifierMap : NotifierMap;

    /// <summary>Pages that clients of /dev/remote-map have mapped.</summary>
    internal RemotePages RemotePages { get; } = new();

    /// <summary>What lockdep takes for a lock that is held while an allocation reclaims.</summary>
    internal LockMap ReclaimMap { get; } = new(LockClass.FsReclaim);

    /// <summary>Whether one notifier may not have both kinds of callbacks: since 6.6.</summary>
    internal bool ForbidsMixedNotifiers => Profile != KernelProfile.V6_1;

    /// <summary>Whether the end of each change invalidates secondary TLBs, too: until 6.5.</summary>
    internal bool NotifiesTlbsAtRangeEnd => Profile == KernelProfile.V6_1;

    /// <summary>Page faults by kind.</summary>
    public FaultCounters Faults { get; } = new();

    /// <summary>Frames the kernel itself keeps: what remains in use when every process is gone and no file is cached.</summary>
    public long ReservedFrames => _bootFrames + (HugeTlb.Default.Total << PageAllocator.HugeOrder);

    /// <summary>Tables with nothing but the kernel's half, which every address space copies.</summary>
    internal PageTables KernelTables { get; }

    /// <summary>An entry that named a slot is gone; with the last one goes the page that caches it, if nobody maps it (free_swap_and_cache).</summary>
    internal void FreeSwap(ulong slot)
    {
        if (Swap.Free(slot) != 0 || !Swap.TryGetCached(slot, out Pfn frame))
            return;
        ReleaseSwapCache(frame);
        Pages.Put(frame);
    }

    /// <summary>
    /// Takes a page that no entry needs any more out of the swap cache (free_swap_cache). Who cannot have the page lock leaves it to its
    /// holder, who calls this after unlocking: one of the two sees that the last entry is gone.
    /// </summary>
    internal void ReleaseSwapCache(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        // Again after unlocking: the last entry may have gone behind the look, and who took it found the page locked by this.
        while ((page.Flags & PageFlags.SwapCache) != 0 && Volatile.Read(ref page.MapCount) == 0 && Swap.CountOf(Swap.SlotOf(frame)) == 0 && PageLocks.TryLock(frame))
        {
            bool freed = Volatile.Read(ref page.MapCount) == 0 && TryFreeSwap(frame);
            PageLocks.Unlock(frame);
            if (freed)
                return;
        }
    }

    /// <summary>
    /// Unlocks a page and drops a reference to it. Required of whoever has an anonymous page locked: the last entry may have gone meanwhile, and
    /// its owner could not take the page out of the swap cache.
    /// </summary>
    internal void UnlockAndPut(Pfn frame)
    {
        PageLocks.Unlock(frame);
        ReleaseSwapCache(frame);
        Pages.Put(frame);
    }

    /// <summary>Gives a page's slot up if no entry names it (folio_free_swap). The caller holds the page lock and a reference.</summary>
    /// <returns>Whether the page has no slot now.</returns>
    internal bool TryFreeSwap(Pfn frame)
    {
        ulong slot = Swap.SlotOf(frame);
        if (slot == 0)
            return true;
        if (Swap.CountOf(slot) != 0)
            return false;
        // What the slot held is nowhere else now.
        PageAllocator.SetFlags(ref Pages[frame], PageFlags.Dirty);
        Swap.Uncache(frame);
        Pages.Put(frame);
        return true;
    }

    public void Dispose()
    {
        // Of mappings that the machine's end has cut short.
        foreach (HostPageCache cache in Pages.Caches.OfType<HostPageCache>())
            cache.CloseFile();
        Swap.Dispose();
        Pages.Dispose();
    }
}

/// <summary>What a page fault turned out to be.</summary>
public enum FaultKind
{
    /// <summary>Read of untouched private memory: the page of zeroes was mapped.</summary>
    ZeroPage,
    Anonymous,
    /// <summary>A transparent huge page was mapped.</summary>
    Huge,
    /// <summary>A page of a file or of shared memory was mapped.</summary>
    File,
    /// <summary>A shared page became writable.</summary>
    MakeWritable,
    /// <summary>A private page was copied.</summary>
    Copy,
    /// <summary>A private page had one user left and became writable where it is.</summary>
    Reuse,
    /// <summary>A page came back from the swap area.</summary>
    SwapIn,
    StackGrowth,
    /// <summary>The tables allowed the access by the time the fault was looked at.</summary>
    Spurious,
    /// <summary>SIGSEGV.</summary>
    Segment,
    /// <summary>SIGBUS.</summary>
    Bus,
    OutOfMemory,
}

/// <summary>Page faults by <see cref="FaultKind"/>.</summary>
public sealed class FaultCounters
{
    private readonly long[] _counts = new long[(int)FaultKind.OutOfMemory + 1];

    public long this[FaultKind kind] => Volatile.Read(ref _counts[(int)kind]);

    public long Total
    {
        get
        {
            long sum = 0;
            foreach (long count in _counts)
                sum += count;
            return sum;
        }
    }

    internal void Count(FaultKind kind) => Interlocked.Increment(ref _counts[(int)kind]);

    internal void Count(FaultKind kind, long n) => Interlocked.Add(ref _counts[(int)kind], n);
}
