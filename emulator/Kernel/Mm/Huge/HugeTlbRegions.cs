namespace Emulator.Kernel.Memory;

/// <summary>
/// A set of huge pages of a file (mm/hugetlb.c, <c>struct resv_map</c>). Of a shared file: those that somebody reserved or that exist. Of
/// a private mapping, whose owner alone has reserved all of it: those whose reservation is used up. Indices count huge pages.
/// </summary>
/// <remarks>In bounds: an index is entered when its page is promised or taken, so there are no more than the pool could give.</remarks>
internal sealed class HugeTlbRegions
{
    private readonly Lock _lock = new();
    private readonly HashSet<ulong> _pages = [];

    public bool Contains(ulong page)
    {
        lock (_lock)
            return _pages.Contains(page);
    }

    public void Add(ulong page)
    {
        lock (_lock)
            _pages.Add(page);
    }

    /// <summary>Adds the pages of [from, to) if <paramref name="allow"/> accepts how many are new (region_chg, region_add).</summary>
    public bool TryAdd(ulong from, ulong to, Func<long, bool> allow)
    {
        lock (_lock)
        {
            long missing = (long)(to - from) - CountIn(from, to);
            if (!allow(missing))
                return false;
            for (ulong page = from; page < to; page++)
                _pages.Add(page);
            return true;
        }
    }

    public bool Remove(ulong page)
    {
        lock (_lock)
            return _pages.Remove(page);
    }

    /// <summary>Removes the pages of [from, to) and says how many there were (region_del).</summary>
    public long Remove(ulong from, ulong to)
    {
        lock (_lock)
            return _pages.RemoveWhere(page => page >= from && page < to);
    }

    /// <summary>How many pages of [from, to) are in the set (region_count).</summary>
    public long Count(ulong from, ulong to)
    {
        lock (_lock)
            return CountIn(from, to);
    }

    private long CountIn(ulong from, ulong to)
    {
        long count = 0;
        foreach (ulong page in _pages)
        {
            if (page >= from && page < to)
                count++;
        }
        return count;
    }
}
