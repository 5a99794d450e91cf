using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Hands out frames of physical memory and keeps their <see cref="Page"/> metadata. Frames that were never used are taken in order from
/// the bottom (large ones from the top), so that neither they nor their metadata cost the host anything; freed ones wait on a list
/// per size and are cleared when they are reused, not when they are freed.
/// </summary>
/// <remarks>
/// In bounds: frames that callers name come through the indexer or <see cref="HeadOf"/>, which check them; all others are numbers from <see cref="Take"/>, and blocks
/// of 2 MiB that lie in memory as a whole.
/// </remarks>
public sealed unsafe class PageAllocator : IDisposable
{
    /// <summary>The size, as a power of two of frames, of a 2 MiB block.</summary>
    public const int HugeOrder = 9;

    private const ulong HugeFrames = 1UL << HugeOrder;
    private const ulong NoFrame = ulong.MaxValue;

    private readonly PhysicalMemory _memory;
    private readonly Page* _pages;
    private readonly ulong _metadataCount;
    private readonly Lock _lock = new();
    private readonly ulong[] _freeLists = new ulong[HugeOrder + 1];
    private ulong _bottom;
    private ulong _top;
    private long _used;
    private long _peak;
    private long _tables;
    private uint _owners;
    private readonly ConcurrentDictionary<uint, PageCache> _caches = new();

    public PageAllocator(PhysicalMemory memory)
    {
        _memory = memory;
        Locks = new PageLocks(this);
        _metadataCount = memory.FrameCount + DeviceMemory.Frames;
        _pages = (Page*)HostMemory.Reserve(MetadataBytes);
        Devices = new DeviceMemory(this);
        _top = memory.FrameCount;
        Array.Fill(_freeLists, NoFrame);
        // Frame 0 is never handed out, so that an all-zero entry can never be mistaken for a mapping of it.
        _bottom = 1;
        _used = 1;
        Zero = AllocateReserved();
    }

    private ulong MetadataBytes => _metadataCount * (ulong)sizeof(Page);

    public PhysicalMemory Memory => _memory;

    /// <summary>Frames that are devices' own.</summary>
    public DeviceMemory Devices { get; }

    /// <summary>Whether a frame is a device's own, so that no processor can reach it (is_zone_device_page).</summary>
    public bool IsDevice(Pfn frame) => frame.Value >= _memory.FrameCount;

    /// <summary>Who records what frames are used for, or null.</summary>
    internal Checker.FrameHistory? History { get; set; }

    /// <summary>The locks of pages; of a 2 MiB page the head has it.</summary>
    internal PageLocks Locks { get; }

    /// <summary>Who runs on the calling thread, for those who may have to wait and were not told for whom.</summary>
    internal Func<Tasks.Task?> CurrentTask { get; set; } = static () => null;

    /// <summary>Where shmem's pages go when memory runs short.</summary>
    internal SwapArea? Swap { get; set; }

    /// <summary>Who makes room when memory is exhausted.</summary>
    internal PageReclaim? Reclaim { get; set; }

    /// <summary>Who keeps account of what is promised.</summary>
    internal Overcommit? Overcommit { get; set; }

    /// <summary>The shared page of zeroes that read faults of untouched anonymous memory map.</summary>
    public Pfn Zero { get; }

    /// <summary>Frames in use, in frames.</summary>
    public long UsedFrames => Volatile.Read(ref _used);

    /// <summary>The most frames that were ever in use at once.</summary>
    public long PeakFrames => Volatile.Read(ref _peak);

    /// <summary>Frames in use as page tables.</summary>
    public long TableFrames => Volatile.Read(ref _tables);

    /// <summary>A number for a new page cache or anon_vma, never given out before in this machine.</summary>
    internal uint NextOwner() => Interlocked.Increment(ref _owners);

    /// <summary>Makes a page cache known by its number, for those who come from a page (page_mapping).</summary>
    internal uint Register(PageCache cache)
    {
        uint number = NextOwner();
        _caches[number] = cache;
        return number;
    }

    internal void Unregister(uint number) => _caches.TryRemove(number, out _);

    /// <summary>All page caches there are.</summary>
    internal ICollection<PageCache> Caches => _caches.Values;

    /// <summary>
    /// The page cache of that number, or null if it is gone. Who holds the lock of one of its pages may use it as long: the last user takes
    /// the pages out, and waits for their locks. To be a user meanwhile could make the caller the last one, who waits for himself.
    /// </summary>
    internal PageCache? CacheOf(uint number) => _caches.GetValueOrDefault(number);

    /// <summary>Notes a use of a page that no processor's accessed bit tells of (mark_page_accessed).</summary>
    internal static void MarkAccessed(ref Page page)
    {
        if ((page.Flags & PageFlags.Referenced) == 0)
            SetFlags(ref page, PageFlags.Referenced);
    }

    /// <summary>Sets flags of a frame that others may be changing too.</summary>
    internal static void SetFlags(ref Page page, PageFlags flags) =>
        Interlocked.Or(ref Unsafe.As<PageFlags, uint>(ref page.Flags), (uint)flags);

    internal static void ClearFlags(ref Page page, PageFlags flags) =>
        Interlocked.And(ref Unsafe.As<PageFlags, uint>(ref page.Flags), ~(uint)flags);

    /// <summary>Frames that data written to files leaves to programs: a full tmpfs must not take the machine's last one.</summary>
    public long ReserveFrames => (long)_memory.FrameCount / 16;

    public long FreeFrames => (long)_memory.FrameCount - UsedFrames;

    /// <summary>The metadata of a frame. Numbers may come from page tables: see <see cref="PageTables"/> for why they are not believed.</summary>
    public ref Page this[Pfn frame]
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            if (frame.Value >= _metadataCount)
                RefuseFrame(frame);
            return ref _pages[frame.Value];
        }
    }

    private static void RefuseFrame(Pfn frame) => throw new InvalidOperationException($"{frame} does not exist.");

    /// <summary>Allocates one frame with a reference count of 1. False: memory is exhausted.</summary>
    /// <param name="flags">What the frame is for.</param>
    /// <param name="zero">Whether it must read as zeroes; false when the caller overwrites all of it.</param>
    public bool TryAllocate(PageFlags flags, bool zero, out Pfn frame) => TryAllocate(0, flags, zero, out frame);

    /// <summary>As the other one, for callers that hold no spin lock: reclaims, and has somebody killed, before it fails (__alloc_pages_slowpath).</summary>
    /// <param name="task">The caller; null when no task runs.</param>
    internal bool TryAllocate(Task? task, PageFlags flags, bool zero, out Pfn frame)
    {
        Reclaim?.MayReclaim(task);
        while (!TryAllocate(flags, zero, out frame))
        {
            if (Reclaim is null || !Reclaim.MakeRoom(task))
                return false;
        }
        return true;
    }

    /// <summary>Allocates a naturally aligned block of 2^order frames, order 0 or <see cref="HugeOrder"/>.</summary>
    public bool TryAllocate(int order, PageFlags flags, bool zero, out Pfn frame)
    {
        ulong taken;
        lock (_lock)
        {
            taken = Take(order);
            if (taken == NoFrame)
            {
                frame = default;
                return false;
            }
            _used += 1L << order;
            if (_used > _peak)
                _peak = _used;
        }
        frame = new Pfn(taken);
        bool stale = false;
        for (ulong i = 0; i < 1UL << order; i++)
        {
            PageFlags part = order == 0 ? PageFlags.None : i == 0 ? PageFlags.Head : PageFlags.Tail;
            stale |= Prepare(taken + i, flags | part, references: i == 0 ? 1 : 0);
        }
        if (stale)
            Clean(frame, order, zero);
        else if (order == 0 && (taken & (HugeFrames - 1)) == 0 && (flags & PageFlags.Table) == 0)
            Expect(frame);
        History?.Allocated(frame, flags);
        if ((flags & PageFlags.Table) != 0)
            Interlocked.Increment(ref _tables);
        return true;
    }

    /// <summary>Allocates single frames, each with a reference count of 1, as many as there are.</summary>
    /// <returns>How many of <paramref name="frames"/> were filled.</returns>
    public int Allocate(PageFlags flags, bool zero, Span<Pfn> frames)
    {
        int count = 0;
        lock (_lock)
        {
            for (ulong taken; count < frames.Length && (taken = Take(0)) != NoFrame; count++)
                frames[count] = new Pfn(taken);
            _used += count;
            if (_used > _peak)
                _peak = _used;
        }
        foreach (Pfn frame in frames[..count])
        {
            if (Prepare(frame.Value, flags, references: 1))
                Clean(frame, 0, zero);
            History?.Allocated(frame, flags);
        }
        return count;
    }

    /// <summary>Writes the metadata of a frame that is handed out; true: it has held data before.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool Prepare(ulong frame, PageFlags flags, int references)
    {
        ref Page page = ref _pages[frame];
        bool stale = (page.Flags & PageFlags.Used) != 0;
        page.MapCount = 0;
        page.Owner = 0;
        page.Index = 0;
        page.Flags = flags | PageFlags.Used;
        // Last: reclaim's hand may take a reference at any time from now on (TryGet).
        Volatile.Write(ref page.RefCount, references);
        return stale;
    }

    /// <summary>Takes another reference to a frame that the caller knows is held.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Get(Pfn frame) => Interlocked.Increment(ref _pages[HeadOf(frame).Value].RefCount);

    /// <summary>The frame that carries the references: of a 2 MiB page the first one, of any other the frame itself (compound_head).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Pfn HeadOf(Pfn frame) =>
        (this[frame].Flags & PageFlags.Tail) == 0 ? frame : new Pfn(frame.Value & ~((1UL << HugeOrder) - 1));

    /// <summary>Leaves of level 1 that map a 2 MiB page; entries of level 0 are counted at each of its frames.</summary>
    public ref int EntireMapCount(Pfn head) => ref this[new Pfn(head.Value + 1)].RefCount;

    /// <summary>The 2 MiB of a huge page. A number that comes from an entry is not believed to be of one (see <see cref="PageTables"/>).</summary>
    internal byte* HugePointer(Pfn head)
    {
        if ((this[head].Flags & PageFlags.Head) == 0)
            throw new InvalidOperationException($"{head} is no huge page.");
        return _memory.Pointer(head);
    }

    /// <summary>Takes a reference unless the frame is free or being replaced (folio_try_get).</summary>
    internal bool TryGet(Pfn frame)
    {
        while (true)
        {
            Pfn head = HeadOf(frame);
            ref int count = ref _pages[head.Value].RefCount;
            int old = Volatile.Read(ref count);
            if (old == 0)
                return false;
            if (Interlocked.CompareExchange(ref count, old + 1, old) != old)
                continue;
            // A huge page may have been split meanwhile, or a single one become part of one.
            if (HeadOf(frame) == head)
                return true;
            PutHead(head);
        }
    }

    /// <summary>Takes the references away if they are just so many, so that nobody gets another one (folio_ref_freeze); the caller frees the frame.</summary>
    internal bool TryFreeze(Pfn frame, int references) =>
        Interlocked.CompareExchange(ref _pages[frame.Value].RefCount, 0, references) == references;

    /// <summary>Frames that reclaim's hand goes over: those that were ever in use.</summary>
    internal ulong UsedSpan => Volatile.Read(ref _bottom) - 1 + (_memory.FrameCount - Volatile.Read(ref _top));

    /// <summary>The frame at a position of the hand, which goes round.</summary>
    internal Pfn UsedFrame(ulong position)
    {
        ulong bottom = Volatile.Read(ref _bottom) - 1, top = Volatile.Read(ref _top);
        ulong at = position % (bottom + (_memory.FrameCount - top));
        return new Pfn(at < bottom ? at + 1 : top + (at - bottom));
    }

    /// <summary>
    /// Pins a frame that the caller knows is held (FOLL_PIN): it keeps its place and its data until <see cref="Unpin"/>. False: it is pinned too often
    /// (try_grab_folio).
    /// </summary>
    internal bool TryPin(Pfn frame)
    {
        ref int count = ref _pages[HeadOf(frame).Value].RefCount;
        if (Volatile.Read(ref count) > int.MaxValue / 2)
            return false;
        Interlocked.Add(ref count, Page.PinBias);
        return true;
    }

    /// <summary>Gives a pin back; the frame is freed if nobody else refers to it (unpin_user_page).</summary>
    internal void Unpin(Pfn frame)
    {
        Pfn head = HeadOf(frame);
        Interlocked.Add(ref _pages[head.Value].RefCount, 1 - Page.PinBias);
        PutHead(head);
    }

    /// <summary>Drops a reference and frees the frame with the last one.</summary>
    public void Put(Pfn frame)
    {
        PutHead(HeadOf(frame));
    }

    private void PutHead(Pfn head)
    {
        if (Interlocked.Decrement(ref _pages[head.Value].RefCount) == 0)
            FreeLast(head);
    }

    private void FreeLast(Pfn head)
    {
        PageFlags flags = _pages[head.Value].Flags;
        if ((flags & PageFlags.HugeTlb) != 0)
            HugeTlb!.Give(head);
        else
            Free(head, (flags & PageFlags.Head) != 0 ? HugeOrder : 0);
    }

    /// <summary>The pool that hugetlb pages go back to.</summary>
    internal HugeTlbPool? HugeTlb { get; set; }

    /// <summary>A block of frames has lost its contents: translations to it are stale from now on.</summary>
    internal void NoteFreed(Pfn frame, int order)
    {
        History?.Freed(frame, _pages[frame.Value].Flags);
        for (ulong i = 0; i < 1UL << order; i++)
            _pages[frame.Value + i].Generation++;
    }

    /// <summary>Frees a block of 2^order frames whose last reference is gone.</summary>
    public void Free(Pfn frame, int order)
    {
        if (IsDevice(frame))
        {
            Devices.Free(frame);
            return;
        }
        ref Page page = ref _pages[frame.Value];
        if ((page.Flags & PageFlags.Table) != 0)
            Interlocked.Decrement(ref _tables);
        NoteFreed(frame, order);
        for (ulong i = 0; i < 1UL << order; i++)
        {
            ref Page freed = ref _pages[frame.Value + i];
            freed.Flags = PageFlags.Used | PageFlags.Free;
            freed.Owner = 0;
        }
        lock (_lock)
        {
            page.Index = _freeLists[order];
            _freeLists[order] = frame.Value;
            _used -= 1L << order;
        }
    }

    public void Dispose() => HostMemory.Release((byte*)_pages, MetadataBytes);

    /// <summary>
    /// Says that a block of 2 MiB will be touched all over, soon. The first frame of one that is taken from the bottom is for a page that somebody touches, one alone: so,
    /// most likely, are the rest. A page table says nothing: populating takes a table and then 512 frames at once, which may never be touched.
    /// </summary>
    internal void Expect(Pfn block)
    {
        if (HugeFrames <= _memory.FrameCount - block.Value)
            _memory.Expect(block, HugeFrames);
    }

    private ulong Take(int order)
    {
        ulong head = _freeLists[order];
        if (head != NoFrame)
        {
            _freeLists[order] = _pages[head].Index;
            return head;
        }
        if (order == HugeOrder)
        {
            ulong block = (_top & ~((1UL << HugeOrder) - 1));
            if (block < 1UL << HugeOrder || (block -= 1UL << HugeOrder) < _bottom)
                return NoFrame;
            _top = block;
            return block;
        }
        if (_bottom < _top)
            return _bottom++;
        return SplitHuge();
    }

    /// <summary>Breaks a free 2 MiB block up when single frames have run out.</summary>
    private ulong SplitHuge()
    {
        ulong head = _freeLists[HugeOrder];
        if (head == NoFrame)
            return NoFrame;
        _freeLists[HugeOrder] = _pages[head].Index;
        for (ulong i = (1UL << HugeOrder) - 1; i > 0; i--)
        {
            _pages[head + i].Flags = PageFlags.Used | PageFlags.Free;
            _pages[head + i].Index = _freeLists[0];
            _freeLists[0] = head + i;
        }
        return head;
    }

    /// <summary>Makes reused frames fit for their new owner: no decoded code, and zeroes if asked for.</summary>
    private void Clean(Pfn frame, int order, bool zero)
    {
        // Little of a huge page may be touched again.
        if (zero && order > 0)
            _memory.Discard(frame, 1UL << order);
        for (ulong i = 0; i < 1UL << order; i++)
        {
            Pfn f = new(frame.Value + i);
            _memory.DropCode(f);
            if (zero && order == 0)
                NativeMemory.Clear(_memory.Pointer(f), 4096);
        }
    }

    /// <summary>Allocates a frame that the machine keeps for its whole life.</summary>
    public Pfn AllocateReserved() =>
        TryAllocate(PageFlags.Reserved, zero: true, out Pfn frame)
            ? frame
            : throw new InvalidOperationException("The machine's memory is too small for the kernel itself.");
}
