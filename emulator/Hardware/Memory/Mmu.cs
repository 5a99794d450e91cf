using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Smp;

namespace Emulator.Hardware.Memory;

/// <summary>
/// A vCPU's memory accesses behind the TLB's fast front. A failed access leaves the fault in the state: vector 14 with error code and
/// CR2, <see cref="VcpuState.NonCanonical"/>, or <see cref="VcpuState.Retry"/> when a store has dropped decoded code and the instruction
/// must run again, from newly decoded code.
/// </summary>
/// <remarks>
/// Aligned accesses of up to 8 bytes, and of 16 where the host has an instruction for it, are one host access, and never cross a page.
/// Accesses that cross one are two, as on hardware; both pages are checked before anything is read or written.
/// </remarks>
public static unsafe class Mmu
{
    private const int PageFaultVector = 14;
    private const ulong PageMask = Pfn.Size - 1;

    /// <summary>Sets the control bits; the TLB is flushed as MOV to CR0 and CR4 do.</summary>
    public static void Configure(VcpuState* c, PagingControls controls)
    {
        if (controls.PhysicalAddressBits is < 36 or > 51)
            throw new ArgumentOutOfRangeException(nameof(controls), controls, "A physical address has 36 to 51 bits.");
        ref var t = ref c->Tlb;
        t.Reserved = (ulong)Pte.Frame & ~((1UL << controls.PhysicalAddressBits) - 1);
        if (!controls.NoExecute)
            t.Reserved |= (ulong)Pte.NoExecute;
        t.WriteProtect = controls.WriteProtect;
        t.NoExecute = controls.NoExecute;
        Tlb.FlushAll(c);
        PageWalker.ForgetAll(&c->Tlb);
    }

    /// <summary>
    /// Translates an access of up to <paramref name="size"/> bytes for reading.
    /// </summary>
    /// <returns>A host pointer, good to the end of the page; or to the bounce buffer with the bytes of both pages; or null.</returns>
    /// <param name="size">At most the size of <see cref="VcpuState.Bounce"/> if the access may cross a page.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static byte* ReadSlow(VcpuState* c, ulong address, int size)
    {
        if (c->AlignmentCheck != 0 && IsMisaligned(c, address, size))
            return null;
        if ((address & PageMask) + (uint)size > Pfn.Size)
            return ReadCrossing(c, address, size);
        var entry = Look(c, address, Access.Read, user: true);
        return entry is null ? null : Tlb.FillFront(c, address, *entry, forStore: false) + (address & PageMask);
    }

    /// <summary>
    /// Makes the front answer for an access of up to <paramref name="size"/> bytes, if the large front knows a first-level entry that allows it. False: the others
    /// know more, <see cref="FillForLoad"/> and <see cref="FillForStore"/>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool FillFromLarge(VcpuState* c, ulong address, int size, bool store)
    {
        if (!Tlb.FillFrontFromLarge(c, address, size, store))
            return false;
        c->Tlb.Counters[Counter.FrontMisses]++;
        return true;
    }

    /// <summary>
    /// Makes the front answer for a load of up to <paramref name="size"/> bytes. False with the fault recorded, or <see cref="VcpuState.Retry"/> when no entry
    /// of the front can answer: the access crosses a page, or each must come to the slow path (alignment check, witness).
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool FillForLoad(VcpuState* c, ulong address, int size)
    {
        if (!MayFill(c, address, size))
            return false;
        var entry = Look(c, address, Access.Read, user: true);
        if (entry is null)
            return false;
        Tlb.FillFront(c, address, *entry, forStore: false);
        return true;
    }

    /// <summary>As <see cref="FillForLoad"/>; no entry can answer a store to decoded code either.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool FillForStore(VcpuState* c, ulong address, int size)
    {
        if (!MayFill(c, address, size))
            return false;
        var entry = Look(c, address, Access.Write, user: true);
        if (entry is null)
            return false;
        Tlb.FillFront(c, address, *entry, forStore: true);
        if (Cpu.Access.StoreSlot(c, address)->Tag == (address & ~PageMask))
            return true;
        c->Vector = VcpuState.Retry;
        return false;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool MayFill(VcpuState* c, ulong address, int size)
    {
        if ((address & PageMask) + (uint)size <= Pfn.Size && ((nint)c->AlignmentCheck | c->Tlb.Witness) == 0)
            return true;
        c->Vector = VcpuState.Retry;
        return false;
    }

    /// <summary>Stores <paramref name="size"/> bytes.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool WriteSlow(VcpuState* c, ulong address, byte* data, int size)
    {
        var host = ModifySlow(c, address, size, load: false);
        if (host is null)
            return false;
        if (host == c->Bounce)
        {
            Unsafe.CopyBlockUnaligned(host, data, (uint)size);
            CommitModify(c, address, host, size);
            return true;
        }
        switch (size)
        {
            case 1:
                *host = *data;
                break;
            case 2:
                *(ushort*)host = *(ushort*)data;
                break;
            case 4:
                *(uint*)host = *(uint*)data;
                break;
            case 8:
                *(ulong*)host = *(ulong*)data;
                break;
            case 16:
                Vector128.Load(data).Store(host);
                break;
            default:
                Unsafe.CopyBlockUnaligned(host, data, (uint)size);
                break;
        }
        return true;
    }

    /// <summary>Translates for reading and writing. What comes back may be written until the instruction ends.</summary>
    /// <returns>As <see cref="ReadSlow"/>; <see cref="CommitModify"/> must follow.</returns>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static byte* ModifySlow(VcpuState* c, ulong address, int size) => ModifySlow(c, address, size, load: true);

    /// <summary>Ends what <see cref="ModifySlow"/> began: moves a page-crossing result from the bounce buffer to its two places.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void CommitModify(VcpuState* c, ulong address, byte* host, int size)
    {
        if (host != c->Bounce)
            return;
        uint first = (uint)(Pfn.Size - (address & PageMask));
        Unsafe.CopyBlockUnaligned(c->Tlb.BounceFirst, host, first);
        Unsafe.CopyBlockUnaligned(c->Tlb.BounceSecond, host + first, (uint)size - first);
    }

    /// <summary>Records #AC for an access that is not aligned to its data type (SDM vol. 3, table 6-7); 16 bytes need none, where they may be unaligned at all.</summary>
    private static bool IsMisaligned(VcpuState* c, ulong address, int size)
    {
        ulong alignment = size switch { 2 or 14 or 94 => 2, 4 or 28 or 108 => 4, 8 or 10 => 8, _ => 1 };
        // A non-canonical address is the more urgent fault.
        if ((address & (alignment - 1)) == 0 || !PageTable.IsCanonical(address))
            return false;
        c->Vector = Cpu.Vector.AlignmentCheck;
        c->ErrorCode = 0;
        return true;
    }

    /// <summary>Translates an instruction fetch.</summary>
    public static bool FetchTranslate(VcpuState* c, ulong rip, out Pfn frame)
    {
        frame = default;
        c->Tlb.Counters[Counter.Fetches]++;
        var entry = Look(c, rip, Access.Execute, user: true);
        if (entry is null)
            return false;
        *entry |= TlbEntry.Fetched;
        c->Tlb.FetchedSeen = true;
        frame = new Pfn(TlbEntry.Translate(*entry, rip) >> Pfn.Shift);
        return true;
    }

    /// <summary>Translates any access, a supervisor's too, through the TLB but not its front.</summary>
    /// <param name="physical">The physical address.</param>
    public static bool Translate(VcpuState* c, ulong address, Access access, bool user, out ulong physical)
    {
        var entry = Look(c, address, access, user);
        physical = entry is null ? 0 : TlbEntry.Translate(*entry, address);
        return entry is not null;
    }

    /// <summary>MOV to CR3 (SDM vol. 3, 4.10.4.1).</summary>
    /// <param name="pcid">12 bits.</param>
    /// <param name="noFlush">Bit 63: the PCID's entries stay.</param>
    public static void LoadCr3(VcpuState* c, Pfn root, ushort pcid, bool noFlush)
    {
        ref var t = ref c->Tlb;
        ulong context = pcid & (TlbArray.GlobalContext - 1);
        if (context != t.Context)
            Tlb.LeaveContext(c);
        t.Cr3 = root.Address;
        t.Context = context;
        t.Counters[noFlush ? Counter.LoadCr3NoFlush : Counter.FlushLoadCr3]++;
        if (noFlush)
            return;
        Tlb.FlushContext(c, context);
        PageWalker.ForgetContext(&c->Tlb, context);
        if (t.Witness != 0)
            ShowFlush(&c->Tlb, null, context);
    }

    /// <summary>INVLPG: the page in the current PCID or global, and the current PCID's paging-structure cache whatever the address.</summary>
    /// <returns>Whether the page was translated.</returns>
    public static bool InvalidatePage(VcpuState* c, ulong address)
    {
        ref var t = ref c->Tlb;
        t.Counters[Counter.FlushPage]++;
        bool dropped = DropPage(c, address);
        PageWalker.ForgetContext(&c->Tlb, t.Context);
        if (t.Witness != 0)
            ShowFlush(&c->Tlb, address, t.Context);
        return dropped;
    }

    /// <summary>INVPCID, types 0 to 3.</summary>
    public static void InvalidatePcid(VcpuState* c, InvpcidType type, ushort pcid, ulong address)
    {
        ulong context = pcid & (TlbArray.GlobalContext - 1);
        switch (type)
        {
            case InvpcidType.IndividualAddress:
                c->Tlb.Counters[Counter.FlushPageOfPcid]++;
                Tlb.FlushPage(c, address, context);
                PageWalker.Forget(&c->Tlb, address, context);
                if (c->Tlb.Witness != 0)
                    ShowFlush(&c->Tlb, address, context);
                break;
            case InvpcidType.SingleContext:
                c->Tlb.Counters[Counter.FlushContext]++;
                Tlb.FlushContext(c, context);
                PageWalker.ForgetContext(&c->Tlb, context);
                if (c->Tlb.Witness != 0)
                    ShowFlush(&c->Tlb, null, context);
                break;
            case InvpcidType.AllIncludingGlobals:
                FlushAll(c, includingGlobals: true);
                break;
            default:
                FlushAll(c, includingGlobals: false);
                break;
        }
    }

    /// <summary>INVPCID types 2 and 3, or what toggling CR4.PGE does: all PCIDs.</summary>
    public static void FlushAll(VcpuState* c, bool includingGlobals)
    {
        c->Tlb.Counters[includingGlobals ? Counter.FlushAll : Counter.FlushAllNonGlobal]++;
        if (includingGlobals)
            Tlb.FlushAll(c);
        else
            Tlb.FlushNonGlobal(c);
        PageWalker.ForgetAll(&c->Tlb);
        if (c->Tlb.Witness != 0)
            ShowFlush(&c->Tlb, null, null);
    }

    /// <summary>INVLPGB of another processor arrives: the page in a PCID, and all paging-structure caches. Not counted as something this one does.</summary>
    /// <returns>Whether the page was translated.</returns>
    public static bool Broadcast(VcpuState* c, ushort pcid, ulong address)
    {
        bool dropped = Tlb.FlushPage(c, address, pcid & (TlbArray.GlobalContext - 1));
        PageWalker.ForgetAll(&c->Tlb);
        return dropped;
    }

    /// <summary>INVLPGB without an address: everything but global entries.</summary>
    public static void Broadcast(VcpuState* c)
    {
        Tlb.FlushNonGlobal(c);
        PageWalker.ForgetAll(&c->Tlb);
    }

    /// <summary>Translations of a PCID that the TLB holds, each counted once, by whether their page touches [start, end); global ones are not counted.</summary>
    public static TranslationCount Count(VcpuState* c, ushort pcid, ulong start, ulong end) => Tlb.Count(&c->Tlb, pcid & (TlbArray.GlobalContext - 1), start, end);

    private static bool DropPage(VcpuState* c, ulong address)
        => Tlb.FlushPage(c, address, c->Tlb.Context) | Tlb.FlushPage(c, address, TlbArray.GlobalContext);

    /// <summary>The first-level entry that allows the access, after whatever fills that takes; null with the fault recorded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong* Look(VcpuState* c, ulong address, Access access, bool user)
    {
        var t = &c->Tlb;
        t->Counters[Counter.FrontMisses]++;
        Prefetch(t, address);
        ulong needed = TlbEntry.Needed(access, user, t->WriteProtect) | (access == Access.Write ? TlbEntry.Dirty : 0);
        var entry = Tlb.FindLevel1(t, address);
        // The TLB's tags have 48 bits: it would answer for an address whose upper bits are wrong.
        if (entry is not null && (*entry & needed) == needed && PageTable.IsCanonical(address))
        {
            if (t->Witness != 0)
                ShowUse(t, address, access, *entry);
            return entry;
        }
        return LookFurther(c, address, access, user, needed, entry is not null);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ulong* LookFurther(VcpuState* c, ulong address, Access access, bool user, ulong needed, bool found)
    {
        var t = &c->Tlb;
        if (!PageTable.IsCanonical(address))
        {
            c->Vector = VcpuState.NonCanonical;
            c->ErrorCode = 0;
            return null;
        }
        if (!found)
        {
            t->Counters[Counter.Level1Misses]++;
            var second = Tlb.FindLevel2(t, address);
            if (second is not null && (*second & needed) == needed)
            {
                if (t->Witness != 0)
                    ShowUse(t, address, access, *second);
                return TlbEntry.SizeClass(*second) == 0 ? Tlb.Promote(c, address, *second) : Tlb.FillLevel1(c, address, *second);
            }
            found = second is not null;
            if (!found)
            {
                t->Counters[Counter.Level2Misses]++;
                ulong data = PageWalker.WalkLeaf(t, address, needed);
                if (data != 0)
                {
                    NoteFrame(t, address, TlbEntry.Base(data));
                    return Tlb.Add(c, address, data);
                }
            }
        }
        return LookByWalk(c, address, access, user, found);
    }

    /// <param name="found">The TLB has an entry for the address; it does not allow the access.</param>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ulong* LookByWalk(VcpuState* c, ulong address, Access access, bool user, bool found)
    {
        var t = &c->Tlb;
        if (found)
            t->Counters[Counter.UpgradeWalks]++;
        ulong data = PageWalker.Walk(t, address, access, user, out var error);
        if (data == 0)
        {
            // A page fault invalidates what would translate its address (SDM vol. 3, 4.10.4.1).
            DropPage(c, address);
            PageWalker.Forget(t, address, t->Context);
            c->Vector = PageFaultVector;
            c->ErrorCode = (uint)error;
            c->FaultAddress = address;
            return null;
        }
        if (t->Witness != 0)
            data |= ShowFill(t, address, data);
        NoteFrame(t, address, TlbEntry.Translate(data, address));
        // What was there is replaced as a whole, with all that came from it: the walk may have found another frame.
        if (found)
            DropPage(c, address);
        Tlb.FillLevel2(c, address, data);
        return Tlb.FillLevel1(c, address, data);
    }

    /// <summary>
    /// Fills the TLB as a processor that looks ahead may do at any time: from present entries that are marked accessed already, and without
    /// a fault (SDM vol. 3, 4.10.2.3). Called on the vCPU's own thread.
    /// </summary>
    public static void FillSpeculatively(VcpuState* c, ulong address)
    {
        var t = &c->Tlb;
        if (!PageTable.IsCanonical(address) || Tlb.FindLevel1(t, address) is not null || Tlb.FindLevel2(t, address) is not null)
            return;
        ulong data = PageWalker.Peek(t, address);
        if (data == 0)
            return;
        if (t->Witness != 0)
            data |= ShowFill(t, address, data);
        Tlb.FillLevel2(c, address, data);
        Tlb.FillLevel1(c, address, data);
    }

    internal static TranslationWitness WitnessOf(TlbState* t) => (TranslationWitness)GCHandle.FromIntPtr(t->Witness).Target!;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void ShowUse(TlbState* t, ulong address, Access access, ulong data) =>
        WitnessOf(t).OnUse(address, access, CachedTranslation.OfPage(address, t->Context, data), TlbEntry.Stamp(data));

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static ulong ShowFill(TlbState* t, ulong address, ulong data) =>
        TlbEntry.OfStamp(WitnessOf(t).OnFill(CachedTranslation.OfPage(address, t->Context, data)));

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void ShowFlush(TlbState* t, ulong? address, ulong? context) => WitnessOf(t).OnFlush(address, context);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void NoteFrame(TlbState* t, ulong address, ulong physical) =>
        t->Hints[address >> Pfn.Shift & (TlbState.HintCount - 1)] = (uint)(physical >> Pfn.Shift);

    /// <summary>
    /// A miss here often means a cache miss too. The host fetches the line from where it probably is while the TLB is filled, and so early that
    /// the next miss begins before this one has ended. Nothing else depends on the guess.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(TlbState* t, ulong address)
    {
        if (Sse.IsSupported)
            Sse.Prefetch0(t->Memory + ((ulong)t->Hints[address >> Pfn.Shift & (TlbState.HintCount - 1)] << Pfn.Shift | (address & PageMask)));
    }

    /// <summary>Translates the two parts of an access that crosses a page; the second one's CR2 is the second page's first byte.</summary>
    private static bool LookCrossing(VcpuState* c, ulong address, Access access, out byte* first, out byte* second)
    {
        first = second = null;
        c->Tlb.Counters[Counter.CrossingAccesses]++;
        ulong next = (address | PageMask) + 1;
        if (!PageTable.IsCanonical(address) || !PageTable.IsCanonical(next))
        {
            c->Vector = VcpuState.NonCanonical;
            c->ErrorCode = 0;
            return false;
        }
        var entry = Look(c, address, access, user: true);
        if (entry is null)
            return false;
        first = c->Tlb.Memory + TlbEntry.Translate(*entry, address);
        entry = Look(c, next, access, user: true);
        if (entry is null)
            return false;
        second = c->Tlb.Memory + TlbEntry.Translate(*entry, next);
        return true;
    }

    private static byte* ReadCrossing(VcpuState* c, ulong address, int size)
    {
        if (!LookCrossing(c, address, Access.Read, out var first, out var second))
            return null;
        Gather(c, address, first, second, size);
        return c->Bounce;
    }

    private static byte* ModifySlow(VcpuState* c, ulong address, int size, bool load)
    {
        if (c->AlignmentCheck != 0 && IsMisaligned(c, address, size))
            return null;
        bool crossing = (address & PageMask) + (uint)size > Pfn.Size;
        // Frames whose code this very access has dropped.
        Pfn firstDropped = new(ulong.MaxValue), secondDropped = firstDropped;
        while (true)
        {
            byte* first, second;
            if (crossing)
            {
                if (!LookCrossing(c, address, Access.Write, out first, out second))
                    return null;
            }
            else
            {
                var entry = Look(c, address, Access.Write, user: true);
                if (entry is null)
                    return null;
                first = second = Tlb.FillFront(c, address, *entry, forStore: true) + (address & PageMask);
            }
            Pfn firstFrame = FrameOf(c, first), secondFrame = FrameOf(c, second);
            if ((firstFrame == firstDropped && secondFrame == secondDropped)
                || (CodeFrames.Expose(&c->Tlb, firstFrame) && (!crossing || CodeFrames.Expose(&c->Tlb, secondFrame))))
            {
                return crossing ? Bounce(c, address, first, second, size, load) : first;
            }
            var vcpu = Vcpu.Of(c);
            vcpu.Platform.CodeFrames.Invalidate(vcpu, firstFrame, secondFrame);
            // The block of this very instruction may be among what was dropped: unless it runs singly, from a scratch block, it starts anew.
            if (c->Single == 0)
            {
                c->Vector = VcpuState.Retry;
                return null;
            }
            // Dropping served interrupts, among them perhaps a flush: translate anew.
            (firstDropped, secondDropped) = (firstFrame, secondFrame);
        }
    }

    private static byte* Bounce(VcpuState* c, ulong address, byte* first, byte* second, int size, bool load)
    {
        c->Tlb.BounceFirst = first;
        c->Tlb.BounceSecond = second;
        c->Tlb.BounceSplit = (int)(Pfn.Size - (address & PageMask));
        (c->Tlb.BounceAddress, c->Tlb.BounceServed) = (address, c->Tlb.Served);
        if (load)
            Gather(c, address, first, second, size);
        return c->Bounce;
    }

    // In bounds: an access that crosses has its split below its size, and sizes are constants of handlers, at most 108 (FSAVE) of the buffer's 128 bytes.
    /// <summary>Fills the bounce buffer with the two parts of an access.</summary>
    private static void Gather(VcpuState* c, ulong address, byte* first, byte* second, int size)
    {
        uint split = (uint)(Pfn.Size - (address & PageMask));
        Unsafe.CopyBlockUnaligned(c->Bounce, first, split);
        Unsafe.CopyBlockUnaligned(c->Bounce + split, second, (uint)size - split);
    }

    private static Pfn FrameOf(VcpuState* c, byte* host) => new((ulong)(host - c->Tlb.Memory) >> Pfn.Shift);
}

/// <summary>The first operand of INVPCID.</summary>
public enum InvpcidType
{
    IndividualAddress,
    SingleContext,
    AllIncludingGlobals,
    AllExceptGlobals,
}
