using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// One of the devices /dev/hmm_dmirror*, with memory of its own in chunks that are made when they are needed (dmirror_device). The memory is
/// only pretended: behind each page of it is one of the machine, of which programs do not know.
/// </summary>
/// <param name="machine">The machine it is in.</param>
/// <param name="hasMemory">Whether programs' pages can be moved to the device.</param>
internal sealed class DmirrorDevice(Machine machine, bool hasMemory)
{
    /// <summary>How many devices there are (DMIRROR_NDEVICES).</summary>
    public const int Count = 4;

    /// <summary>Pages of a chunk (DEVMEM_CHUNK_SIZE).</summary>
    public const int ChunkPages = (256 << 20) >> Pfn.Shift;

    /// <summary>Leaf: pages are freed under any lock.</summary>
    private readonly Lock _lock = new();

    private readonly List<DmirrorChunk> _chunks = [];
    private readonly Stack<Pfn> _free = [];
    private readonly List<Dmirror> _mirrors = [];

    public Machine Machine { get; } = machine;

    private PageAllocator Pages => Machine.Pages;

    /// <summary>Pages of programs in the device's memory.</summary>
    public int UsedPages
    {
        get
        {
            lock (_lock)
                return _chunks.Count * ChunkPages - _free.Count;
        }
    }

    public void Add(Dmirror mirror)
    {
        lock (_lock)
            _mirrors.Add(mirror);
    }

    public void Remove(Dmirror mirror)
    {
        lock (_lock)
            _mirrors.Remove(mirror);
    }

    /// <summary>
    /// A page is about to move: no mirror of the address space on this device may use it where it is any longer. The kernel's notification
    /// was passed over as the device's own.
    /// </summary>
    public void Forget(Task? task, Mm mm, ulong address)
    {
        Dmirror[] mirrors;
        lock (_lock)
            mirrors = [.. _mirrors];
        foreach (Dmirror mirror in mirrors)
            mirror.Forget(task, mm, address);
    }

    /// <summary>The page of the machine behind one of the device's (BACKING_PAGE).</summary>
    public Pfn BackingOf(Pfn frame) => ((DmirrorChunk)Pages.Devices.Find(frame)!).BackingOf(frame);

    /// <summary>Whether a page is in this device's memory.</summary>
    public bool Owns(Pfn frame) => Pages.IsDevice(frame) && Pages.Devices.Find(frame)?.Owner == this;

    /// <summary>A free page of the device, locked and with a reference (dmirror_devmem_alloc_page). False: there is no memory for it.</summary>
    public bool TryAllocate(out Pfn frame)
    {
        frame = default;
        if (!hasMemory || !Pages.TryAllocate(PageFlags.None, zero: false, out Pfn backing))
            return false;
        bool found;
        lock (_lock)
        {
            if (_free.Count == 0)
                AddChunk();
            found = _free.TryPop(out frame);
            // Before the lock goes: a chunk none of whose pages is in use may be taken away.
            if (found)
                ((DmirrorChunk)Pages.Devices.Find(frame)!).SetBacking(frame, backing);
        }
        if (found)
            Pages.Devices.InitializePage(frame);
        else
            Pages.Put(backing);
        return found;
    }

    private void AddChunk()
    {
        var chunk = new DmirrorChunk(this);
        if (!Pages.Devices.Add(chunk, ChunkPages))
            return;
        _chunks.Add(chunk);
        for (ulong i = ChunkPages; i > 0; i--)
            _free.Push(new Pfn(chunk.First.Value + i - 1));
    }

    /// <summary>A page's last reference is gone (dmirror_devmem_free).</summary>
    public void Free(DmirrorChunk chunk, Pfn frame)
    {
        Pfn backing;
        lock (_lock)
        {
            backing = chunk.TakeBacking(frame);
            _free.Push(frame);
        }
        Pages.Put(backing);
    }

    /// <summary>Gives each of the device's pages one of the machine, with its data (dmirror_devmem_fault_alloc_and_copy). False: memory is exhausted.</summary>
    public bool CopyToSystem(Task? task, MigrateVma args)
    {
        bool enough = true;
        for (int i = 0; i < args.Source.Length; i++)
        {
            if (!args.Source[i].Migrate || !args.Source[i].HasPage)
                continue;
            Forget(task, args.Vma.Mm, args.Start + ((ulong)i << Pfn.Shift));
            enough &= TryCopyToSystem(args.Source[i].Frame, out args.Destination[i]);
        }
        return enough;
    }

    /// <summary>A locked page of the machine with the data of one of the device, which no mirror uses any more.</summary>
    public bool TryCopyToSystem(Pfn frame, out MigratePfn copy)
    {
        copy = default;
        if (!Pages.TryAllocate(PageFlags.Anon, zero: false, out Pfn page))
            return false;
        Pages.Locks.TryLock(page);
        Machine.Memory.BytesOf(BackingOf(frame)).CopyTo(Machine.Memory.BytesOf(page));
        copy = new MigratePfn(page);
        return true;
    }

    /// <summary>HMM_DMIRROR_RELEASE: everything goes back to the machine's memory, and the device's is taken away (dmirror_device_remove_chunks).</summary>
    public long ReleaseMemory(Task task)
    {
        DmirrorChunk[] chunks;
        lock (_lock)
            chunks = [.. _chunks];
        foreach (DmirrorChunk chunk in chunks)
            chunk.Evict(task);
        lock (_lock)
        {
            // What somebody still holds keeps its chunk.
            foreach (DmirrorChunk chunk in chunks)
            {
                if (chunk.UsedPages != 0 || !_chunks.Remove(chunk))
                    continue;
                Pages.Devices.Remove(chunk);
            }
            Pfn[] kept = [.. _free.Where(frame => _chunks.Exists(chunk => chunk.Contains(frame)))];
            _free.Clear();
            foreach (Pfn frame in kept)
                _free.Push(frame);
        }
        return 0;
    }
}
