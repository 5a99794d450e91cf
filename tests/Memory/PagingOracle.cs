namespace Emulator.Tests.Memory;

/// <summary>
/// What the manual says of one access through one chain of entries, written from SDM vol. 3, 4.6 to 4.8 as predicates over the whole
/// chain, and sharing nothing with the walker.
/// </summary>
internal static class PagingOracle
{
    public const int P = 0, RW = 1, US = 2, A = 5, D = 6, PS = 7, NX = 63;

    public record struct Outcome(bool Faults, uint Error, ulong[] Entries);

    /// <param name="entries">From the PML4E down to the entry that maps the page.</param>
    /// <param name="kind">0 read, 1 write, 2 fetch.</param>
    public static Outcome Predict(ulong[] entries, int kind, bool user, bool wp, bool nxe, int physicalBits)
    {
        static bool Bit(ulong entry, int bit) => (entry >> bit & 1) != 0;

        var after = (ulong[])entries.Clone();
        uint error = (kind == 1 ? 2u : 0) | (user ? 4u : 0) | (kind == 2 && nxe ? 16u : 0);
        int last = entries.Length - 1;
        for (int i = 0; i <= last; i++)
        {
            if (!Bit(entries[i], P))
                return new Outcome(true, error, after);
            if (HasReserved(entries[i], i, i == last, nxe, physicalBits))
                return new Outcome(true, error | 9, after);
            if (i < last)
                after[i] |= 1UL << A;
        }
        bool userPage = Array.TrueForAll(entries, e => Bit(e, US));
        bool writable = Array.TrueForAll(entries, e => Bit(e, RW));
        bool fetchable = !nxe || !Array.Exists(entries, e => Bit(e, NX));
        bool allowed = (!user || userPage) && kind switch
        {
            1 => writable || (!user && !wp),
            2 => fetchable,
            _ => true,
        };
        if (!allowed)
            return new Outcome(true, error | 1, after);
        after[last] |= 1UL << A | (kind == 1 ? 1UL << D : 0);
        return new Outcome(false, 0, after);
    }

    private static bool HasReserved(ulong entry, int depth, bool maps, bool nxe, int physicalBits)
    {
        for (int bit = physicalBits; bit < 52; bit++)
        {
            if ((entry >> bit & 1) != 0)
                return true;
        }
        if (!nxe && (entry >> NX & 1) != 0)
            return true;
        if (depth == 0)
            return (entry >> PS & 1) != 0;
        // A 1-GiB page has bits 13 to 29 reserved, a 2-MiB page bits 13 to 20.
        int end = maps ? depth switch { 1 => 30, 2 => 21, _ => 0 } : 0;
        for (int bit = 13; bit < end; bit++)
        {
            if ((entry >> bit & 1) != 0)
                return true;
        }
        return false;
    }
}
