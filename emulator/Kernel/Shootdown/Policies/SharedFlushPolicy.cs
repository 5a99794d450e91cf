using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>
/// How a change in tables that several address spaces share reaches the TLBs of all of them. The tables belong to a host that no vCPU ever
/// loads; its sharers' top-level entries name the same tables of the next level.
/// </summary>
/// <remarks>
/// What a sound policy must achieve, before the frame or the table that was unhooked is used for something else: no vCPU translates through
/// what it has cached of it. Three places may hold such translations: a vCPU that runs a sharer; a lazy one, which has a sharer loaded
/// and may walk its tables but not use it before it looks at generations; a PCID slot of a sharer that a vCPU has switched away from.
/// All the orders come down to one pattern, each side of which changes something, and then looks at what the other changes:
/// <code>
///   who changes the tables                         who shares
///   clear the entry                                enter the list of sharers, and MmContext.Links
///   look at who shares, and flush them             link; from now on its vCPUs can cache
/// </code>
/// A sharer that the left side does not see has linked after the entry was cleared, and finds it so. The other way round, a sharer leaves the
/// list only when its links are gone and all vCPUs have flushed them, so one that the left side misses has nothing cached.
/// Objects of this class keep nothing: what changes is in the address spaces' <see cref="MmContext"/>.
/// </remarks>
public abstract class SharedFlushPolicy
{
    /// <summary>As <c>--flush</c> takes it.</summary>
    public abstract string Name { get; }

    /// <summary>False: kept to show what goes wrong.</summary>
    public virtual bool IsSound => true;

    /// <summary>What it does, in a line.</summary>
    public abstract string Summary { get; }

    /// <summary>The message that proposed it: author, date, and what it answers.</summary>
    public abstract string Source { get; }

    /// <summary>What one change costs, in sharers, vCPUs and pages.</summary>
    public abstract string Price { get; }

    /// <summary>When it is wrong, or too dear.</summary>
    public abstract string Limits { get; }

    /// <summary>Whether reclaim may put off the flush of a page (arch_tlbbatch_should_defer).</summary>
    internal virtual bool ShouldDefer => false;

    /// <summary>
    /// Makes every vCPU forget a range of a host. May run under the page-table lock; returns when what was named can be used for something
    /// else. Notifiers of the host and of the sharers are told by the caller, afterwards.
    /// </summary>
    internal abstract void Flush(in SharedFlush flush);

    /// <summary>Notes a page whose flush is put off: raises what must be raised and adds to the mask who must be asked (arch_tlbbatch_add_pending).</summary>
    /// <returns>True: everything on every vCPU is to be flushed.</returns>
    internal virtual bool AddToBatch(in SharedFlush flush, ref VcpuMask cpus) => false;

    /// <summary>A change in a host is announced (mmu_notifier_invalidate_range_start).</summary>
    internal virtual void RangeStart(Task? task, Mm host, in MmuNotifierRange range)
    {
    }

    /// <summary>An announced change is done (mmu_notifier_invalidate_range_end).</summary>
    internal virtual void RangeEnd(Task? task, Mm host, in MmuNotifierRange range)
    {
    }

    /// <summary>What was unhooked from a host has been given back to the allocator: what a gather collected, or the pages of a <see cref="TlbBatch"/>.</summary>
    internal virtual void Freed(Task? task, Mm host)
    {
    }

    /// <summary>An address space begins to share a host's tables; its <see cref="MmContext.Links"/> say so already.</summary>
    internal virtual void Attached(MmContext host, MmContext sharer)
    {
    }

    /// <summary>A vCPU is loading a sharer: it is in the sharer's mask, and has not looked at generations yet.</summary>
    internal virtual void Entered(Vcpu vcpu, SharedLinks links)
    {
    }
}
