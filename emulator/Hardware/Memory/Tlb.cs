using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Emulator.Hardware.Cpu;

namespace Emulator.Hardware.Memory;

/// <summary>
/// A vCPU's TLB: two levels, tagged by PCID, and the fast front. An entry lives until it is displaced by a fill or flushed, whatever
/// the tables say. The levels are filled together and evicted independently. The front is a subset of the first level and the jump
/// cache a subset of both together, and each loses what its source loses.
/// </summary>
internal static unsafe class Tlb
{
    // In bounds: Find gives slots of its own array, FrontOf masks, and every data word came from PageWalker, which refuses what lies outside memory.
    private static readonly TlbLevel PdeLevel = new(32, 4), PdpteLevel = new(16, 4), Pml4eLevel = new(4, 4);

    private const int LargeShift = 21;
    private const ulong LargeMask = ~((1UL << LargeShift) - 1);

    public static void Allocate(VcpuState* c, PhysicalMemory memory, TlbGeometry geometry)
    {
        ref var t = ref c->Tlb;
        var at = HostMemory.Reserve(Bytes(geometry));
        t.Storage = at;
        t.StorageBytes = Bytes(geometry);
        t.Level1 = TlbArray.Create(geometry.Level1, ref at);
        t.Level1Large = TlbArray.Create(geometry.Level1Large, ref at);
        t.Pde = TlbArray.Create(PdeLevel, ref at);
        t.Pdpte = TlbArray.Create(PdpteLevel, ref at);
        t.Pml4e = TlbArray.Create(Pml4eLevel, ref at);
        t.HasLevel2 = geometry.Level2 is not null;
        if (geometry.Level2 is { } second)
            t.Level2 = TlbArray.Create(second, ref at);
        t.Hints = (uint*)at;
        t.Memory = memory.Base;
        t.MemoryBytes = memory.Bytes;
        t.Code = memory.Code;
        t.Exposed = memory.Exposed;
        c->Front = (FrontEntry*)NativeMemory.AlignedAlloc(FrontEntry.Total * (nuint)sizeof(FrontEntry), 64);
        t.FrontSeen = true;
        ClearFront(c);
    }

    private static ulong Bytes(TlbGeometry geometry)
        => TlbArray.BytesFor(geometry.Level1) + TlbArray.BytesFor(geometry.Level1Large) + TlbArray.BytesFor(PdeLevel)
            + TlbArray.BytesFor(PdpteLevel) + TlbArray.BytesFor(Pml4eLevel) + (geometry.Level2 is { } second ? TlbArray.BytesFor(second) : 0)
            + TlbState.HintCount * sizeof(uint);

    public static void Release(VcpuState* c)
    {
        HostMemory.Release(c->Tlb.Storage, c->Tlb.StorageBytes);
        NativeMemory.AlignedFree(c->Front);
    }

    /// <summary>The first level's array for a size class.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ref TlbArray Level1(TlbState* t, int sizeClass)
    {
        if (sizeClass == 0)
            return ref t->Level1;
        return ref t->Level1Large;
    }

    /// <summary>The data word of the first-level entry for an address in the current context; null when there is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong* FindLevel1(TlbState* t, ulong address)
    {
        int slot = t->Level1.Find(address, 0, t->Context);
        if (slot >= 0)
            return (ulong*)Unsafe.AsPointer(ref t->Level1.DataAt(slot));
        return t->LargeSeen == 0 ? null : FindLarge(t, ref t->Level1Large, address);
    }

    /// <summary>As <see cref="FindLevel1"/>, for the second level.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong* FindLevel2(TlbState* t, ulong address)
    {
        if (!t->HasLevel2)
            return null;
        int slot = t->Level2.Find(address, 0, t->Context);
        if (slot >= 0)
            return (ulong*)Unsafe.AsPointer(ref t->Level2.DataAt(slot));
        return t->LargeSeen == 0 ? null : FindLarge(t, ref t->Level2, address);
    }

    private static ulong* FindLarge(TlbState* t, ref TlbArray array, ulong address)
    {
        for (int sizeClass = 1; sizeClass <= 2; sizeClass++)
        {
            int slot = (t->LargeSeen >> sizeClass & 1) != 0 ? array.Find(address, sizeClass, t->Context) : -1;
            if (slot >= 0)
                return (ulong*)Unsafe.AsPointer(ref array.DataAt(slot));
        }
        return null;
    }

    /// <summary>Enters a translation of a 4 KiB page, which the second level has and the first does not, in the first level.</summary>
    /// <returns>Its data word there.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong* Promote(VcpuState* c, ulong address, ulong data)
    {
        var t = &c->Tlb;
        int slot = t->Level1.Add(address, 0, t->Context, (data & TlbEntry.Global) != 0, data,
            out ulong replaced, out ulong replacedData, ref t->Counters[Counter.Level1Evictions]);
        if (replaced != 0)
            LeaveLevel1(c, replaced, replacedData);
        return (ulong*)Unsafe.AsPointer(ref t->Level1.DataAt(slot));
    }

    /// <summary>Enters a translation of a 4 KiB page that neither level has.</summary>
    /// <returns>Its data word in the first level.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong* Add(VcpuState* c, ulong address, ulong data)
    {
        var t = &c->Tlb;
        if (t->HasLevel2)
        {
            t->Level2.Add(address, 0, t->Context, (data & TlbEntry.Global) != 0, data,
                out ulong replaced, out ulong replacedData, ref t->Counters[Counter.Level2Evictions]);
            if ((replacedData & TlbEntry.Fetched) != 0 && replaced != 0)
                LoseFetched(c, ref Level1(t, TlbArray.SizeClass(replaced)), replaced);
        }
        return Promote(c, address, data);
    }

    /// <summary>Enters a translation in the first level.</summary>
    /// <returns>Its data word there.</returns>
    public static ulong* FillLevel1(VcpuState* c, ulong address, ulong data)
    {
        var t = &c->Tlb;
        int sizeClass = TlbEntry.SizeClass(data);
        if (sizeClass != 0)
            t->LargeSeen |= 1u << sizeClass;
        ref var array = ref Level1(t, sizeClass);
        int slot = array.Fill(address, sizeClass, t->Context, (data & TlbEntry.Global) != 0, data,
            out ulong replaced, out ulong replacedData, ref t->Counters[Counter.Level1Evictions]);
        if (replaced != 0)
            LeaveLevel1(c, replaced, replacedData);
        return (ulong*)Unsafe.AsPointer(ref array.DataAt(slot));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void LeaveLevel1(VcpuState* c, ulong tag, ulong data)
    {
        if (TlbArray.SizeClass(tag) == 0)
            DropFromFront(c, TlbArray.Address(tag));
        else
            DropLargeFromFront(c, tag);
        if ((data & TlbEntry.Fetched) != 0)
            LoseFetched(c, ref c->Tlb.Level2, tag);
    }

    /// <summary>Enters a translation in the second level.</summary>
    public static void FillLevel2(VcpuState* c, ulong address, ulong data)
    {
        var t = &c->Tlb;
        if (!t->HasLevel2)
            return;
        t->Level2.Fill(address, TlbEntry.SizeClass(data), t->Context, (data & TlbEntry.Global) != 0, data,
            out ulong replaced, out ulong replacedData, ref t->Counters[Counter.Level2Evictions]);
        if ((replacedData & TlbEntry.Fetched) != 0 && replaced != 0)
            LoseFetched(c, ref Level1(t, TlbArray.SizeClass(replaced)), replaced);
    }

    /// <summary>One level lost an entry through which code was fetched: the other carries the mark on, or the jump cache loses the page.</summary>
    private static void LoseFetched(VcpuState* c, ref TlbArray other, ulong tag)
    {
        int slot = other.Slots == 0 ? -1 : other.FindExact(tag);
        if (slot >= 0)
            other.DataAt(slot) |= TlbEntry.Fetched;
        else
            DropJumps(c, tag);
    }

    private static void DropJumps(VcpuState* c, ulong tag)
    {
        if (TlbArray.SizeClass(tag) == 0)
            JumpCache.FlushPage(c, TlbArray.Address(tag));
        else
            DropAllJumps(c);
    }

    private static void DropAllJumps(VcpuState* c)
    {
        if (!c->Tlb.FetchedSeen)
            return;
        JumpCache.FlushAll(c);
        c->Tlb.FetchedSeen = false;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void DropFromFront(VcpuState* c, ulong address)
    {
        var entry = FrontOf(c, address);
        DropIfInside(entry, address, Pfn.Size);
        DropIfInside(entry + FrontEntry.Count, address, Pfn.Size);
    }

    /// <summary>The entry for loads; that for stores is <see cref="FrontEntry.Count"/> further.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static FrontEntry* FrontOf(VcpuState* c, ulong address) => c->Front + (address >> Pfn.Shift & (FrontEntry.Count - 1));

    /// <summary>As <see cref="FrontOf"/>, of the large front.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static FrontEntry* LargeFrontOf(VcpuState* c, ulong address)
        => c->Front + (FrontEntry.LargeStart + (address >> LargeShift & (FrontEntry.LargeCount - 1)));

    /// <summary>Drops the front's entries that come from the entry of a large page.</summary>
    private static void DropLargeFromFront(VcpuState* c, ulong tag)
    {
        for (ulong i = 0; i < FrontEntry.Total; i++)
            DropIfInside(c->Front + i, TlbArray.Address(tag), 1UL << PageTable.Shift(TlbArray.SizeClass(tag)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void DropIfInside(FrontEntry* entry, ulong address, ulong size)
    {
        if (entry->Tag != FrontEntry.NoTag && entry->Tag - address < size)
            *entry = FrontEntry.Empty;
    }

    /// <summary>Empties the front; the TLB keeps its entries.</summary>
    public static void ClearFront(VcpuState* c)
    {
        if (!c->Tlb.FrontSeen)
            return;
        new Span<FrontEntry>(c->Front, FrontEntry.Total).Fill(FrontEntry.Empty);
        c->Tlb.FrontSeen = false;
    }

    /// <summary>Empties what depends on the current context, but no entries.</summary>
    public static void LeaveContext(VcpuState* c)
    {
        ClearFront(c);
        DropAllJumps(c);
    }

    /// <summary>Drops the entries of all sizes that translate an address for a PCID or, as <see cref="TlbArray.GlobalContext"/>, globally.</summary>
    /// <returns>Whether there was one.</returns>
    public static bool FlushPage(VcpuState* c, ulong address, ulong context)
    {
        var t = &c->Tlb;
        bool found = FlushPage(c, address, 0, context);
        for (int sizeClass = 1; t->LargeSeen >> sizeClass != 0; sizeClass++)
            found |= FlushPage(c, address, sizeClass, context);
        return found;
    }

    private static bool FlushPage(VcpuState* c, ulong address, int sizeClass, ulong context)
    {
        var t = &c->Tlb;
        ulong tag = TlbArray.Tag(address, sizeClass, context);
        ulong fetched = 0;
        int slot = t->HasLevel2 ? t->Level2.FindExact(tag) : -1;
        bool found = slot >= 0;
        if (found)
        {
            fetched = t->Level2.DataAt(slot) & TlbEntry.Fetched;
            t->Level2.Free(slot);
        }
        ref var first = ref Level1(t, sizeClass);
        slot = first.FindExact(tag);
        if (slot >= 0)
        {
            ulong data = first.DataAt(slot) | fetched;
            first.Free(slot);
            LeaveLevel1(c, tag, data);
            return true;
        }
        if (fetched != 0)
            DropJumps(c, tag);
        return found;
    }

    /// <summary>Drops the entries of one PCID; global ones stay.</summary>
    public static void FlushContext(VcpuState* c, ulong context)
    {
        var t = &c->Tlb;
        t->Level1.FreeContext(context);
        t->Level1Large.FreeContext(context);
        t->Level2.FreeContext(context);
        if (context == t->Context)
            LeaveContext(c);
    }

    public static void FlushNonGlobal(VcpuState* c)
    {
        var t = &c->Tlb;
        t->Level1.FreeNonGlobal();
        t->Level1Large.FreeNonGlobal();
        t->Level2.FreeNonGlobal();
        LeaveContext(c);
    }

    public static void FlushAll(VcpuState* c)
    {
        var t = &c->Tlb;
        t->Level1.Clear();
        t->Level1Large.Clear();
        t->Level2.Clear();
        t->LargeSeen = 0;
        LeaveContext(c);
    }

    /// <inheritdoc cref="Mmu.Count"/>
    public static TranslationCount Count(TlbState* t, ulong context, ulong start, ulong end)
    {
        TranslationCount count = default;
        Count(ref t->Level1, context, start, end, ref count);
        Count(ref t->Level1Large, context, start, end, ref count);
        // Levels are evicted independently: a translation of the second that the first has too was counted there.
        for (int slot = 0; slot < t->Level2.Slots; slot++)
        {
            ulong tag = t->Level2.TagAt(slot);
            if (t->Level2.IsOf(slot, context) && Level1(t, TlbArray.SizeClass(tag)).FindExact(tag) < 0)
                count.Add(TlbArray.Touches(tag, start, end));
        }
        return count;
    }

    private static void Count(ref TlbArray array, ulong context, ulong start, ulong end, ref TranslationCount count)
    {
        for (int slot = 0; slot < array.Slots; slot++)
        {
            if (array.IsOf(slot, context))
                count.Add(TlbArray.Touches(array.TagAt(slot), start, end));
        }
    }

    /// <summary>
    /// Makes the front answer for the 4 KiB around an address whose first-level entry a user access may use. Write permission needs a
    /// dirty page that holds no decoded code.
    /// </summary>
    /// <param name="forStore">A store asks: loads get nothing.</param>
    /// <returns>Host address of the page.</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* FillFront(VcpuState* c, ulong address, ulong data, bool forStore)
    {
        const ulong store = TlbEntry.Writable | TlbEntry.Dirty;
        ulong page = address & ~(Pfn.Size - 1);
        ulong physical = TlbEntry.Translate(data, page);
        var host = c->Tlb.Memory + physical;
        // Every access must then come to the slow path, which looks at its alignment, or shows it to the witness.
        if (((nint)c->AlignmentCheck | c->Tlb.Witness) != 0)
            return host;
        var entry = FrontOf(c, address);
        nint addend = (nint)host - (nint)page;
        // A store leaves the loads their entry: it may be for the page that is copied from.
        if (!forStore)
            *entry = new FrontEntry { Tag = page, Addend = addend };
        if ((data & store) == store && CodeFrames.Expose(&c->Tlb, new Pfn(physical >> Pfn.Shift)))
            entry[FrontEntry.Count] = new FrontEntry { Tag = page, Addend = addend };
        c->Tlb.FrontSeen = true;
        if (TlbEntry.SizeClass(data) != 0)
            FillLargeFront(c, address, addend, forLoads: !forStore, forStores: (data & store) == store);
        return host;
    }

    private static void FillLargeFront(VcpuState* c, ulong address, nint addend, bool forLoads, bool forStores)
    {
        var entry = LargeFrontOf(c, address);
        var large = new FrontEntry { Tag = address & LargeMask, Addend = addend };
        if (forLoads)
            *entry = large;
        if (forStores)
            entry[FrontEntry.LargeCount] = large;
    }

    /// <summary>
    /// Makes the front answer for an access as <see cref="FillFront"/> does, if the large front knows a first-level entry of a large page that allows it, and the access crosses
    /// no page. It knows none while accesses must come to the slow path.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool FillFrontFromLarge(VcpuState* c, ulong address, int size, bool forStore)
    {
        ulong tag = address & LargeMask;
        var large = LargeFrontOf(c, address);
        if (forStore)
            large += FrontEntry.LargeCount;
        if (large->Tag != tag)
            return false;
        nint addend = large->Addend;
        // Before the rest, so that the host's misses overlap: it looks ahead over a few of a guest's instructions only.
        if (Sse.IsSupported)
            Sse.Prefetch0((void*)(address + (ulong)addend));
        ulong page = address & ~(Pfn.Size - 1);
        if (address - page + (uint)size > Pfn.Size)
            return false;
        var entry = FrontOf(c, address);
        if (!forStore)
        {
            *entry = new FrontEntry { Tag = page, Addend = addend };
            large += FrontEntry.LargeCount;
            if (large->Tag != tag)
                return true;
            addend = large->Addend;
        }
        if (!CodeFrames.Expose(&c->Tlb, new Pfn((ulong)((nint)page + addend - (nint)c->Tlb.Memory) >> Pfn.Shift)))
            return !forStore;
        entry[FrontEntry.Count] = new FrontEntry { Tag = page, Addend = addend };
        return true;
    }

    /// <summary>Takes the front's write permission for a frame away, under whatever addresses it is mapped.</summary>
    public static void RevokeWrite(VcpuState* c, Pfn frame)
    {
        var host = (nint)(c->Tlb.Memory + frame.Address);
        for (ulong i = FrontEntry.Count; i < 2 * FrontEntry.Count; i++)
        {
            var entry = c->Front + i;
            if (entry->Tag != FrontEntry.NoTag && (nint)entry->Tag + entry->Addend == host)
                entry->Tag = FrontEntry.NoTag;
        }
    }
}
