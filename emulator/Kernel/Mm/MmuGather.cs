using System.Buffers;
using System.Numerics;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Collects what an unmapping takes away and frees it in the only safe order: unhook, flush, free (mm/mmu_gather.c). Frames and
/// page-table pages stay allocated until every vCPU that could still use them has acknowledged the flush.
/// </summary>
/// <remarks>
/// As much is collected as Linux collects, because what may be freed before the end of an announced change, and what is freed only after it,
/// depends on that: a bundle of <see cref="Bundle"/> entries, then up to <see cref="MaxBatches"/> batches of a page each.
/// In bounds: a batch that is full, or one entry short of it, is followed by another one before the next frame comes, or emptied by the caller, who is told.
/// </remarks>
internal sealed class MmuGather
{
    /// <summary>Entries that need no page (MMU_GATHER_BUNDLE).</summary>
    public const int Bundle = 8;

    /// <summary>Entries of a batch, which fills a page (MAX_GATHER_BATCH).</summary>
    public const int BatchEntries = 510;

    /// <summary>Batches besides the bundle (MAX_GATHER_BATCH_COUNT).</summary>
    public const int MaxBatches = 10_000 / BatchEntries;

    /// <summary>Tables of a batch of tables (MAX_TABLE_BATCH).</summary>
    public const int TableBatch = 509;

    /// <summary>In an entry: the frame's reverse map still counts the mapping.</summary>
    private const ulong DelayedRmap = 1;

    private readonly Mm _mm;
    private readonly Task? _task;
    private readonly bool _fullMm;

    /// <summary>Since pages of one folio are gathered together, a page and the number of its followers must always fit: a batch is full one entry earlier.</summary>
    private readonly int _reserved;
    private readonly List<ulong[]> _batches = [new ulong[Bundle]];
    private readonly List<Pfn> _tables = [];

    /// <summary>The batch that is being filled, and how far.</summary>
    private int _active;
    private int _count;
    private ulong _start = ulong.MaxValue;
    private ulong _end;
    private int _shift = PageTable.Shift(PageTable.RootLevel);
    private bool _freedTables;
    private bool _nested;
    private bool _forced;
    private bool _delayed;

    /// <param name="mm">The address space that is changed.</param>
    /// <param name="task">The caller, whose vCPU asks the others to flush.</param>
    /// <param name="fullMm">The whole address space goes away: nobody will run in it again.</param>
    public MmuGather(Mm mm, Task? task, bool fullMm = false)
    {
        _mm = mm;
        _task = task;
        _fullMm = fullMm;
        _reserved = mm.System.Profile == KernelProfile.V6_1 ? 0 : 1;
        Interlocked.Increment(ref mm.TlbFlushPending);
    }

    /// <summary>A dirty page's reverse map is removed only after the flush (tlb_delay_rmap; since 6.2).</summary>
    public bool DelaysRmap => _mm.System.Profile != KernelProfile.V6_1;

    /// <summary>Notes that the translations of [start, end), by pages of 2^shift bytes, changed.</summary>
    public void AddRange(ulong start, ulong end, int shift = Pfn.Shift)
    {
        _shift = Math.Min(_shift, shift);
        _start = Math.Min(_start, start);
        _end = Math.Max(_end, end);
    }

    /// <summary>Takes over the reference that a cleared entry held (__tlb_remove_page).</summary>
    /// <param name="frame">The frame.</param>
    /// <param name="delayRmap">Its mapping is still counted, and is uncounted after the flush.</param>
    /// <returns>True: there is no more room. The caller flushes, under the page-table lock if it holds it (<see cref="FlushForced"/>), and then calls
    /// <see cref="Flush"/> at the next place where it holds none.</returns>
    public bool AddFrame(Pfn frame, bool delayRmap = false)
    {
        ulong[] batch = _batches[_active];
        batch[_count++] = frame.Value << 1 | (delayRmap ? DelayedRmap : 0);
        _delayed |= delayRmap;
        if (_count < Capacity - _reserved || NextBatch())
            return false;
        _forced = true;
        _mm.Shootdown.Note(_task?.Vcpu, ShootdownCounter.GatherFull);
        return true;
    }

    /// <summary>Rented arrays may be longer.</summary>
    private int Capacity => _active == 0 ? Bundle : BatchEntries;

    /// <summary>tlb_next_batch.</summary>
    private bool NextBatch()
    {
        // Reverse maps are removed under the page-table lock, which must not take for ever.
        if (_delayed && _active > 0)
            return false;
        if (_active + 1 == _batches.Count)
        {
            // Linux's batch is a page, for which it does not wait.
            if (_batches.Count > MaxBatches || _mm.Pages.FreeFrames <= 0)
                return false;
            _batches.Add(ArrayPool<ulong>.Shared.Rent(BatchEntries));
        }
        _active++;
        _count = 0;
        return true;
    }

    /// <summary>
    /// A dirty page of a file was unmapped: a processor may still write through its TLB to a page that others take for clean as soon as they see it
    /// unmapped, so the flush must not wait until the page-table lock is gone (zap_pte_range, force_flush).
    /// </summary>
    public void ForceFlush() => _forced = true;

    /// <summary>Pays a forced flush, under the page-table lock. True: there was one, and <see cref="Flush"/> is to free what it covered.</summary>
    public bool FlushForced()
    {
        bool forced = _forced;
        if (forced)
        {
            _mm.Shootdown.Note(_task?.Vcpu, ShootdownCounter.GatherForced);
            FlushTlbs();
            RemoveRmaps();
        }
        _forced = false;
        return forced;
    }

    /// <summary>Takes over an unhooked table page (tlb_remove_table).</summary>
    public void AddTable(Pfn table, ulong start, ulong end)
    {
        _tables.Add(table);
        _freedTables = true;
        // An entry of the level above was cleared, which is what INVLPG must reach (pte_free_tlb sets cleared_pmds).
        AddRange(start, end, BitOperations.Log2(end - start));
        if (_tables.Count < TableBatch)
            return;
        FlushTlbs();
        FreeTables();
    }

    /// <summary>Takes over the reference that a link held on another address space's table: everything that was reached through it is to be flushed.</summary>
    public void AddLink(Pfn table, ulong start, ulong end)
    {
        _tables.Add(table);
        _freedTables = true;
        AddRange(start, end);
    }

    /// <summary>Makes every TLB forget what was unhooked, then frees it (tlb_flush_mmu).</summary>
    public void Flush()
    {
        FlushTlbs();
        RemoveRmaps();
        for (int i = 0; i <= _active; i++)
        {
            foreach (ulong entry in EntriesOf(i))
                _mm.PutPage(new Pfn(entry >> 1));
        }
        (_active, _count, _forced) = (0, 0, false);
        FreeTables();
        // Others may use what was freed before the caller goes on (cond_resched in __tlb_batch_free_encoded_pages).
        _task?.PreemptionPoint();
    }

    private void FreeTables()
    {
        foreach (Pfn table in _tables)
            _mm.Pages.Put(table);
        _tables.Clear();
    }

    private Span<ulong> EntriesOf(int batch) =>
        _batches[batch].AsSpan(0, batch == _active ? _count : (batch == 0 ? Bundle : BatchEntries) - _reserved);

    /// <summary>tlb_flush_rmaps: only the bundle and the active batch can have any, since <see cref="NextBatch"/> opens no other one over them.</summary>
    private void RemoveRmaps()
    {
        if (!_delayed)
            return;
        RemoveRmaps(EntriesOf(0));
        if (_active > 0)
            RemoveRmaps(EntriesOf(_active));
        _delayed = false;
    }

    private void RemoveRmaps(Span<ulong> entries)
    {
        foreach (ref ulong entry in entries)
        {
            if ((entry & DelayedRmap) == 0)
                continue;
            entry &= ~DelayedRmap;
            _mm.RemoveRmap(new Pfn(entry >> 1));
        }
    }

    /// <summary>tlb_flush_mmu_tlbonly.</summary>
    private void FlushTlbs()
    {
        if (_end <= _start)
            return;
        if (_fullMm || _nested)
            _mm.Shootdown.FlushMm(_task?.Vcpu, _mm, _freedTables);
        else
            _mm.Shootdown.FlushMmRange(_task?.Vcpu, _mm, _start, _end, _shift, _freedTables);
        // Until 6.5 a nested gather handed on the range that resetting it had left: nothing at all.
        if (_nested)
            _mm.NotifyInvalidateRange(_task, ulong.MaxValue, ulong.MaxValue);
        else
            _mm.NotifyInvalidateRange(_task, _fullMm ? 0 : _start, _fullMm ? ulong.MaxValue : _end);
        (_start, _end, _freedTables, _shift) = (ulong.MaxValue, 0, false, PageTable.Shift(PageTable.RootLevel));
    }

    /// <summary>tlb_finish_mmu: the last flush. Another gather in flight may have cleared entries that this one saw as empty and whose
    /// flush is still owed, so this one flushes everything.</summary>
    public void Finish()
    {
        if (Volatile.Read(ref _mm.TlbFlushPending) > 1 && !_fullMm)
        {
            _nested = true;
            AddRange(0, Layout.TaskSize);
            _freedTables = true;
        }
        Flush();
        if (_mm.Sharing is not null)
            _mm.Shootdown.SharedPolicy.Freed(_task, _mm);
        Interlocked.Decrement(ref _mm.TlbFlushPending);
        for (int i = 1; i < _batches.Count; i++)
            ArrayPool<ulong>.Shared.Return(_batches[i]);
    }
}
