namespace Emulator.Tests.Mm.Properties;

/// <summary>What a page shows: one number stands for all of it. Shared by all pages that show the same.</summary>
internal sealed class ModelContent
{
    public ulong Value;
}

/// <summary>A file or shared object: contents by page, and how many pages it has.</summary>
internal sealed class ModelObject(int pages)
{
    private readonly Dictionary<int, ModelContent> _contents = [];

    public int Pages { get; private set; } = pages;

    public ModelContent At(int index)
    {
        if (!_contents.TryGetValue(index, out ModelContent? content))
            _contents[index] = content = new ModelContent();
        return content;
    }

    public void Truncate(int pages)
    {
        Punch(pages, Pages - pages);
        Pages = pages;
    }

    /// <summary>The pages read as zeroes from now on; who has pinned one keeps what it was.</summary>
    public void Punch(int first, int pages)
    {
        for (int i = first; i < first + pages; i++)
            _contents.Remove(i);
    }
}

/// <summary>One page of an address space as a program sees it. No VMAs, no tables, no sharing tricks: what mmap(2) and friends promise.</summary>
internal sealed class ModelPage
{
    public bool Readable;
    public bool Writable;
    public bool Shared;
    public bool Locked;

    /// <summary>Part of a hugetlb page: the mapping changes 2 MiB at a time, and what the pool cannot give is SIGBUS.</summary>
    public bool Huge;

    /// <summary>MADV_DONTFORK and MADV_WIPEONFORK.</summary>
    public bool NotForked, WipedOnFork;

    /// <summary>MADV_FREE: may read as zeroes until it is written again.</summary>
    public bool MayVanish;

    /// <summary>What is behind the page; null for private anonymous memory.</summary>
    public ModelObject? Object;
    public int Index;

    /// <summary>The page's own contents, once a private page was written.</summary>
    public ModelContent? Private;

    public ModelPage Clone()
    {
        var clone = (ModelPage)MemberwiseClone();
        clone.Private = Private is null ? null : new ModelContent { Value = Private.Value };
        return clone;
    }

    /// <summary>Beyond the end of the file: SIGBUS.</summary>
    public bool IsBeyondEnd => Object is not null && Index >= Object.Pages;

    public bool Allows(bool write) => Readable && (!write || Writable);

    public ulong Read() => Private?.Value ?? Object?.At(Index).Value ?? 0;

    /// <summary>Where a write goes. A private page is a copy from now on.</summary>
    public ModelContent ForWrite() => Shared ? Object!.At(Index) : Private ??= new ModelContent { Value = Read() };

    public void Write(ulong value)
    {
        ForWrite().Value = value;
        MayVanish = false;
    }

    /// <summary>Whether a page may be seen to hold a value; what was seen to vanish has.</summary>
    public bool Accepts(ulong seen)
    {
        if (seen == Read())
            return true;
        if (!MayVanish || seen != 0)
            return false;
        Private = null;
        MayVanish = false;
        return true;
    }
}

/// <summary>An address space as a table of pages.</summary>
internal sealed class AddressSpaceModel(int size)
{
    public const int HugePages = 512;

    private readonly ModelPage?[] _pages = new ModelPage?[size];

    public int Size => size;

    public int Mapped { get; private set; }

    public ModelPage? this[int page]
    {
        get => _pages[page];
        set
        {
            Mapped += (value is null ? 0 : 1) - (_pages[page] is null ? 0 : 1);
            _pages[page] = value;
        }
    }

    public IEnumerable<ModelPage> All => _pages.OfType<ModelPage>();

    public bool Covers(int start, int pages) => _pages.AsSpan(start, pages).IndexOf((ModelPage?)null) < 0;

    public bool HasHuge(int start, int pages)
    {
        // Whole blocks are huge, or none of their pages.
        for (int i = start; i < start + pages; i = (i | (HugePages - 1)) + 1)
        {
            if (_pages[i] is { Huge: true })
                return true;
        }
        return false;
    }

    /// <summary>Whether a bound lies inside a hugetlb page.</summary>
    public bool IsInsideHuge(int page) => page % HugePages != 0 && page < size && _pages[page] is { Huge: true };

    /// <summary>How many pages from the first one on can be had one after the other.</summary>
    public int Accessible(int start, int pages, bool write)
    {
        int count = 0;
        while (count < pages && _pages[start + count] is { IsBeyondEnd: false } page && page.Allows(write))
            count++;
        return count;
    }

    public void Remove(int start, int pages)
    {
        for (int i = start; i < start + pages; i++)
            this[i] = null;
    }

    public AddressSpaceModel Fork()
    {
        var child = new AddressSpaceModel(size);
        for (int i = 0; i < size; i++)
        {
            if (_pages[i] is not { NotForked: false } page)
                continue;
            ModelPage clone = page.Clone();
            clone.Locked = false;
            if (page.WipedOnFork)
                clone.Private = null;
            child[i] = clone;
        }
        return child;
    }
}
