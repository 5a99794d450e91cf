using System.Runtime.InteropServices;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// The huge pages of one size that are kept for hugetlb mappings (mm/hugetlb.c, <c>struct hstate</c>). A mapping reserves the pages it may
/// need when it is made, so that its faults succeed; reserved pages are still free, but promised.
/// </summary>
public sealed unsafe class HugeTlbPool
{
    private const int FaultLocks = 64;

    private readonly PageAllocator _pages;
    private readonly VmEvents _events;
    private readonly Lock _lock = new();
    private readonly Stack<Pfn> _free = new();
    private readonly Mutex[] _faultLocks = new Mutex[FaultLocks];
    private long _total;
    private long _reserved;
    private long _surplus;

    internal HugeTlbPool(PageAllocator pages, VmEvents events, int shift)
    {
        _pages = pages;
        _events = events;
        Shift = shift;
        for (int i = 0; i < FaultLocks; i++)
            _faultLocks[i] = new Mutex(LockClass.HugeTlbFault);
    }

    /// <summary>log2 of the pages' size in bytes.</summary>
    public int Shift { get; }

    public ulong PageSize => 1UL << Shift;

    /// <summary>Pages in the pool, used or not, surplus ones included.</summary>
    public long Total => Volatile.Read(ref _total);

    public long Free
    {
        get
        {
            lock (_lock)
                return _free.Count;
        }
    }

    /// <summary>Free pages that are promised to mappings.</summary>
    public long Reserved => Volatile.Read(ref _reserved);

    /// <summary>Pages above the size that was asked for: they leave the pool when they become free.</summary>
    public long Surplus => Volatile.Read(ref _surplus);

    /// <summary>nr_overcommit_hugepages: how many surplus pages may be made when the pool is empty.</summary>
    public long MaxSurplus { get; set; }

    /// <summary>A length rounded up to whole huge pages; 0 when that overflows.</summary>
    internal ulong Align(ulong length) => (length + PageSize - 1) & ~(PageSize - 1);

    /// <summary>Keeps two faults from bringing in the same page of a file, and punches apart from both (hugetlb_fault_mutex_table).</summary>
    internal Mutex FaultLock(PageCache cache, ulong index) =>
        _faultLocks[(int)((cache.Id * 0x9E37_79B9_7F4A_7C15 + index * 0xD1B5_4A32_D192_ED03) >> 58)];

    /// <summary>Sets the size of the pool (nr_hugepages); it grows as far as memory allows, and pages in use leave it when they are freed.</summary>
    public void Resize(long count)
    {
        lock (_lock)
        {
            while (_surplus > 0 && _total - _surplus < count)
                _surplus--;
            while (_total - _surplus < count && TryAllocateFresh(out Pfn fresh))
            {
                _total++;
                _free.Push(fresh);
            }
            while (_total - _surplus > count && _free.Count > _reserved)
            {
                _total--;
                _pages.Free(_free.Pop(), PageAllocator.HugeOrder);
            }
            _surplus += Math.Max(0, _total - _surplus - Math.Max(0, count));
        }
    }

    private bool TryAllocateFresh(out Pfn head)
    {
        head = default;
        // Pages of 1 GiB are not had from a running machine.
        bool allocated = Shift == Pfn.Shift + PageAllocator.HugeOrder
            && _pages.TryAllocate(PageAllocator.HugeOrder, PageFlags.HugeTlb, zero: true, out head);
        _events.Count(allocated ? VmEvent.HugeTlbAllocateSuccess : VmEvent.HugeTlbAllocateFail);
        if (allocated)
            _pages[head].RefCount = 0;
        return allocated;
    }

    /// <summary>Promises pages (hugetlb_acct_memory); false: there are not enough.</summary>
    internal bool TryReserve(long pages)
    {
        lock (_lock)
        {
            while (_free.Count - _reserved < pages)
            {
                if (_surplus >= MaxSurplus || !TryAllocateFresh(out Pfn fresh))
                    return false;
                _surplus++;
                _total++;
                _free.Push(fresh);
            }
            _reserved += pages;
            return true;
        }
    }

    internal void Unreserve(long pages)
    {
        lock (_lock)
        {
            _reserved -= pages;
            while (_surplus > 0 && _free.Count > _reserved)
            {
                _surplus--;
                _total--;
                _pages.Free(_free.Pop(), PageAllocator.HugeOrder);
            }
        }
    }

    /// <summary>Takes a page of zeroes with a reference count of 1 (alloc_hugetlb_folio).</summary>
    /// <param name="reserved">It is one of the promised ones.</param>
    /// <param name="flags">What it is for.</param>
    /// <param name="head">Its first frame.</param>
    /// <returns>False: none is left but promised ones.</returns>
    internal bool TryTake(bool reserved, PageFlags flags, out Pfn head)
    {
        lock (_lock)
        {
            head = default;
            if (!reserved && _free.Count <= _reserved)
            {
                if (_surplus >= MaxSurplus || !TryAllocateFresh(out Pfn fresh))
                    return false;
                _surplus++;
                _total++;
                _free.Push(fresh);
            }
            if (!_free.TryPop(out head))
                return false;
            if (reserved)
                _reserved--;
        }
        ref Page page = ref _pages[head];
        if ((page.Flags & PageFlags.Dirty) != 0)
        {
            for (ulong i = 0; i < PageTables.LeafPages; i++)
                _pages.Memory.DropCode(new Pfn(head.Value + i));
            // In bounds: the pool's pages are blocks of 2 MiB; there are none of 1 GiB.
            NativeMemory.Clear(_pages.Memory.Pointer(head), (nuint)PageTables.HugeSize);
        }
        page.Flags = PageFlags.HugeTlb | PageFlags.Head | PageFlags.Used | flags;
        Volatile.Write(ref page.RefCount, 1);
        return true;
    }

    /// <summary>The last reference of a page is gone (free_huge_folio).</summary>
    internal void Give(Pfn head)
    {
        ref Page page = ref _pages[head];
        lock (_lock)
        {
            if ((page.Flags & PageFlags.RestoreReserve) != 0)
                _reserved++;
            _pages.NoteFreed(head, PageAllocator.HugeOrder);
            page.Flags = PageFlags.HugeTlb | PageFlags.Head | PageFlags.Used | PageFlags.Dirty;
            page.Owner = 0;
            if (_surplus > 0 && _free.Count >= _reserved)
            {
                _surplus--;
                _total--;
                _pages.Free(head, PageAllocator.HugeOrder);
            }
            else
            {
                _free.Push(head);
            }
        }
    }
}

/// <summary>The pools of a machine, by size of page; the first is the default.</summary>
public sealed class HugeTlbPools
{
    private readonly HugeTlbPool[] _pools;

    internal HugeTlbPools(PageAllocator pages, VmEvents events)
    {
        _pools = [new HugeTlbPool(pages, events, 21), new HugeTlbPool(pages, events, 30)];
        pages.HugeTlb = Default;
    }

    public HugeTlbPool Default => _pools[0];

    public IReadOnlyList<HugeTlbPool> All => _pools;

    /// <summary>The pool whose pages have 2^<paramref name="shift"/> bytes, the default one for 0; null: there is none (hstate_sizelog).</summary>
    internal HugeTlbPool? Find(int shift) => shift == 0 ? Default : Array.Find(_pools, pool => pool.Shift == shift);
}
