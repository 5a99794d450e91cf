namespace Emulator.Tests.Mm;

/// <summary>What a page shows: one byte stands for all of it. Shared by all pages that show the same.</summary>
internal sealed class ModelContent
{
    public byte Value;
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
        for (int i = pages; i < Pages; i++)
            _contents.Remove(i);
        Pages = pages;
    }
}

/// <summary>One page of an address space as a program sees it. No VMAs, no tables, no sharing tricks: what mmap(2) and friends promise.</summary>
internal sealed class ModelPage
{
    public bool Readable;
    public bool Writable;
    public bool Shared;

    /// <summary>What is behind the page; null for private anonymous memory.</summary>
    public ModelObject? Object;
    public int Index;

    /// <summary>The page's own contents, once a private page was written.</summary>
    public ModelContent? Private;

    public ModelPage Clone() => new()
    {
        Readable = Readable,
        Writable = Writable,
        Shared = Shared,
        Object = Object,
        Index = Index,
        Private = Private is null ? null : new ModelContent { Value = Private.Value },
    };

    /// <summary>Beyond the end of the file: SIGBUS.</summary>
    public bool IsBeyondEnd => Object is not null && Index >= Object.Pages;

    public byte Read() => Private?.Value ?? Object?.At(Index).Value ?? 0;

    public void Write(byte value)
    {
        if (Shared)
            Object!.At(Index).Value = value;
        else
            (Private ??= new ModelContent()).Value = value;
    }
}

/// <summary>An address space as a table of pages.</summary>
internal sealed class AddressSpaceModel
{
    public SortedDictionary<ulong, ModelPage> Pages { get; } = [];

    public bool Covers(ulong start, int pages) => Enumerable.Range(0, pages).All(i => Pages.ContainsKey(start + ((ulong)i << 12)));

    public bool Touches(ulong start, int pages) => Enumerable.Range(0, pages).Any(i => Pages.ContainsKey(start + ((ulong)i << 12)));

    public void Remove(ulong start, int pages)
    {
        for (int i = 0; i < pages; i++)
            Pages.Remove(start + ((ulong)i << 12));
    }

    public AddressSpaceModel Fork()
    {
        var child = new AddressSpaceModel();
        foreach ((ulong address, ModelPage page) in Pages)
            child.Pages.Add(address, page.Clone());
        return child;
    }
}
