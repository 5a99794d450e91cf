namespace Emulator.Hardware.Memory;

/// <summary>
/// Somebody who knows what frames are used for and judges each use of a cached translation and each step of a page walk. A translation
/// gets a stamp when it is cached; what the stamp means is the witness's own affair.
/// </summary>
/// <remarks>
/// A vCPU without a witness pays one predictable branch in the slow paths. One with a witness does without the fast front, so that every
/// access is seen; instruction fetches are seen where they ask the TLB, not at each instruction. Called on the thread that runs the vCPU.
/// </remarks>
public abstract class TranslationWitness
{
    /// <summary>Bits that a stamp has: what is free in a TLB entry above the physical address.</summary>
    public const int StampBits = 11;

    /// <summary>The stamp for a translation to a frame, cached now.</summary>
    public abstract uint Stamp(Pfn frame);

    /// <summary>A cached translation is used for an access.</summary>
    /// <param name="address">The linear address.</param>
    /// <param name="page">The first frame of the page that the translation maps.</param>
    /// <param name="frame">The frame accessed.</param>
    /// <param name="stamp">What <see cref="Stamp"/> said of <paramref name="page"/> when the translation was cached.</param>
    public abstract void OnUse(ulong address, Access access, Pfn page, Pfn frame, uint stamp);

    /// <summary>A page walk reads an entry.</summary>
    /// <param name="address">The linear address that is translated.</param>
    /// <param name="level">Of the table, 0 to <see cref="PageTable.RootLevel"/>.</param>
    /// <param name="table">The table's frame.</param>
    /// <param name="stamp">What <see cref="Stamp"/> said of the table when the paging-structure cache learned of it; null when the walk came from above.</param>
    public abstract void OnWalk(ulong address, int level, Pfn table, uint? stamp);
}
