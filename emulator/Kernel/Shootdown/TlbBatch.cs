using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown;

/// <summary>
/// Flushes that reclaim puts off (Linux's <c>tlbflush_unmap_batch</c>, one a task): entries are cleared and generations raised page by
/// page, and the processors are interrupted once for all of them, before the first of the frames is freed or written out.
/// </summary>
/// <remarks>
/// Secondary TLBs are told when a page is added, before the processors' own TLBs are flushed; in <see cref="TlbShootdown.FlushMmRange"/>
/// they are told after it. Both orders are Linux's.
/// </remarks>
public sealed class TlbBatch(TlbShootdown shootdown)
{
    private VcpuMask _cpus;
    private bool _writable;

    /// <summary>What the checker, if there is one, will be told when the flushes are paid.</summary>
    private readonly List<Checker.FlushRecord> _owed = [];

    /// <summary>Shared tables whose policy flushes everything on every vCPU.</summary>
    private SharedFlush? _everything;

    /// <summary>Whose shared tables lost entries since <see cref="Freed"/>.</summary>
    private readonly List<Mm> _hosts = [];

    /// <summary>Some entry was cleared whose flush is still owed.</summary>
    public bool FlushRequired { get; private set; }

    /// <summary>
    /// Puts off the flush of a page of which no entry is left (set_tlb_ubc_flush_pending). The caller holds the page-table lock and has
    /// found <see cref="TlbShootdown.ShouldDefer"/> true; it frees the frame only after <see cref="TryToUnmapFlush"/>.
    /// </summary>
    /// <param name="self">The vCPU that the caller holds, if any.</param>
    /// <param name="mm">The address space.</param>
    /// <param name="address">The page.</param>
    /// <param name="dirty">The entry was dirty: a processor may still write through it, until <see cref="TryToUnmapFlushDirty"/>.</param>
    internal void AddPending(Vcpu? self, Mm mm, ulong address, bool dirty)
    {
        if (shootdown.NoteBegin(self, mm, 0, TlbShootdown.FlushAll, Pfn.Shift, address) is { } owed)
            _owed.Add(owed);
        if (mm.Sharing is null)
            shootdown.AddToBatch(self, mm, ref _cpus);
        else
            AddShared(self, mm);
        FlushRequired = true;
        mm.CountBatchedFlush();
        mm.InvalidateSecondaryTlbs(self?.Occupant as Task, 0, TlbShootdown.FlushAll);
        _writable |= dirty;
    }

    /// <summary>As Linux's, except that who may hold the page's translations, and which generations tell of it, is for the policy to say.</summary>
    private void AddShared(Vcpu? self, Mm host)
    {
        var whole = new SharedFlush(shootdown, self, host, 0, TlbShootdown.FlushAll, Pfn.Shift, FreedTables: false);
        whole.Counts[ShootdownCounter.BatchedPages]++;
        if (shootdown.SharedPolicy.AddToBatch(whole, ref _cpus))
            _everything = whole;
        if (!_hosts.Contains(host))
            _hosts.Add(host);
    }

    /// <summary>The frames that the batch was for have been freed, or kept for good. Nothing is left to do here, unless the policy is a broken one.</summary>
    internal void Freed(Task task)
    {
        foreach (Mm host in _hosts)
            shootdown.SharedPolicy.Freed(task, host);
        _hosts.Clear();
    }

    /// <summary>Pays all that is owed, before the first of the frames is freed (try_to_unmap_flush).</summary>
    /// <param name="self">The vCPU that the caller holds, if any.</param>
    internal void TryToUnmapFlush(Vcpu? self)
    {
        if (!FlushRequired)
            return;
        if (_everything is { } everything)
            shootdown.FlushEverythingFor(everything with { Self = self });
        else
            shootdown.FlushBatch(self, ref _cpus);
        (_everything, _cpus) = (null, default);
        foreach (Checker.FlushRecord owed in _owed)
            shootdown.NoteDone(owed);
        _owed.Clear();
        FlushRequired = false;
        _writable = false;
    }

    /// <summary>Pays if a dirty page is among what is owed, before its contents are written out (try_to_unmap_flush_dirty).</summary>
    internal void TryToUnmapFlushDirty(Vcpu? self)
    {
        if (_writable)
            TryToUnmapFlush(self);
    }
}
