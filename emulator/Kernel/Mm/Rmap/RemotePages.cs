using System.Collections.Concurrent;
using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>Where a page is mapped beside the places that its owner leads to (struct page_db of the RFC "mm: add support for remote mapping", as rmap_walk_remote reads it).</summary>
/// <param name="frame">The page; it is a single one.</param>
/// <param name="client">Who maps it, too.</param>
internal sealed class RemotePage(Pfn frame, Mm client)
{
    private ulong _address;

    public Pfn Frame { get; } = frame;

    public Mm Client { get; } = client;

    /// <summary>Where in the client; follows what mremap does to it.</summary>
    public ulong Address
    {
        get => Volatile.Read(ref _address);
        set => Volatile.Write(ref _address, value);
    }

    /// <summary>What the client's VMA belongs to; null until the page is mapped there.</summary>
    public AnonVma? AnonVma { get; set; }
}

/// <summary>The pages of a machine that have <see cref="PageFlags.Remote"/>.</summary>
internal sealed class RemotePages
{
    private readonly ConcurrentDictionary<ulong, RemotePage> _pages = new();

    private int _count;

    public bool IsEmpty => Volatile.Read(ref _count) == 0;

    public RemotePage? Find(Pfn frame) => _pages.GetValueOrDefault(frame.Value);

    public bool TryAdd(RemotePage page)
    {
        if (!_pages.TryAdd(page.Frame.Value, page))
            return false;
        Interlocked.Increment(ref _count);
        return true;
    }

    public void Remove(RemotePage page)
    {
        if (_pages.TryRemove(page.Frame.Value, out _))
            Interlocked.Decrement(ref _count);
    }

    /// <summary>mremap moves an entry.</summary>
    public void Moved(Mm mm, ulong entry, ulong from, ulong to)
    {
        if (PageTables.IsMapped(entry) && !PageTables.IsSpecial(entry) && Find(PageTables.FrameOf(entry)) is { } page && page.Client == mm && page.Address == from)
            page.Address = to;
    }
}
