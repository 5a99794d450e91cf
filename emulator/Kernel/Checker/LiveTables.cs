using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Checker;

/// <summary>Reads page tables as a processor would, without a lock and without leaving a trace, to compare them with what is cached.</summary>
/// <remarks>In bounds: an entry's frame is compared with those there are before it is taken for a table, and indices have 9 bits.</remarks>
internal static unsafe class LiveTables
{
    /// <summary>All that a translation can grant. <see cref="Pte.NoExecute"/> stands for the right to execute.</summary>
    public const Pte AllRights = Pte.Writable | Pte.User | Pte.Dirty | Pte.NoExecute;

    /// <summary>Whether the tables say the same as a cached translation, with no fewer rights of those asked about.</summary>
    /// <param name="memory">Where the tables are.</param>
    /// <param name="root">The root table.</param>
    /// <param name="cached">A translation, or an entry that names a table.</param>
    /// <param name="asked">The rights that matter.</param>
    /// <param name="entry">The entry at which the comparison ended.</param>
    public static bool Agree(PhysicalMemory memory, Pfn root, in CachedTranslation cached, Pte asked, out ulong entry)
    {
        Pfn table = root;
        Pte rights = Pte.Writable | Pte.User, noExecute = Pte.None;
        for (int level = PageTable.RootLevel; ; level--)
        {
            entry = Volatile.Read(ref ((ulong*)memory.Pointer(table))[PageTable.Index(cached.Address, level)]);
            if ((entry & (ulong)Pte.Present) == 0)
                return false;
            rights &= (Pte)entry;
            noExecute |= (Pte)entry & Pte.NoExecute;
            table = PageTables.FrameOf(entry);
            // Whoever reads without a lock may read anything.
            if (table.Value >= memory.FrameCount)
                return false;
            bool leaf = level == 0 || (entry & (ulong)Pte.PageSize) != 0;
            if (cached.IsTable && level == cached.Level)
                return !leaf && table == cached.Frame;
            if (!leaf)
                continue;
            if (cached.IsTable || level < cached.Level)
                return false;
            ulong inside = (cached.Address & ((1UL << PageTable.Shift(level)) - 1)) >> Pfn.Shift;
            Pte granted = rights | ((Pte)entry & Pte.Dirty);
            return table.Value + inside == cached.Frame.Value && (cached.Rights & asked & ~Pte.NoExecute & ~granted) == 0
                && ((asked & noExecute & ~cached.Rights & Pte.NoExecute) == 0);
        }
    }
}
