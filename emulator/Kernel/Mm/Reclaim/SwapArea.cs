using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Where pages go that memory has no room for: slots of one page in host memory, outside the guest's frames, which the host commits where
/// they are written (mm/swapfile.c, mm/swap_state.c). A slot is in use while an entry of a page table or of a shmem file names it, or
/// while a frame caches it; a frame that caches a slot holds its contents too, and is found there by everybody who faults on the slot.
/// </summary>
/// <remarks>
/// The lock is a leaf. A slot's contents change only between <see cref="TryAddPage"/> and the moment its frame leaves the cache, under the
/// frame's page lock; nobody else writes a slot, so reading one needs no lock.
/// In bounds: slots come from <see cref="Take"/>; those out of entries of page tables, which are not believed (<see cref="PageTables"/>), are refused if there are
/// none such: where nothing can be refused, by <see cref="At"/>. Frames are the machine's own: a device's never reach reclaim.
/// </remarks>
public sealed unsafe class SwapArea : IDisposable
{
    private const int SlotBytes = 8;

    private readonly PageAllocator _pages;
    private readonly VmEvents _events;
    private readonly Lock _lock = new();
    private readonly byte* _data;
    private readonly Slot* _slots;
    private readonly uint* _slotOfFrame;
    private readonly ulong _frameBytes;
    private ulong _next = 1;
    private ulong _freeList;
    private long _used;
    private long _cached;

    private struct Slot
    {
        /// <summary>Entries that name the slot (swap_map).</summary>
        public uint Count;

        /// <summary>The frame that caches the slot; for a free slot, the next free one.</summary>
        public uint Frame;
    }

    /// <param name="pages">The machine's frames.</param>
    /// <param name="events">Where what comes and goes is counted.</param>
    /// <param name="bytes">The size; 0: there is no swap.</param>
    public SwapArea(PageAllocator pages, VmEvents events, ulong bytes)
    {
        _pages = pages;
        _events = events;
        // Slot 0 is never used: Linux keeps the area's header there, and an entry of zeroes is an empty one.
        TotalSlots = bytes < 2 * Pfn.Size ? 0 : (bytes >> Pfn.Shift) - 1;
        if (TotalSlots == 0)
            return;
        if (TotalSlots >= uint.MaxValue >> 1)
            throw new ArgumentOutOfRangeException(nameof(bytes), bytes, "A swap area has less than 8 TiB.");
        _data = HostMemory.Reserve((TotalSlots + 1) << Pfn.Shift);
        _slots = (Slot*)HostMemory.Reserve((TotalSlots + 1) * SlotBytes);
        _frameBytes = pages.Memory.FrameCount * sizeof(uint);
        _slotOfFrame = (uint*)HostMemory.Reserve(_frameBytes);
    }

    /// <summary>Slots there are.</summary>
    public ulong TotalSlots { get; }

    public long UsedSlots => Volatile.Read(ref _used);

    public long FreeSlots => (long)TotalSlots - UsedSlots;

    /// <summary>Frames that cache a slot.</summary>
    public long CachedPages => Volatile.Read(ref _cached);

    /// <summary>Gives a frame a slot and enters it in the cache, with a reference (add_to_swap). The caller holds the page lock.</summary>
    /// <returns>False: the area is full.</returns>
    internal bool TryAddPage(Pfn frame, out ulong slot)
    {
        lock (_lock)
        {
            slot = Take();
            if (slot == 0)
                return false;
            _slots[slot].Count = 0;
            Enter(slot, frame);
            return true;
        }
    }

    /// <summary>Takes a slot that one entry names and no frame caches, for the caller to write: how shmem swaps.</summary>
    internal bool TryTake(out ulong slot)
    {
        lock (_lock)
        {
            slot = Take();
            if (slot == 0)
                return false;
            _slots[slot] = new Slot { Count = 1 };
            return true;
        }
    }

    /// <summary>Enters a frame that holds the slot's contents, unless another one does already (read_swap_cache_async). The caller holds the page lock.</summary>
    internal bool TryCache(ulong slot, Pfn frame)
    {
        if (!IsSlot(slot))
            return false;
        lock (_lock)
        {
            if (IsFree(slot) || _slots[slot].Count == 0 || _slots[slot].Frame != 0)
                return false;
            Enter(slot, frame);
            return true;
        }
    }

    /// <summary>The frame that caches a slot, with a reference.</summary>
    internal bool TryGetCached(ulong slot, out Pfn frame)
    {
        frame = default;
        if (!IsSlot(slot))
            return false;
        lock (_lock)
        {
            if (_slots[slot].Frame == 0 || IsFree(slot))
                return false;
            frame = new Pfn(_slots[slot].Frame);
            // Reclaim freezes the references before it takes the frame out of here.
            return _pages.TryGet(frame);
        }
    }

    /// <summary>Whether some frame caches a slot.</summary>
    internal bool IsCached(ulong slot)
    {
        if (!IsSlot(slot))
            return false;
        lock (_lock)
            return _slots[slot].Frame != 0 && !IsFree(slot);
    }

    /// <summary>The slot that a frame caches; 0: none.</summary>
    internal ulong SlotOf(Pfn frame) => _slotOfFrame is null || _pages.IsDevice(frame) ? 0 : Volatile.Read(ref _slotOfFrame[frame.Value]);

    /// <summary>One more entry names the slot (swap_duplicate).</summary>
    internal void Duplicate(ulong slot)
    {
        lock (_lock)
            At(slot).Count++;
    }

    /// <summary>An entry that named the slot is gone (swap_free).</summary>
    /// <returns>The entries that are left.</returns>
    internal uint Free(ulong slot)
    {
        lock (_lock)
        {
            ref Slot named = ref At(slot);
            if (--named.Count == 0 && named.Frame == 0)
            {
                Release(slot);
                return 0;
            }
            return named.Count;
        }
    }

    /// <summary>Entries that name a slot (swap_count); 0 of one that is free, or is none.</summary>
    internal uint CountOf(ulong slot)
    {
        if (!IsSlot(slot))
            return 0;
        lock (_lock)
            return IsFree(slot) ? 0 : _slots[slot].Count;
    }

    /// <summary>A slot by a number that may come from a page table; one that is none is a fault of ours.</summary>
    private ref Slot At(ulong slot)
    {
        if (!IsSlot(slot) || slot >= _next || IsFree(slot))
            throw new InvalidOperationException($"Swap slot {slot} is not in use.");
        return ref _slots[slot];
    }

    /// <summary>Takes a frame out of the cache; the caller holds the page lock and drops the reference that the cache held.</summary>
    internal void Uncache(Pfn frame)
    {
        lock (_lock)
        {
            ulong slot = _slotOfFrame[frame.Value];
            Volatile.Write(ref _slotOfFrame[frame.Value], 0);
            PageAllocator.ClearFlags(ref _pages[frame], PageFlags.SwapCache);
            _slots[slot].Frame = 0;
            _cached--;
            if (_slots[slot].Count == 0)
                Release(slot);
        }
    }

    /// <summary>Lets a copy of a frame cache its slot, if only the cache and the caller, who has both locked, refer to the frame (folio_migrate_mapping).</summary>
    internal bool TryReplace(Pfn old, Pfn replacement, Action<Pfn, Pfn> copy)
    {
        lock (_lock)
        {
            if (!_pages.TryFreeze(old, 2))
                return false;
            copy(old, replacement);
            uint slot = _slotOfFrame[old.Value];
            Volatile.Write(ref _slotOfFrame[old.Value], 0);
            PageAllocator.ClearFlags(ref _pages[old], PageFlags.SwapCache);
            _cached--;
            Enter(slot, replacement);
            Volatile.Write(ref _pages[old].RefCount, 1);
            return true;
        }
    }

    /// <summary>Copies a frame's contents to its slot (swap_writepage).</summary>
    internal void Write(ulong slot, Pfn frame)
    {
        Copy(_pages.Memory.Pointer(frame), _data + (slot << Pfn.Shift));
        _events.Count(VmEvent.SwapOut);
    }

    /// <summary>Copies a slot's contents to a frame (swap_read_folio).</summary>
    internal void Read(ulong slot, Pfn frame)
    {
        Copy(_data + (slot << Pfn.Shift), _pages.Memory.Pointer(frame));
        _events.Count(VmEvent.SwapIn);
    }

    public void Dispose()
    {
        if (_data is null)
            return;
        HostMemory.Release(_data, (TotalSlots + 1) << Pfn.Shift);
        HostMemory.Release((byte*)_slots, (TotalSlots + 1) * SlotBytes);
        HostMemory.Release((byte*)_slotOfFrame, _frameBytes);
    }

    private static void Copy(byte* from, byte* to) => Buffer.MemoryCopy(from, to, (long)Pfn.Size, (long)Pfn.Size);

    /// <summary>Whether a number out of a page-table entry is a slot at all.</summary>
    private bool IsSlot(ulong slot) => slot != 0 && slot <= TotalSlots;

    /// <summary>A free slot's link is marked, so that it is never taken for a cached frame.</summary>
    private const uint FreeMark = uint.MaxValue;

    private bool IsFree(ulong slot) => _slots[slot].Count == FreeMark;

    private void Enter(ulong slot, Pfn frame)
    {
        _pages.Get(frame);
        _slots[slot].Frame = checked((uint)frame.Value);
        Volatile.Write(ref _slotOfFrame[frame.Value], (uint)slot);
        PageAllocator.SetFlags(ref _pages[frame], PageFlags.SwapCache);
        _cached++;
    }

    private ulong Take()
    {
        ulong slot = _freeList;
        if (slot != 0)
            _freeList = _slots[slot].Frame;
        else if (_next <= TotalSlots)
            slot = _next++;
        else
            return 0;
        _slots[slot] = default;
        _used++;
        return slot;
    }

    private void Release(ulong slot)
    {
        _slots[slot] = new Slot { Count = FreeMark, Frame = (uint)_freeList };
        _freeList = slot;
        _used--;
    }
}
