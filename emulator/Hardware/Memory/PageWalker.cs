using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Memory;

/// <summary>
/// Reads the paging structures in guest memory (SDM vol. 3, 4.5 to 4.8). Accessed flags are set in each entry when it is used; the
/// leaf's, and the dirty flag, only when the access is allowed.
/// </summary>
internal static unsafe class PageWalker
{
    // In bounds: CR3 is the kernel's, every other table or page has passed OutsideMemory before it is followed or remembered, and an index has 9 bits.
    /// <summary>In a PML4E, bit 7 is reserved: there are no 512-GiB pages.</summary>
    private const ulong RootReserved = (ulong)Pte.PageSize;

    /// <summary>Translates one address; the paging-structure cache shortens the walk and learns from it.</summary>
    /// <returns>The data of the TLB entry to fill, or 0 with the fault in <paramref name="error"/>.</returns>
    public static ulong Walk(TlbState* t, ulong address, Access access, bool user, out PageFaultError error)
    {
        t->Counters[Counter.Walks]++;
        ulong needed = TlbEntry.Needed(access, user, t->WriteProtect);
        while (true)
        {
            int level = Start(t, address, out ulong table, out ulong rights, out uint? stamp);
            while (true)
            {
                if (t->Witness != 0)
                    ShowWalk(t, address, level, table, stamp);
                stamp = null;
                var slot = (ulong*)(t->Memory + table) + PageTable.Index(address, level);
                ulong entry = Volatile.Read(ref *slot);
                t->Counters[Counter.WalkReferences]++;
                if ((entry & (ulong)Pte.Present) == 0)
                    return Fault(t, access, user, PageFaultError.None, out error);
                bool leaf = IsLeaf(entry, level);
                if ((entry & ReservedBits(t, level, leaf)) != 0 || OutsideMemory(t, entry, leaf ? level : 0))
                    return Fault(t, access, user, PageFaultError.Protection | PageFaultError.ReservedBit, out error);
                rights &= TlbEntry.Granted(entry);
                if (leaf && (rights & needed) != needed)
                    return Fault(t, access, user, PageFaultError.Protection, out error);

                ulong flags = (ulong)Pte.Accessed | (leaf && access == Access.Write ? (ulong)Pte.Dirty : 0);
                // An entry that changed since it was read would be marked in vain, or wrongly: walk again.
                if ((entry & flags) != flags && !SetFlags(t, slot, entry, flags))
                    break;
                if (leaf)
                {
                    error = PageFaultError.None;
                    return FrameAddress(entry, level) | rights | TlbEntry.OfSizeClass(level)
                        | ((entry | flags) & (TlbEntry.Dirty | TlbEntry.Global));
                }
                table = entry & (ulong)Pte.Frame;
                Remember(t, address, level, table | rights | StampOf(t, address, level, table));
                level--;
            }
        }
    }

    /// <summary>
    /// <see cref="Walk"/> in the commonest case, without a loop: the paging-structure cache knows the page table, and its entry allows the access and has its
    /// flags set. In all others 0, and nothing has happened.
    /// </summary>
    /// <param name="needed">Rights, and <see cref="TlbEntry.Dirty"/> for a store.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong WalkLeaf(TlbState* t, ulong address, ulong needed)
    {
        int slot = t->Pde.Find(address, 1, t->Context);
        if (slot < 0 || t->Witness != 0)
            return 0;
        const ulong used = (ulong)(Pte.Present | Pte.Accessed);
        ulong table = t->Pde.DataAt(slot);
        ulong entry = Volatile.Read(ref *((ulong*)(t->Memory + TlbEntry.Base(table)) + PageTable.Index(address, 0)));
        ulong data = FrameAddress(entry, 0) | (table & TlbEntry.Granted(entry)) | (entry & (TlbEntry.Dirty | TlbEntry.Global));
        if ((entry & used) != used || (entry & t->Reserved) != 0 || (data & needed) != needed || OutsideMemory(t, entry, 0))
            return 0;
        t->Counters[Counter.Walks]++;
        t->Counters[Counter.WalkReferences]++;
        t->Counters[Counter.StructureCacheHitsPde]++;
        return data;
    }

    /// <summary>
    /// The data of the TLB entry that a walk would give for a user's read, if it had to set no flag and met no fault; else 0. As any walk it
    /// begins where the paging-structure cache knows a table, true or not.
    /// </summary>
    public static ulong Peek(TlbState* t, ulong address)
    {
        const ulong used = (ulong)(Pte.Present | Pte.Accessed);
        ulong needed = TlbEntry.Needed(Access.Read, user: true, t->WriteProtect);
        for (int level = Start(t, address, out ulong table, out ulong rights, out uint? stamp); ; level--, stamp = null)
        {
            if (t->Witness != 0)
                ShowWalk(t, address, level, table, stamp);
            ulong entry = Volatile.Read(ref *((ulong*)(t->Memory + table) + PageTable.Index(address, level)));
            bool leaf = IsLeaf(entry, level);
            if ((entry & used) != used || (entry & ReservedBits(t, level, leaf)) != 0 || OutsideMemory(t, entry, leaf ? level : 0))
                return 0;
            rights &= TlbEntry.Granted(entry);
            if ((rights & needed) != needed)
                return 0;
            if (leaf)
                return FrameAddress(entry, level) | rights | TlbEntry.OfSizeClass(level) | (entry & (TlbEntry.Dirty | TlbEntry.Global));
            table = entry & (ulong)Pte.Frame;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void ShowWalk(TlbState* t, ulong address, int level, ulong table, uint? stamp) =>
        Mmu.WitnessOf(t).OnWalk(address, level, new Pfn(table >> Pfn.Shift), stamp);

    private static ulong StampOf(TlbState* t, ulong address, int level, ulong table) => t->Witness == 0 ? 0
        : TlbEntry.OfStamp(Mmu.WitnessOf(t).OnFill(new CachedTranslation(t->Context, address & ~((1UL << PageTable.Shift(level)) - 1), level, IsTable: true,
            new Pfn(table >> Pfn.Shift), Pte.None, Global: false)));

    private static bool IsLeaf(ulong entry, int level)
        => level == 0 || (level < PageTable.RootLevel && (entry & (ulong)Pte.PageSize) != 0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong FrameAddress(ulong entry, int level) => entry & (ulong)Pte.Frame & ~((1UL << PageTable.Shift(level)) - 1);

    private static ulong ReservedBits(TlbState* t, int level, bool leaf)
    {
        ulong reserved = t->Reserved;
        if (level == PageTable.RootLevel)
            reserved |= RootReserved;
        else if (leaf && level > 0)
            reserved |= ((1UL << PageTable.Shift(level)) - 1) & (ulong)Pte.Frame & ~(ulong)Pte.PatLarge;
        return reserved;
    }

    /// <summary>Where nothing answers, hardware reads all ones, which have reserved bits set; treated as if the entry had them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool OutsideMemory(TlbState* t, ulong entry, int level)
    {
        ulong address = FrameAddress(entry, level), size = 1UL << PageTable.Shift(level);
        return address >= t->MemoryBytes || size > t->MemoryBytes - address;
    }

    private static bool SetFlags(TlbState* t, ulong* slot, ulong entry, ulong flags)
    {
        if (Interlocked.CompareExchange(ref *slot, entry | flags, entry) != entry)
            return false;
        ulong added = flags & ~entry;
        if ((added & (ulong)Pte.Accessed) != 0)
            t->Counters[Counter.AccessedSet]++;
        if ((added & (ulong)Pte.Dirty) != 0)
            t->Counters[Counter.DirtySet]++;
        return true;
    }

    private static ulong Fault(TlbState* t, Access access, bool user, PageFaultError cause, out PageFaultError error)
    {
        error = cause | (user ? PageFaultError.User : PageFaultError.None) | access switch
        {
            Access.Write => PageFaultError.Write,
            // The bit tells of a fetch only when fetches can be forbidden (SDM vol. 3, 4.7).
            Access.Execute when t->NoExecute => PageFaultError.InstructionFetch,
            _ => PageFaultError.None,
        };
        t->Counters[Counter.PageFaults]++;
        return 0;
    }

    /// <summary>The lowest table that the paging-structure cache knows for the address, with the rights of the levels above it.</summary>
    private static int Start(TlbState* t, ulong address, out ulong table, out ulong rights, out uint? stamp)
    {
        int level = 0;
        if (!Recall(t, ref t->Pde, address, 1, Counter.StructureCacheHitsPde, out ulong data))
        {
            level = 1;
            if (!Recall(t, ref t->Pdpte, address, 2, Counter.StructureCacheHitsPdpte, out data))
            {
                level = 2;
                if (!Recall(t, ref t->Pml4e, address, 3, Counter.StructureCacheHitsPml4e, out data))
                {
                    level = PageTable.RootLevel;
                    data = t->Cr3 | TlbEntry.Rights;
                }
            }
        }
        stamp = level == PageTable.RootLevel ? null : TlbEntry.Stamp(data);
        table = TlbEntry.Base(data);
        rights = data & TlbEntry.Rights;
        return level;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Recall(TlbState* t, ref TlbArray cache, ulong address, int level, Counter hits, out ulong data)
    {
        int slot = cache.Find(address, level, t->Context);
        data = slot < 0 ? 0 : cache.DataAt(slot);
        if (slot >= 0)
            t->Counters[hits]++;
        return slot >= 0;
    }

    private static void Remember(TlbState* t, ulong address, int level, ulong data)
    {
        ref var cache = ref CacheOf(t, level);
        ulong ignored = 0;
        cache.Fill(address, level, t->Context, global: false, data, out _, out _, ref ignored);
    }

    /// <summary>The paging-structure cache of entries at a level, 1 to 3.</summary>
    private static ref TlbArray CacheOf(TlbState* t, int level)
    {
        if (level == 1)
            return ref t->Pde;
        if (level == 2)
            return ref t->Pdpte;
        return ref t->Pml4e;
    }

    /// <summary>Drops what would be used to walk to the address.</summary>
    public static void Forget(TlbState* t, ulong address, ulong context)
    {
        for (int level = 1; level <= PageTable.RootLevel; level++)
        {
            ref var cache = ref CacheOf(t, level);
            int slot = cache.Find(address, level, context);
            if (slot >= 0)
                cache.Free(slot);
        }
    }

    /// <summary>Drops everything of one PCID.</summary>
    public static void ForgetContext(TlbState* t, ulong context)
    {
        for (int level = 1; level <= PageTable.RootLevel; level++)
            CacheOf(t, level).FreeContext(context);
    }

    public static void ForgetAll(TlbState* t)
    {
        for (int level = 1; level <= PageTable.RootLevel; level++)
            CacheOf(t, level).Clear();
    }
}
