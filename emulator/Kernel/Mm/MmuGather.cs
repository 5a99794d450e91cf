using System.Buffers;

using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Collects what an unmapping takes away and frees it in the only safe order: unhook, flush, free (mm/mmu_gather.c). Frames and
/// page-table pages stay allocated until every vCPU that could still use them has acknowledged the flush.
/// </summary>
internal sealed class MmuGather
{
    /// <summary>Entries in a batch (Linux's MAX_GATHER_BATCH less the one slot kept free); a full batch forces an early flush.</summary>
    private const int BatchSize = 509;

    private readonly Mm _mm;
    private readonly Task? _task;
    private readonly bool _fullMm;
    private readonly ulong[] _frames = ArrayPool<ulong>.Shared.Rent(BatchSize + 1);
    private readonly List<Pfn> _tables = [];
    private int _count;
    private ulong _start = ulong.MaxValue;
    private ulong _end;
    private int _shift = PageTable.Shift(PageTable.RootLevel);
    private bool _freedTables;
    private bool _forced;

    /// <param name="mm">The address space that is changed.</param>
    /// <param name="task">The caller, whose vCPU asks the others to flush.</param>
    /// <param name="fullMm">The whole address space goes away: nobody will run in it again.</param>
    public MmuGather(Mm mm, Task? task, bool fullMm = false)
    {
        _mm = mm;
        _task = task;
        _fullMm = fullMm;
        Interlocked.Increment(ref mm.TlbFlushPending);
    }

    /// <summary>Notes that the translations of [start, end), by pages of 2^shift bytes, changed.</summary>
    public void AddRange(ulong start, ulong end, int shift = Pfn.Shift)
    {
        _shift = Math.Min(_shift, shift);
        _start = Math.Min(_start, start);
        _end = Math.Max(_end, end);
    }

    /// <summary>Takes over the reference that a cleared entry held.</summary>
    /// <returns>True: the batch is full, and the caller calls <see cref="Flush"/> at the next place where it holds no page-table lock.</returns>
    public bool AddFrame(Pfn frame)
    {
        _frames[_count++] = frame.Value;
        return _count >= BatchSize;
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
            FlushTlbs();
        _forced = false;
        return forced;
    }

    /// <summary>Takes over an unhooked table page.</summary>
    public void AddTable(Pfn table, ulong start, ulong end)
    {
        _tables.Add(table);
        _freedTables = true;
        // An entry of the level above was cleared, which is what INVLPG must reach (pte_free_tlb sets cleared_pmds).
        AddRange(start, end, System.Numerics.BitOperations.Log2(end - start));
    }

    /// <summary>Makes every TLB forget what was unhooked, then frees it (tlb_flush_mmu).</summary>
    public void Flush()
    {
        FlushTlbs();
        PageAllocator pages = _mm.Pages;
        for (int i = 0; i < _count; i++)
            pages.Put(new Pfn(_frames[i]));
        _count = 0;
        foreach (Pfn table in _tables)
            pages.Put(table);
        _tables.Clear();
    }

    /// <summary>tlb_flush_mmu_tlbonly.</summary>
    private void FlushTlbs()
    {
        if (_end > _start)
        {
            if (_fullMm)
                _mm.Shootdown.FlushMm(_task?.Vcpu, _mm, _freedTables);
            else
                _mm.Shootdown.FlushMmRange(_task?.Vcpu, _mm, _start, _end, _shift, _freedTables);
            _mm.NotifyInvalidateRange(_task, _fullMm ? 0 : _start, _fullMm ? ulong.MaxValue : _end);
            (_start, _end, _freedTables, _shift) = (ulong.MaxValue, 0, false, PageTable.Shift(PageTable.RootLevel));
        }
    }

    /// <summary>tlb_finish_mmu: the last flush. Another gather in flight may have cleared entries that this one saw as empty and whose
    /// flush is still owed, so this one flushes everything.</summary>
    public void Finish()
    {
        if (Volatile.Read(ref _mm.TlbFlushPending) > 1 && !_fullMm)
        {
            AddRange(0, Layout.TaskSize);
            _freedTables = true;
        }
        Flush();
        Interlocked.Decrement(ref _mm.TlbFlushPending);
        ArrayPool<ulong>.Shared.Return(_frames);
    }
}
