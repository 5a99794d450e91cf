using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
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
/// In bounds: frames come from the index, which only the allocator's are entered in, and are held by a reference while they are copied; each copy ends with its page.
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

    /// <summary>Pages that have left the index since the start. Guarded as the index is.</summary>
    private long _departures;

    protected PageCache(PageAllocator pages)
        : this(pages, LockClass.MappingsLock)
    {
    }

    private protected PageCache(PageAllocator pages, LockClass mappings)
    {
        Pages = pages;
        MappingsLock = new RwSemaphore(mappings);
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
    internal RwSemaphore MappingsLock { get; }

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

    /// <summary>Whether these pages may be mapped; a file's may, also where nothing is behind them yet. 0 or a negative errno.</summary>
    internal virtual long CheckRange(ulong first, ulong pages) => 0;

    /// <summary>Whether a mapping with these flags is allowed; may take permissions away. 0 or a negative errno.</summary>
    internal virtual long CheckMapping(ref VmFlags flags) => 0;

    /// <summary>Writes dirty pages of [first, last] back to where they come from; 0 or a negative errno.</summary>
    public virtual long WriteBack(ulong first, ulong last) => 0;

    /// <summary>As <see cref="WriteBack"/>, for msync and fsync: mappings lose write permission, so that stores from now on are noticed.</summary>
    public virtual long Sync(Task? task, ulong first, ulong last) => 0;

    /// <summary>Whether somebody has the file open, maps it, or uses it otherwise.</summary>
    internal bool HasUsers => Volatile.Read(ref _users) != 0;

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
        // Reclaim or migration may hold the lock of one of them.
        RemovePages(Pages.CurrentTask(), 0, ulong.MaxValue >> 12, evenCopies: true);
        Pages.Unregister(Id);
    }
}
