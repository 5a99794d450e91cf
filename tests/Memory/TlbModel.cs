namespace Emulator.Tests.Memory;

/// <summary>A TLB as a list of pages with rights, written for clarity: the naive twin of the native one.</summary>
internal sealed class TlbModel(int sets1, int ways1, int sets1Large, int sets2, int ways2)
{
    public sealed record Entry(ulong Page, int SizeClass, int Context, bool Global, ulong Frame, bool Writable, bool Dirty);

    private sealed class Level(int sets, int ways)
    {
        private readonly Entry?[][] _sets = Enumerable.Range(0, sets).Select(_ => new Entry?[ways]).ToArray();
        private readonly int[] _victim = new int[sets];

        public int Evictions { get; private set; }

        public IEnumerable<Entry> All => _sets.SelectMany(s => s).OfType<Entry>();

        public Entry? Find(ulong page, int sizeClass, int context) => All.FirstOrDefault(e => Matches(e, page, sizeClass, context));

        public void Fill(Entry entry, int context)
        {
            int set = (int)(entry.Page % (ulong)sets);
            var ways = _sets[set];
            int way = Array.FindIndex(ways, e => e is not null && Matches(e, entry.Page, entry.SizeClass, context));
            if (way < 0)
                way = Array.FindIndex(ways, e => e is null);
            if (way < 0)
            {
                way = _victim[set];
                _victim[set] = (way + 1) % ways.Length;
                Evictions++;
            }
            ways[way] = entry;
        }

        public void Remove(Func<Entry, bool> which)
        {
            foreach (var ways in _sets)
            {
                for (int i = 0; i < ways.Length; i++)
                {
                    if (ways[i] is { } entry && which(entry))
                        ways[i] = null;
                }
            }
        }

        private static bool Matches(Entry e, ulong page, int sizeClass, int context)
            => e.Page == page && e.SizeClass == sizeClass && (e.Global || e.Context == context);
    }

    private readonly Level _small = new(sets1, ways1), _large = new(sets1Large, ways1), _second = new(sets2, ways2);

    public int Context { get; set; }
    public int Misses1 { get; private set; }
    public int Misses2 { get; private set; }
    public int Walks { get; private set; }
    public int Evictions1 => _small.Evictions + _large.Evictions;
    public int Evictions2 => _second.Evictions;

    public IEnumerable<Entry> FirstLevel => _small.All.Concat(_large.All);

    /// <summary>An access with what the tables say now.</summary>
    /// <returns>The physical frame of the 4 KiB, or null for a fault.</returns>
    public ulong? Access(ulong address, bool write, Func<Entry?> tables)
    {
        bool Allows(Entry e) => !write || (e.Writable && e.Dirty);
        ulong FrameOf(Entry e) => e.Frame + (address >> 12 & ((1UL << (9 * e.SizeClass)) - 1));

        var first = Look(_small, address, 0) ?? Look(_large, address, 1);
        if (first is not null && Allows(first))
            return FrameOf(first);
        bool upgrade = first is not null;
        if (first is null)
        {
            Misses1++;
            var second = Look(_second, address, 0) ?? Look(_second, address, 1);
            if (second is null)
                Misses2++;
            else
                upgrade = true;
            if (second is not null && Allows(second))
            {
                LevelFor(second.SizeClass).Fill(second, Context);
                return FrameOf(second);
            }
        }
        Walks++;
        var walked = tables();
        if (walked is null || (write && !walked.Writable))
        {
            RemovePage(address, Context, global: true);
            return null;
        }
        if (upgrade)
            RemovePage(address, Context, global: true);
        _second.Fill(walked, Context);
        LevelFor(walked.SizeClass).Fill(walked, Context);
        return FrameOf(walked);
    }

    public void RemovePage(ulong address, int context, bool global)
        => Remove(e => e.Page == address >> (12 + 9 * e.SizeClass) && (e.Global ? global : e.Context == context));

    public void Remove(Func<Entry, bool> which)
    {
        _small.Remove(which);
        _large.Remove(which);
        _second.Remove(which);
    }

    private Entry? Look(Level level, ulong address, int sizeClass) => level.Find(address >> (12 + 9 * sizeClass), sizeClass, Context);

    private Level LevelFor(int sizeClass) => sizeClass == 0 ? _small : _large;
}
