using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Memory;

/// <summary>How pages are taken out of all their mappings (TTU_*).</summary>
[Flags]
internal enum TtuFlags
{
    None = 0,
    /// <summary>Locked VMAs too.</summary>
    IgnoreMlock = 1,
    /// <summary>Other vCPUs' flushes may wait until the caller's <see cref="Shootdown.TlbBatch"/> is flushed.</summary>
    BatchFlush = 2,
}

/// <summary>Visits a place where a page may be mapped; false ends the walk.</summary>
internal delegate bool RmapVisitor<TState>(Vma vma, ulong address, ref TState state);

/// <summary>
/// From a frame to the entries that map it (mm/rmap.c). Whose a page is says its owner: an <see cref="AnonVma"/> or a page cache, each of
/// which knows the VMAs; where in a VMA follows from the page's index.
/// </summary>
/// <remarks>
/// Locks: the page's, then the owner's for reading, then page-table locks one at a time. The owner's lock keeps VMAs, their bounds and
/// their tables: whoever takes those away unlinks the VMA under that lock first.
/// In bounds: an index outside a VMA is none of its addresses, also where the difference wraps; the caller's reference keeps the frame.
/// </remarks>
internal sealed partial class Rmap(MemorySystem system)
{
    private PageAllocator Pages => system.Pages;

    /// <summary>Whose a page is, and where in it, kept while a page is out of all mappings.</summary>
    internal readonly record struct Place(AnonVma? Anon, PageCache? Cache, ulong Index, RemotePage? Remote = null);

    /// <summary>Where a page belongs. The caller holds the page's lock, which keeps the page cache.</summary>
    public Place PlaceOf(Pfn frame)
    {
        Pfn head = Pages.HeadOf(frame);
        ref Page page = ref Pages[head];
        uint owner = Volatile.Read(ref page.Owner);
        ulong index = page.Index + (frame.Value - head.Value);
        if (page.IsAnon)
            return new Place(system.AnonVmas.Find(owner), null, index, (page.Flags & PageFlags.Remote) != 0 ? system.RemotePages.Find(frame) : null);
        return (page.Flags & PageFlags.Cache) != 0 ? new Place(null, Pages.CacheOf(owner), index) : default;
    }

    /// <summary>Calls <paramref name="visit"/> for every VMA and address that may map the page, entries not looked at.</summary>
    public void Walk<TState>(Task? task, Pfn frame, ref TState state, RmapVisitor<TState> visit)
    {
        Walk(task, PlaceOf(frame), ref state, visit);
    }

    public static void Walk<TState>(Task? task, in Place place, ref TState state, RmapVisitor<TState> visit)
    {
        if (place.Anon is { } anonVma)
        {
            using (anonVma.Root.Lock.EnterRead(task))
            {
                for (AnonVmaChain? chain = anonVma.First; chain is not null; chain = chain.Next)
                {
                    if (!Visit(chain.Vma, place.Index, ref state, visit))
                        return;
                }
            }
        }
        else if (place.Cache is { } cache)
        {
            using (cache.MappingsLock.EnterRead(task))
            {
                for (Vma? vma = cache.Mappings.First; vma is not null; vma = vma.NextInMapping)
                {
                    if (!Visit(vma, place.Index, ref state, visit))
                        return;
                }
            }
        }
        if (place.Remote is { AnonVma: { } clients } remote)
            WalkRemote(task, clients, remote, ref state, visit);
    }

    /// <summary>
    /// The client's mapping of a remote page (rmap_walk_remote, which visits the address in every VMA of the client's family, whether it is in there or not).
    /// </summary>
    private static void WalkRemote<TState>(Task? task, AnonVma clients, RemotePage remote, ref TState state, RmapVisitor<TState> visit)
    {
        using (clients.Root.Lock.EnterRead(task))
        {
            for (AnonVmaChain? chain = clients.First; chain is not null; chain = chain.Next)
            {
                if (chain.Vma.Mm != remote.Client || !chain.Vma.Contains(remote.Address))
                    continue;
                visit(chain.Vma, remote.Address, ref state);
                return;
            }
        }
    }

    private static bool Visit<TState>(Vma vma, ulong index, ref TState state, RmapVisitor<TState> visit) =>
        index - vma.PageOffset >= vma.Pages || visit(vma, vma.Start + ((index - vma.PageOffset) << Pfn.Shift), ref state);

    private struct Reference
    {
        public Task? Task;
        public Pfn Frame;
        public int Count;
        public VmFlags Flags;
    }

    /// <summary>Clears the accessed bits of all entries of the page, and of devices' (folio_referenced).</summary>
    /// <param name="task">The caller.</param>
    /// <param name="frame">The page, locked.</param>
    /// <param name="vmFlags">Flags of the VMAs that map it, as far as looked at: a locked one ends the walk.</param>
    /// <returns>How many mappings have used it.</returns>
    public int Referenced(Task? task, Pfn frame, out VmFlags vmFlags)
    {
        var state = new Reference { Task = task, Frame = frame };
        Walk(task, frame, ref state, static (Vma vma, ulong address, ref Reference s) => vma.Mm.ReferencedOne(s.Task, vma, address, s.Frame, ref s.Count, ref s.Flags));
        vmFlags = state.Flags;
        return state.Count;
    }

    /// <summary>
    /// Takes write permission and dirty bits from all shared mappings of a file's page, which is locked, so that the next store is noticed
    /// (folio_mkclean).
    /// </summary>
    public static void PageMkClean(Task? task, in Place place, Pfn frame)
    {
        var state = new Reference { Task = task, Frame = frame };
        Walk(task, place, ref state, static (Vma vma, ulong address, ref Reference s) =>
        {
            if (vma.IsShared)
                vma.Mm.MkCleanOne(s.Task, address, s.Frame);
            return true;
        });
    }
}
