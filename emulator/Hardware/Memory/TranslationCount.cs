namespace Emulator.Hardware.Memory;

/// <summary>Cached translations of a context, by whether they touch a range.</summary>
public struct TranslationCount
{
    /// <summary>Translations of pages in the range.</summary>
    public ulong Inside { get; private set; }

    /// <summary>All others.</summary>
    public ulong Outside { get; private set; }

    internal void Add(bool inside)
    {
        if (inside)
            Inside++;
        else
            Outside++;
    }
}
