using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Takes frames back from their users when memory runs short (mm/vmscan.c). There are no lists: a hand goes round over the frames in use
/// (a clock), passes over those accessed since it last came, and takes the others. It takes them in clusters, so that one flush serves
/// the whole cluster. Nobody calls this with a spin lock held; the mmap lock may be held for reading.
/// </summary>
internal sealed class PageReclaim(MemorySystem system)
{
    /// <summary>Frames taken together, and what an allocation that finds no memory wants at least (SWAP_CLUSTER_MAX).</summary>
    private const int Cluster = 32;

    /// <summary>Times the hand goes round for one request: the second time it takes what was not used since the first.</summary>
    private const int Rounds = 2;

    /// <summary>What an OOM victim is given to exit before memory is looked for again, as Linux's schedule_timeout(1).</summary>
    private const long VictimNs = 4 * Clock.Millisecond;

    private readonly WaitQueue _victimWait = new();
    private Watermarks _marks;
    private ulong _hand;
    private long _anonymousCredit;
    private long _hopelessAt = -1;

    private PageAllocator Pages => system.Pages;

    /// <summary>Set when the machine exists; without it nobody is killed.</summary>
    public OomKiller? OomKiller { get; set; }

    public Watermarks Marks => _marks.High != 0 ? _marks : _marks = Watermarks.For(Pages, system.Sysctls);

    /// <summary>Keeps some memory free ahead of need: what kswapd does, on the thread of whoever comes by.</summary>
    /// <param name="task">The caller; null when no task runs.</param>
    public void Balance(Task? task)
    {
        long free = Pages.FreeFrames;
        if (task is { IsReclaiming: true })
            return;
        if (free >= Marks.Low && free >= Marks.Files)
            return;
        // After a round with little gain there is not much to expect until the number has changed.
        long hopeless = Volatile.Read(ref _hopelessAt);
        if (hopeless >= 0 && Math.Abs(hopeless - free) < Marks.Min / 4 + Cluster)
            return;
        bool filesOnly = free >= Marks.Low;
        int target = (int)Math.Min(Math.Max(Cluster, (filesOnly ? Marks.Files : Marks.High) - free), 4 * Cluster);
        int gained = Shrink(task, target, filesOnly, VmEvent.ScanKswapd, VmEvent.StealKswapd);
        Volatile.Write(ref _hopelessAt, gained < Cluster ? Pages.FreeFrames : -1);
    }

    /// <summary>Tells lockdep that the caller allocates where it may have to wait for reclaim (might_alloc).</summary>
    public void MayReclaim(Task? task)
    {
        if (task?.Machine.LockDep is null || task.IsReclaiming)
            return;
        using (system.ReclaimMap.Enter(task))
        {
        }
    }

    /// <summary>An allocation has failed: reclaims, and if nothing can be reclaimed lets the OOM killer make room.</summary>
    /// <returns>Whether it is worth trying again; false: the caller is to die, or there is nobody left to kill.</returns>
    public bool MakeRoom(Task? task)
    {
        // Reclaim spins for page-table locks, whose holders wait for flushes: whoever has a vCPU has to serve interrupts meanwhile.
        task ??= Pages.CurrentTask();
        // What reclaim itself needs, in a notifier's callback, it does without (PF_MEMALLOC).
        if (task is { IsReclaiming: true })
            return false;
        system.Events.Count(VmEvent.AllocationStall);
        int gained = Shrink(task, Cluster, filesOnly: false, VmEvent.ScanDirect, VmEvent.StealDirect);
        // Taking the same few pages again and again is no progress (should_reclaim_retry).
        if (gained >= Cluster || Pages.FreeFrames > Marks.Min || (gained > 0 && Pages.FreeFrames + Reclaimable() > Marks.Min))
            return true;
        // Who is killed may own the region whose lock this task holds: the fault gives up, lets go of it, and comes again (pagefault_out_of_memory).
        if (task is null or { HostsLocked: > 0 } || OomKiller is null || !OomKiller.Kill(task))
            return false;
        long deadline = task.Machine.Clock.MonotonicNs + VictimNs;
        _victimWait.Wait(task, (this, task), static s => s.Item1.Pages.FreeFrames > Cluster || s.task.MustExit, interruptible: false, deadline);
        return !task.MustExit;
    }

    /// <summary>Takes the given pages whoever uses them, as MADV_PAGEOUT and the disturbance engine want (reclaim_pages). The caller holds a reference to each, which this drops.</summary>
    /// <returns>Frames freed.</returns>
    public int Reclaim(Task? task, ReadOnlySpan<Pfn> frames)
    {
        int freed = 0;
        var cluster = new ShrinkList(system, task, Cluster);
        foreach (Pfn frame in frames)
        {
            cluster.Add(frame, ignoreReferences: true);
            if (cluster.IsFull)
                freed += cluster.Shrink();
        }
        return freed + cluster.Shrink();
    }

    /// <summary>Frames that reclaim could still free (zone_reclaimable_pages).</summary>
    private long Reclaimable()
    {
        long files = 0, swappable = 0;
        for (ulong i = 0, span = Pages.UsedSpan; i < span; i++)
        {
            PageFlags flags = Pages[Pages.UsedFrame(i)].Flags;
            if ((flags & ShrinkList.Reclaimable) == 0 || (flags & ShrinkList.Unreclaimable) != 0)
                continue;
            if (Swaps(flags))
                swappable++;
            else
                files++;
        }
        return files + Math.Min(swappable, system.Swap.FreeSlots);
    }

    /// <summary>Whether a page needs the swap area to go.</summary>
    private static bool Swaps(PageFlags flags) =>
        (flags & (PageFlags.Anon | PageFlags.SwapBacked)) != 0 && (flags & PageFlags.LazyFree) == 0;

    private int Shrink(Task? task, int target, bool filesOnly, VmEvent scanned, VmEvent stolen)
    {
        if (task is null)
            return Scan(null, target, filesOnly, scanned, stolen);
        using (system.ReclaimMap.Enter(task))
        {
            task.IsReclaiming = true;
            try
            {
                return Scan(task, target, filesOnly, scanned, stolen);
            }
            finally
            {
                task.IsReclaiming = false;
            }
        }
    }

    private int Scan(Task? task, int target, bool filesOnly, VmEvent scanned, VmEvent stolen)
    {
        int freed = 0;
        var cluster = new ShrinkList(system, task, Cluster);
        for (int round = 0; round < Rounds && freed < target; round++)
        {
            system.HugePages.SplitDeferred(task, Cluster);
            ulong frames = Pages.UsedSpan;
            long looked = 0;
            for (ulong i = 0; i < frames && freed < target; i++)
            {
                Pfn frame = Pages.UsedFrame(Interlocked.Increment(ref _hand));
                if (!IsCandidate(frame, filesOnly, urgent: round > 0) || !Pages.TryGet(frame))
                    continue;
                looked++;
                cluster.Add(frame, ignoreReferences: false);
                if (cluster.IsFull || cluster.Count >= target - freed)
                    freed += cluster.Shrink();
            }
            freed += cluster.Shrink();
            system.Events.Count(scanned, looked);
        }
        system.Events.Count(stolen, freed);
        return freed;
    }

    /// <summary>A look without a reference: what passes is looked at again with one.</summary>
    private bool IsCandidate(Pfn frame, bool filesOnly, bool urgent)
    {
        ref Page page = ref Pages[frame];
        PageFlags flags = page.Flags;
        if ((flags & ShrinkList.Reclaimable) == 0 || (flags & ShrinkList.Unreclaimable) != 0)
            return false;
        if (!Swaps(flags))
            return !filesOnly || page.MapCount == 0;
        if (filesOnly)
            return false;
        if (system.Swap.FreeSlots <= 0 && (flags & PageFlags.SwapCache) == 0)
            return false;
        if (urgent)
            return true;
        // For every 200 - swappiness pages of files, swappiness pages that must be swapped (get_scan_count).
        long swappiness = system.Sysctls.Swappiness, credit = Interlocked.Add(ref _anonymousCredit, swappiness);
        long cost = Math.Max(swappiness, 200 - swappiness);
        if (credit < cost)
            return false;
        Interlocked.Add(ref _anonymousCredit, -cost);
        return true;
    }
}
