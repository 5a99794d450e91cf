using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// The pages of a file (Linux's <c>struct address_space</c>): read, write and every mapping of the file see the same frames. What a
/// page holds when it is first needed is the derived class's business. Offsets and sizes are in bytes, indices in pages.
/// </summary>
/// <remarks>
/// Truncation against a fault (mm/truncate.c): both lock the page. The fault maps it only if it still belongs to this cache; truncation
/// takes it out of the mappings and then out of the cache. Required: no mapping of a page that has left the cache remains.
/// </remarks>
public abstract unsafe partial class PageCache
{
    /// <summary>The largest file: what a signed offset can name, in whole pages.</summary>
    public const ulong MaxSize = 0x7fff_ffff_ffff_f000;

    private readonly Lock _lock = new();
    private readonly PageIndex _index = new();
    private long _size;
    private int _writableMappings;
    private int _users = 1;
    private int _freed;

    protected PageCache(PageAllocator pages)
    {
        Pages = pages;
        Id = pages.Register(this);
    }

    /// <summary>The number by which <see cref="Page.Owner"/> names this cache; never reused in a machine.</summary>
    public uint Id { get; }

    protected PageAllocator Pages { get; }

    /// <summary>The file's size in bytes; what lies beyond its last page faults with SIGBUS.</summary>
    public ulong Size
    {
        get => (ulong)Volatile.Read(ref _size);
        protected set => Volatile.Write(ref _size, (long)value);
    }

    /// <summary>Pages present.</summary>
    public long ResidentPages => _index.Count;

    /// <summary>The flags a page of this cache carries.</summary>
    protected abstract PageFlags FrameFlags { get; }

    /// <summary>Whether a store through a shared mapping must be noticed and written back.</summary>
    public virtual bool NeedsWriteBack => false;

    /// <summary>Mappings of this file by every address space (Linux's <c>i_mmap</c>), for truncation and reverse mapping.</summary>
    internal VmaList Mappings { get; } = new();

    /// <summary>
    /// Guards <see cref="Mappings"/> and the bounds of its VMAs; taken after page locks and before page-table locks (Linux's
    /// <c>i_mmap_rwsem</c>). Notifiers are called under it, so it may be slept under.
    /// </summary>
    internal RwSemaphore MappingsLock { get; } = new(LockClass.MappingsLock);

    /// <summary>Shared mappings that may write, as <c>F_SEAL_WRITE</c> needs to know (Linux's <c>i_mmap_writable</c>).</summary>
    public int WritableMappings => Volatile.Read(ref _writableMappings);

    internal void CountWritableMapping(int delta) => Interlocked.Add(ref _writableMappings, delta);

    /// <summary>Counts a new mapping unless such mappings are denied (mapping_map_writable).</summary>
    internal bool TryMapWritable()
    {
        while (true)
        {
            int count = Volatile.Read(ref _writableMappings);
            if (count < 0)
                return false;
            if (Interlocked.CompareExchange(ref _writableMappings, count + 1, count) == count)
                return true;
        }
    }

    /// <summary>Denies writable mappings from now on unless there are some (mapping_deny_writable).</summary>
    internal bool TryDenyWritable() => Interlocked.CompareExchange(ref _writableMappings, -1, 0) == 0;

    internal void AllowWritable() => Interlocked.Increment(ref _writableMappings);

    /// <summary>Whether somebody besides mappings holds a page, and might write to it (memfd_wait_for_pins).</summary>
    internal bool IsPinned
    {
        get
        {
            lock (_lock)
            {
                for (ulong at = 0; _index.TryGetNext(at, out at, out Pfn frame); at++)
                {
                    ref Page page = ref Pages[frame];
                    int mapped = (page.Flags & PageFlags.Head) != 0 ? Pages.EntireMapCount(frame) : Volatile.Read(ref page.MapCount);
                    if (Volatile.Read(ref page.RefCount) - mapped > 1)
                        return true;
                }
            }
            return false;
        }
    }

    /// <summary>Whether a mapping with these flags is allowed; may take permissions away. 0 or a negative errno.</summary>
    internal virtual long CheckMapping(ref VmFlags flags) => 0;

    /// <summary>Whether the frame is, now, the page <paramref name="index"/> of this cache.</summary>
    internal bool Holds(Pfn frame, ulong index)
    {
        ref Page page = ref Pages[frame];
        return Volatile.Read(ref page.Owner) == Id && page.Index == index;
    }

    /// <summary>Puts a copy in the place of a page that only the cache and the caller, who has both locked, refer to (folio_migrate_mapping).</summary>
    internal bool TryReplace(Pfn old, Pfn replacement, ulong index)
    {
        // The copy is made under the lock: whoever looks the page up finds the old one, and then holds it, or the new one with its contents.
        lock (_lock)
        {
            if (!Holds(old, index) || !Pages.TryFreeze(old, 2))
                return false;
            Migration.Copy(Pages, old, replacement);
            _index.Remove(index, out _);
            _index.Add(index, replacement);
            Pages[replacement].Index = index;
            Volatile.Write(ref Pages[replacement].Owner, Id);
            Pages.Get(replacement);
            Volatile.Write(ref Pages[old].Owner, 0);
            Volatile.Write(ref Pages[old].RefCount, 1);
            return true;
        }
    }

    /// <summary>Whether the page is present and has contents, without bringing it in.</summary>
    public bool Contains(ulong index)
    {
        lock (_lock)
            return _index.TryGet(index, out Pfn frame) && (Pages[frame].Flags & PageFlags.Unused) == 0;
    }

    /// <summary>Finds a page and takes a reference to it, which the caller drops with <see cref="PageAllocator.Put"/>.</summary>
    /// <param name="index">The page's index; not checked against the size.</param>
    /// <param name="create">Bring the page in when it is absent.</param>
    /// <param name="frame">The page's frame.</param>
    /// <returns>False: absent, or memory is exhausted, or its contents cannot be read.</returns>
    public virtual bool TryGetPage(ulong index, bool create, out Pfn frame)
    {
        lock (_lock)
        {
            if (_index.TryGet(index, out frame))
            {
                Pages.Get(frame);
                if (create)
                    MarkUsed(frame);
                return true;
            }
        }
        return (SwappedPages != 0 && TrySwapIn(index, out frame)) || (create && Create(index, zero: false, out frame));
    }

    /// <summary>As <see cref="TryGetPage"/>, but only a page that is in memory, and without counting it as used.</summary>
    internal bool TryGetPresent(ulong index, out Pfn frame)
    {
        lock (_lock)
        {
            if (!_index.TryGet(index, out frame))
                return false;
            Pages.Get(frame);
            return true;
        }
    }

    private bool Create(ulong index, bool zero, out Pfn frame)
    {
        frame = default;
        if (!TryCharge())
            return false;
        if (!Pages.TryAllocate(FrameFlags, zero: !NeedsFill || zero, out frame))
        {
            Uncharge();
            return false;
        }
        if (NeedsFill && !zero && !Fill(index, new Span<byte>(Pages.Memory.Pointer(frame), 4096)))
        {
            Uncharge();
            Pages.Put(frame);
            return false;
        }
        Pfn existing;
        lock (_lock)
        {
            if (!_index.TryGet(index, out existing))
            {
                Enter(index, frame);
                return true;
            }
            Pages.Get(existing);
        }
        Uncharge();
        Pages.Put(frame);
        frame = existing;
        return true;
    }

    /// <summary>Enters a page where the caller knows that there is none; the cache takes a reference of its own.</summary>
    private protected void Insert(ulong index, Pfn frame)
    {
        Pages.Get(frame);
        ref Page page = ref Pages[frame];
        page.Index = index;
        lock (_lock)
            _index.Add(index, frame);
        Volatile.Write(ref page.Owner, Id);
    }

    private void MarkUsed(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        if ((page.Flags & PageFlags.Unused) != 0)
            PageAllocator.ClearFlags(ref page, PageFlags.Unused);
    }

    /// <summary>Brings a page in ahead of its use; 0, -ENOSPC or -ENOMEM.</summary>
    private protected long TryPreallocate(ulong index)
    {
        // A page that an earlier call has allocated counts as used from the second one on (shmem_get_folio with SGP_FALLOC).
        if (TryGetPage(index, create: false, out Pfn frame))
        {
            MarkUsed(frame);
            Pages.Put(frame);
            return 0;
        }
        if (!TryCharge())
            return -Errno.ENOSPC;
        Uncharge();
        if (!Create(index, zero: true, out frame))
            return -Errno.ENOMEM;
        PageAllocator.SetFlags(ref Pages[frame], PageFlags.Unused);
        Pages.Put(frame);
        return 0;
    }

    /// <summary>Makes a new frame a page of this cache. The lock is held.</summary>
    private void Enter(ulong index, Pfn frame)
    {
        _index.Add(index, frame);
        ref Page page = ref Pages[frame];
        page.Index = index;
        Volatile.Write(ref page.Owner, Id);
        Interlocked.Increment(ref page.RefCount); // The cache's beside the caller's; reclaim's hand may hold one for a moment.
    }

    /// <summary>Whether new pages have contents from elsewhere; false: they are zeroes.</summary>
    protected virtual bool NeedsFill => false;

    /// <summary>Reads the contents of a page; false: an error of the source.</summary>
    protected virtual bool Fill(ulong index, Span<byte> page) => true;

    /// <summary>Copies from the file, stopping at its end; holes read as zeroes and stay holes.</summary>
    /// <returns>Bytes copied, or a negative errno.</returns>
    public virtual long Read(ulong offset, Span<byte> buffer)
    {
        ulong size = Size;
        if (offset >= size)
            return 0;
        int total = (int)Math.Min((ulong)buffer.Length, size - offset);
        for (int done = 0; done < total;)
        {
            ulong at = offset + (ulong)done;
            int inPage = (int)(at & 0xFFF);
            Span<byte> part = buffer.Slice(done, Math.Min(total - done, 4096 - inPage));
            if (TryGetPage(at >> 12, NeedsFill, out Pfn frame))
            {
                new ReadOnlySpan<byte>(Pages.Memory.Pointer(frame) + inPage, part.Length).CopyTo(part);
                PageAllocator.MarkAccessed(ref Pages[frame]);
                Pages.Put(frame);
            }
            else if (NeedsFill)
            {
                return done > 0 ? done : -Errno.EIO;
            }
            else
            {
                part.Clear();
            }
            done += part.Length;
        }
        return total;
    }

    /// <summary>Copies into the file, which grows as needed.</summary>
    /// <returns>Bytes copied (fewer than asked when memory runs out), or a negative errno.</returns>
    public virtual long Write(ulong offset, ReadOnlySpan<byte> buffer)
    {
        if (offset > MaxSize || (ulong)buffer.Length > MaxSize - offset)
            return -Errno.EFBIG;
        int done = 0;
        while (done < buffer.Length)
        {
            ulong at = offset + (ulong)done;
            int inPage = (int)(at & 0xFFF);
            ReadOnlySpan<byte> part = buffer.Slice(done, Math.Min(buffer.Length - done, 4096 - inPage));
            if (!GetForWrite(at, part.Length, out Pfn frame))
                break;
            Pages.Memory.BeforeWrite(frame);
            part.CopyTo(new Span<byte>(Pages.Memory.Pointer(frame) + inPage, part.Length));
            MarkUsed(frame);
            MarkDirty(frame);
            PageAllocator.MarkAccessed(ref Pages[frame]);
            Pages.Put(frame);
            done += part.Length;
            GrowTo(at + (ulong)part.Length);
        }
        return done > 0 || buffer.IsEmpty ? done : -Errno.ENOSPC;
    }

    private bool GetForWrite(ulong offset, int length, out Pfn frame) =>
        TryGetPage(offset >> 12, create: false, out frame)
        || (Pages.FreeFrames > Pages.ReserveFrames
            && Create(offset >> 12, zero: length == 4096 || (offset & ~0xFFFUL) >= Size, out frame));

    private protected void GrowTo(ulong size)
    {
        lock (_lock)
        {
            if (size > Size)
                Size = size;
        }
    }

    internal void MarkDirty(Pfn frame) => PageAllocator.SetFlags(ref Pages[frame], PageFlags.Dirty);

    /// <summary>Changes the size; pages beyond it leave the cache and every mapping, and the rest of the last page is cleared.</summary>
    /// <param name="task">The caller, whose vCPU asks the others to flush; null only when no vCPU runs.</param>
    /// <param name="size">The new size in bytes.</param>
    /// <returns>0 or a negative errno.</returns>
    public virtual long Truncate(Task? task, ulong size)
    {
        if (size > MaxSize)
            return -Errno.EFBIG;
        ulong old = Size;
        Size = size;
        if (size < old)
        {
            RemovePages(task, (size + 0xFFF) >> 12, ulong.MaxValue >> 12, evenCopies: true);
            ClearRange(size, (size + 0xFFF) & ~0xFFFUL);
        }
        return 0;
    }

    /// <summary>
    /// Takes the pages [first, last] out of every mapping and out of the cache. Truncation takes the copies of private mappings too, a
    /// hole does not (unmap_mapping_range, even_cows).
    /// </summary>
    private protected void RemovePages(Task? task, ulong first, ulong last, bool evenCopies)
    {
        UnmapMappingRange(task, first, last, evenCopies);
        RemoveCached(task, first, last);
        // A fault that took a private copy after the first look has it unmapped now (truncate_pagecache).
        if (evenCopies)
            UnmapMappingRange(task, first, last, evenCopies);
    }

    /// <summary>
    /// Removes the pages [first, last] one after the other, each under its lock, and those in the swap area. Again until none is left: reclaim
    /// and swap-in move pages between the two (shmem_undo_range).
    /// </summary>
    private protected void RemoveCached(Task? task, ulong first, ulong last)
    {
        // A page may go to the swap area behind the look there, or come back: look again. Not for ever, for writers may refill a hole.
        int passes = 0;
        do
        {
            DropSwapped(first, last);
            for (ulong at = first; TryGetNextPage(ref at, last, out Pfn frame); at++)
            {
                Pages.Locks.Lock(task, frame);
                RemoveLocked(task, frame, at);
                Pages.Locks.Unlock(frame);
                Pages.Put(frame);
            }
        }
        while (HasPages(first, last) && ++passes < 16);
    }

    private bool HasPages(ulong first, ulong last)
    {
        lock (_lock)
            return (_index.TryGetNext(first, out ulong found, out _) && found <= last) || (_swapped.TryGetNext(first, out found, out _) && found <= last);
    }

    /// <summary>Removes a page that the caller has locked, from mappings first if somebody has mapped it meanwhile (truncate_inode_folio).</summary>
    internal void RemoveLocked(Task? task, Pfn frame, ulong index)
    {
        if (!Holds(frame, index))
            return;
        if (IsMapped(frame))
            UnmapMappingRange(task, index, index, evenCopies: false);
        lock (_lock)
            _index.Remove(index, out _);
        Volatile.Write(ref Pages[frame].Owner, 0);
        Uncharge();
        Pages.Put(frame); // The cache's own.
    }

    private bool IsMapped(Pfn frame)
    {
        ref Page page = ref Pages[frame];
        return Volatile.Read(ref page.MapCount) > 0 || ((page.Flags & PageFlags.Head) != 0 && Volatile.Read(ref Pages.EntireMapCount(frame)) > 0);
    }

    /// <summary>Whether the file's quota allows another page, which is counted.</summary>
    private protected virtual bool TryCharge() => true;

    private protected virtual void Uncharge()
    {
    }

    /// <summary>Zaps the pages [first, last] from all mappings (mm/memory.c:unmap_mapping_range).</summary>
    private protected virtual void UnmapMappingRange(Task? task, ulong first, ulong last, bool evenCopies)
    {
        if (Mappings.IsEmpty)
            return;
        using (MappingsLock.EnterRead(task))
        {
            for (Vma? vma = Mappings.First; vma is not null; vma = vma.NextInMapping)
                vma.Mm.ZapFilePages(task, vma, first, last, evenCopies);
        }
    }

    /// <summary>Waits while the page is being punched out of the file; true: it was, and the access is to be tried again.</summary>
    internal virtual bool WaitForPunch(Task task, ulong index) => false;

    /// <summary>Clears what of [start, end) lies outside the whole pages [first, behind), if there are any.</summary>
    private protected void ClearEdges(ulong start, ulong end, ulong first, ulong behind)
    {
        if (first > behind)
        {
            ClearRange(start, end);
            return;
        }
        ClearRange(start, first << 12);
        ClearRange(behind << 12, end);
    }

    /// <summary>Clears the bytes [start, end) of one page if it is present.</summary>
    protected void ClearRange(ulong start, ulong end)
    {
        if (start >= end || !TryGetPage(start >> 12, create: false, out Pfn frame))
            return;
        Pages.Memory.BeforeWrite(frame);
        new Span<byte>(Pages.Memory.Pointer(frame) + (start & 0xFFF), (int)(end - start)).Clear();
        Pages.Put(frame);
    }

    /// <summary>The first page at or after an index that holds data, for SEEK_DATA.</summary>
    public bool TryFindData(ulong from, out ulong index)
    {
        lock (_lock)
        {
            bool swapped = _swapped.TryGetNext(from, out ulong next, out _);
            for (index = from; _index.TryGetNext(index, out index, out Pfn frame); index++)
            {
                if ((Pages[frame].Flags & PageFlags.Unused) != 0)
                    continue;
                if (swapped)
                    index = Math.Min(index, next);
                return true;
            }
            index = next;
            return swapped;
        }
    }

    /// <summary>The first page in [from, end) that holds no data, for SEEK_HOLE, or the end.</summary>
    public ulong FindHole(ulong from, ulong end)
    {
        lock (_lock)
        {
            for (; from < end && (_index.TryGet(from, out Pfn frame) ? (Pages[frame].Flags & PageFlags.Unused) == 0 : _swapped.TryGet(from, out _)); from++)
            {
            }
        }
        return from;
    }

    /// <summary>The first page present in [index, last], with a reference for the caller.</summary>
    private protected bool TryGetNextPage(ref ulong index, ulong last, out Pfn frame)
    {
        lock (_lock)
        {
            if (!_index.TryGetNext(index, out ulong found, out frame) || found > last)
                return false;
            index = found;
            Pages.Get(frame);
            return true;
        }
    }

    /// <summary>Calls <paramref name="visit"/> for each page present in [first, last], with a reference held and no lock.</summary>
    protected void ForEachPage(ulong first, ulong last, Action<ulong, Pfn> visit)
    {
        for (ulong at = first; TryGetNextPage(ref at, last, out Pfn frame); at++)
        {
            visit(at, frame);
            Pages.Put(frame);
        }
    }

    /// <summary>Writes dirty pages of [first, last] back to where they come from; 0 or a negative errno.</summary>
    public virtual long WriteBack(ulong first, ulong last) => 0;

    /// <summary>As <see cref="WriteBack"/>, for msync and fsync: mappings lose write permission, so that stores from now on are noticed.</summary>
    public virtual long Sync(Task? task, ulong first, ulong last) => 0;

    /// <summary>Counts one more user: the maker is the first, and each mapping is one.</summary>
    internal void GetUser() => Interlocked.Increment(ref _users);

    /// <summary>Counts one more user unless the last one has gone.</summary>
    internal bool TryGetUser()
    {
        while (true)
        {
            int users = Volatile.Read(ref _users);
            if (users == 0)
                return false;
            if (Interlocked.CompareExchange(ref _users, users + 1, users) == users)
                return true;
        }
    }

    /// <summary>Drops a user; with the last one every page is freed.</summary>
    internal void PutUser()
    {
        if (Interlocked.Decrement(ref _users) == 0)
            Release();
    }

    /// <summary>The maker is done with it: the file is gone. Its pages stay as long as somebody maps them.</summary>
    public void Free()
    {
        if (Interlocked.Exchange(ref _freed, 1) == 0)
            PutUser();
    }

    /// <summary>Nobody maps or knows the file any more.</summary>
    protected virtual void Release()
    {
        RemovePages(null, 0, ulong.MaxValue >> 12, evenCopies: true);
        Pages.Unregister(Id);
    }
}
