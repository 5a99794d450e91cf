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

    /// <summary>The vCPU is about to cache something that a walk has just read: a translation, or an entry that names a table.</summary>
    /// <returns>The stamp for it.</returns>
    public abstract uint OnFill(in CachedTranslation filled);

    /// <summary>A cached translation is used for an access.</summary>
    /// <param name="address">The linear address.</param>
    /// <param name="access">What for.</param>
    /// <param name="cached">The translation.</param>
    /// <param name="stamp">What <see cref="OnFill"/> said when it was cached.</param>
    public abstract void OnUse(ulong address, Access access, in CachedTranslation cached, uint stamp);

    /// <summary>A page walk reads an entry. The first step of a walk is one of the root level, or one with a stamp.</summary>
    /// <param name="address">The linear address that is translated.</param>
    /// <param name="level">Of the table, 0 to <see cref="PageTable.RootLevel"/>.</param>
    /// <param name="table">The table's frame.</param>
    /// <param name="stamp">What <see cref="OnFill"/> said of the entry that names the table, when the paging-structure cache learned of it; null when the walk came from above.</param>
    public abstract void OnWalk(ulong address, int level, Pfn table, uint? stamp);

    /// <summary>The vCPU has dropped what it had cached.</summary>
    /// <param name="address">For this page only; null: for all.</param>
    /// <param name="context">Of this PCID only, and global translations of the page; null: of all.</param>
    public abstract void OnFlush(ulong? address, ulong? context);
}
