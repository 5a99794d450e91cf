using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Shootdown;

/// <summary>
/// The regions that an address space shares, as its vCPUs need them: the other direction of <see cref="SharedTables.Sharers"/>. Never
/// changed: <see cref="MmContext.Links"/> is replaced as a whole, before the first link into a region is made and after the last is flushed.
/// </summary>
internal sealed class SharedLinks
{
    private readonly (MmContext Host, Sharer Sharer)[] _links;
    private readonly MmContext[] _hosts;

    private SharedLinks((MmContext, Sharer)[] links)
    {
        _links = links;
        _hosts = [.. _links.Select(static l => l.Host).Distinct()];
    }

    /// <summary>A region's host, or null if there are several of them.</summary>
    public MmContext? OnlyHost => _hosts.Length == 1 ? _hosts[0] : null;

    /// <summary>Raised by whatever raises the shared generation of one of the hosts; comparable between two looks at the same object.</summary>
    public ulong Generation
    {
        get
        {
            ulong sum = 0;
            foreach (MmContext host in _hosts)
                sum += host.SharedGeneration;
            return sum;
        }
    }

    /// <summary>The regions' hosts, each once.</summary>
    public ReadOnlySpan<MmContext> Hosts => _hosts;

    public bool Has(MmContext host) => Array.IndexOf(_hosts, host) >= 0;

    public static SharedLinks With(SharedLinks? links, MmContext host, in Sharer sharer) => new(links is null ? [(host, sharer)] : [.. links._links, (host, sharer)]);

    /// <summary>Without one link; null if it was the last.</summary>
    public static SharedLinks? Without(SharedLinks? links, MmContext host, Sharer sharer)
    {
        int at = links is null ? -1 : Array.IndexOf(links._links, (host, sharer));
        if (at < 0)
            return links;
        return links!._links.Length == 1 ? null : new([.. links._links[..at], .. links._links[(at + 1)..]]);
    }

    /// <summary>Whether any part of a host's range is seen here.</summary>
    public bool Cover(MmContext host, ulong start, ulong end)
    {
        int at = 0;
        return TryNext(ref at, host, start, end, out _, out _);
    }

    public bool Touch(in SharedFlush flush) => Cover(flush.Host.Context, flush.Start, flush.End);

    /// <summary>
    /// Steps through the places where a host's range is seen: a process may have mapped a region several times, and each is a
    /// translation of its own.
    /// </summary>
    /// <param name="at">0 for the first step.</param>
    /// <returns>False: there are no more.</returns>
    public bool TryNext(ref int at, MmContext host, ulong start, ulong end, out ulong sharerStart, out ulong sharerEnd)
    {
        while (at < _links.Length)
        {
            ref readonly (MmContext Host, Sharer Sharer) link = ref _links[at++];
            if (link.Host == host && link.Sharer.TryTranslate(start, end, out sharerStart, out sharerEnd))
                return true;
        }
        (sharerStart, sharerEnd) = (0, 0);
        return false;
    }
}
