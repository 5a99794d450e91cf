using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>The pages themselves: found, brought in, replaced (mm/filemap.c).</summary>
public abstract unsafe partial class PageCache
{
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
    /// <param name="task">The caller, which holds no spin lock: a new page may have to wait for reclaim. Null when no task runs.</param>
    /// <param name="index">The page's index; not checked against the size.</param>
    /// <param name="create">Bring the page in when it is absent.</param>
    /// <param name="frame">The page's frame.</param>
    /// <param name="zero">The caller overwrites what a new page would have for contents, or there is none.</param>
    /// <returns>0; -ENOENT: absent, and not to be created; -ENOMEM; -ENOSPC: a limit; -EIO: its contents cannot be read.</returns>
    internal virtual long GetPage(Task? task, ulong index, bool create, out Pfn frame, bool zero = false)
    {
        while (true)
        {
            bool swapped;
            lock (_lock)
            {
                if (_index.TryGet(index, out frame))
                {
                    Pages.Get(frame);
                    if (create)
                        MarkUsed(frame);
                    return 0;
                }
                swapped = _swapped.TryGet(index, out _);
            }
            long error = swapped ? SwapIn(task, index, out frame) : create ? Create(task, index, zero, out frame) : -Errno.ENOENT;
            if (error != -Errno.EAGAIN)
                return error;
        }
    }

    /// <summary>As <see cref="GetPage"/>, for those to whom all failures are the same.</summary>
    public bool TryGetPage(ulong index, bool create, out Pfn frame) => GetPage(null, index, create, out frame) == 0;

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

    /// <summary>Makes a page: 0, -EAGAIN: somebody else was faster, or what was read may be out of date; else as <see cref="GetPage"/>.</summary>
    private long Create(Task? task, ulong index, bool zero, out Pfn frame)
    {
        frame = default;
        long departures = Volatile.Read(ref _departures);
        if (!TryCharge())
            return -Errno.ENOSPC;
        bool fill = NeedsFill && !zero;
        long error =
            !Pages.TryAllocate(task, FrameFlags, zero: !fill, out frame) ? -Errno.ENOMEM
            : fill && !Fill(index, new Span<byte>(Pages.Memory.Pointer(frame), 4096)) ? -Errno.EIO
            : 0;
        if (error == 0)
        {
            lock (_lock)
            {
                // A page may have been here meanwhile, been written, and left: what was read before that is not what the file holds now.
                if (!_index.TryGet(index, out _) && !_swapped.TryGet(index, out _) && departures == _departures)
                {
                    Enter(index, frame);
                    return 0;
                }
            }
            error = -Errno.EAGAIN;
        }
        Uncharge();
        if (frame != default)
            Pages.Put(frame);
        frame = default;
        return error;
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
    private protected long Preallocate(Task? task, ulong index)
    {
        // A page that an earlier call has allocated counts as used from the second one on (shmem_get_folio with SGP_FALLOC).
        long error = GetPage(task, index, create: false, out Pfn frame);
        if (error == 0)
        {
            MarkUsed(frame);
            Pages.Put(frame);
            return 0;
        }
        if (error == -Errno.ENOENT)
            error = Create(task, index, zero: true, out frame);
        if (error == -Errno.EAGAIN)
            return Preallocate(task, index);
        if (error < 0)
            return error;
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

    internal void MarkDirty(Pfn frame) => PageAllocator.SetFlags(ref Pages[frame], PageFlags.Dirty);

    /// <summary>Whether the file's quota allows another page, which is counted.</summary>
    private protected virtual bool TryCharge() => true;

    private protected virtual void Uncharge()
    {
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
}
