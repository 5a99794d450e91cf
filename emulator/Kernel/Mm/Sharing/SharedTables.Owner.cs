using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Whose memory a region is when memory runs out: its creator's as long as that address space lives, then that of somebody who shares it.
/// The OOM killer counts it as the owner's, and takes it away with the owner.
/// </summary>
public sealed partial class SharedTables
{
    private Mm? _owner;

    /// <summary>Null: nobody has it mapped and its creator is gone, or the variant knows no owners.</summary>
    public Mm? Owner => Volatile.Read(ref _owner);

    /// <summary>Makes an address space the owner if there is none.</summary>
    internal void OfferOwnership(Mm mm)
    {
        lock (_lock)
        {
            if (!IsLeaky && _owner is null && mm.TryOwn(this))
                _owner = mm;
        }
    }

    /// <summary>The owner ends, and shares nothing any more.</summary>
    internal void PassOwnership(Mm from)
    {
        lock (_lock)
        {
            if (_owner != from)
                return;
            _owner = null;
            foreach (Sharer sharer in _sharers)
            {
                if (sharer.Mm != from && sharer.Mm.TryOwn(this))
                {
                    _owner = sharer.Mm;
                    return;
                }
            }
        }
    }

    /// <summary>The region itself ends.</summary>
    internal void GiveUpOwnership()
    {
        lock (_lock)
        {
            _owner?.Disown(this);
            _owner = null;
        }
    }

}

/// <summary>The regions that an address space owns.</summary>
public sealed partial class Mm
{
    private readonly Lock _ownedLock = new();

    /// <summary>Null until the first, and again when the address space ends.</summary>
    private List<SharedTables>? _owned;
    private bool _ownsNothing;

    /// <summary>False: the address space is ending.</summary>
    internal bool TryOwn(SharedTables tables)
    {
        lock (_ownedLock)
        {
            if (_ownsNothing)
                return false;
            (_owned ??= []).Add(tables);
            return true;
        }
    }

    internal void Disown(SharedTables tables)
    {
        lock (_ownedLock)
            _owned?.Remove(tables);
    }

    private SharedTables[] OwnedTables()
    {
        lock (_ownedLock)
            return _owned is null ? [] : [.. _owned];
    }

    /// <summary>Pages, slots and tables of the regions it owns: what killing it gives beside its own.</summary>
    internal long OwnedPages
    {
        get
        {
            long pages = 0;
            foreach (SharedTables tables in OwnedTables())
                pages += tables.Host.ResidentPages + tables.Host.SwapEntries + (tables.Host.TableBytes >> 12);
            return pages;
        }
    }

    /// <summary>The address space ends: others own its regions now, or if it was killed for want of memory, the regions end up empty.</summary>
    private void PassOwnership(Task? task)
    {
        SharedTables[] owned;
        lock (_ownedLock)
        {
            _ownsNothing = true;
            owned = OwnedTables();
            _owned = null;
        }
        foreach (SharedTables tables in owned)
        {
            if (IsOomVictim && tables.Host.TryGetContext())
            {
                tables.Host.Munmap(task, 0, Layout.TaskSize);
                tables.Host.PutContext();
            }
            tables.PassOwnership(this);
        }
    }

    /// <summary>Set before the victim is told to die: however fast it does, what it owns must not become somebody else's.</summary>
    internal bool IsOomVictim { get; set; }

    /// <summary>
    /// The owner is being killed for want of memory, and what it owns goes with it, whoever shares it: at once, or where somebody has the
    /// host's lock, the caller's own fault perhaps, when the owner exits.
    /// </summary>
    /// <returns>Whether all of it is gone.</returns>
    internal bool TryUnmapOwnedRegions(Task task)
    {
        bool complete = true;
        foreach (SharedTables tables in OwnedTables())
        {
            if (!tables.Host.TryGetContext())
                continue;
            complete &= tables.Host.TryUnmapEverything(task);
            tables.Host.PutContext();
        }
        return complete;
    }

    private bool TryUnmapEverything(Task task)
    {
        if (!MmapLock.TryLockWrite(task))
            return false;
        Unmap(task, 0, Layout.TaskSize);
        UnlockWrite();
        return true;
    }
}
