using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Emulator.Hardware.Memory;

namespace Emulator.Hardware.Cpu;

/// <summary>How a memory operand's linear address is computed; the commonest forms have types of their own.</summary>
internal unsafe interface IAddress
{
    /// <summary>
    /// Handlers for this form look at the TLB's front alone and leave the rest to <see cref="Chain.Missed"/>. Without a call in their middle they save no registers.
    /// </summary>
    static abstract bool IsQuick { get; }
    static abstract ulong Of(VcpuState* c, Op* op);
}

internal readonly unsafe struct BaseAddress : IAddress
{
    public static bool IsQuick => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Of(VcpuState* c, Op* op) => Reg.Read<ulong>(c, op->Base) + (ulong)op->Disp;
}

internal readonly unsafe struct IndexAddress : IAddress
{
    public static bool IsQuick => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Of(VcpuState* c, Op* op)
        => Reg.Read<ulong>(c, op->Base) + (Reg.Read<ulong>(c, op->Index) << op->Scale) + (ulong)op->Disp;
}

/// <summary>Any form: FS or GS base, 32-bit address size, more than 2 GiB from the block's first byte.</summary>
internal readonly unsafe struct AnyAddress : IAddress
{
    public static bool IsQuick => false;

    /// <summary>Mark in <see cref="Op.Scale"/>: the effective address is cut to 32 bits before the segment base is added.</summary>
    public const byte Address32 = 0x80;

    /// <summary>Mark in <see cref="Op.Scale"/>: the displacement counts from the next instruction. From the block's first byte it can need more than 32 bits.</summary>
    public const byte FromNext = 0x40;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Of(VcpuState* c, Op* op) => Effective(c, op) + Reg.Read<ulong>(c, op->Seg);

    /// <summary>The effective address, without the segment base: what LEA gives.</summary>
    public static ulong Effective(VcpuState* c, Op* op)
    {
        ulong address = Reg.Read<ulong>(c, op->Base) + (Reg.Read<ulong>(c, op->Index) << (op->Scale & 3)) + (ulong)op->Disp;
        if ((op->Scale & (Address32 | FromNext)) == 0)
            return address;
        return (op->Scale & FromNext) != 0 ? address + op->Offset + op->Length : (uint)address;
    }
}

// In bounds: an offset is one byte, and VcpuRegisters is longer than 255 bytes and an operand.
/// <summary>General registers by byte offset. A 32-bit write clears the upper half, as SDM vol. 1, 3.4.1.1 says.</summary>
internal static unsafe class Reg
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Read<T>(VcpuState* c, byte offset) where T : unmanaged => *(T*)((byte*)c + (nuint)offset);

    /// <summary>Writes the lower <paramref name="size"/> bytes of a <see cref="Wide"/> number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write(VcpuState* c, byte offset, ulong value, int size)
    {
        if (size == 8)
            *(ulong*)((byte*)c + (nuint)offset) = value;
        else if (size == 4)
            *(ulong*)((byte*)c + (nuint)offset) = (uint)value;
        else if (size == 2)
            *(ushort*)((byte*)c + (nuint)offset) = (ushort)value;
        else
            *((byte*)c + (nuint)offset) = (byte)value;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write<T>(VcpuState* c, byte offset, T value) where T : unmanaged
    {
        if (sizeof(T) == 4)
            *(ulong*)((byte*)c + (nuint)offset) = Unsafe.BitCast<T, uint>(value);
        else
            *(T*)((byte*)c + (nuint)offset) = value;
    }
}

/// <summary>
/// Where an operation reads an operand. Its <see cref="Place"/> is a linear address or the host's; if it <see cref="IsThere"/>, <see cref="At"/> points to the operand,
/// otherwise the handler ends with <see cref="Missed"/>, having changed nothing. One member that gave a pointer or null would cost handlers two branches.
/// </summary>
/// <remarks>
/// The pointer's type is the caller's business, and no member has a body here: the ahead-of-time compiler leaves calls of such members to the JIT.
/// In bounds for the size asked for, which is that of the type it is read as: in the state, the operation, a page of guest memory or the bounce buffer. It is read at once: the next
/// access may use the buffer, or serve an interrupt that takes the page away.
/// </remarks>
internal unsafe interface ISource
{
    static abstract bool Faults { get; }
    static abstract ulong Place(VcpuState* c, Op* op, int size);
    static abstract bool IsThere(VcpuState* c, ulong place, int size);
    static abstract void* At(VcpuState* c, ulong place);
    static abstract nint Missed(VcpuState* c, Op* op, int size);
}

internal readonly unsafe struct SourceRegister : ISource
{
    public static bool Faults => false;
    public static nint Missed(VcpuState* c, Op* op, int size) => Chain.Fault(c, op);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Place(VcpuState* c, Op* op, int size) => (ulong)((byte*)c + (nuint)op->Src);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsThere(VcpuState* c, ulong place, int size) => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* At(VcpuState* c, ulong place) => (void*)place;
}

internal readonly unsafe struct DestinationRegister : ISource
{
    public static bool Faults => false;
    public static nint Missed(VcpuState* c, Op* op, int size) => Chain.Fault(c, op);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Place(VcpuState* c, Op* op, int size) => (ulong)((byte*)c + (nuint)op->Dst);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsThere(VcpuState* c, ulong place, int size) => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* At(VcpuState* c, ulong place) => (void*)place;
}

internal readonly unsafe struct Immediate : ISource
{
    public static bool Faults => false;
    public static nint Missed(VcpuState* c, Op* op, int size) => Chain.Fault(c, op);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Place(VcpuState* c, Op* op, int size) => (ulong)(&op->Imm);
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsThere(VcpuState* c, ulong place, int size) => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* At(VcpuState* c, ulong place) => (void*)place;
}

internal readonly unsafe struct Memory<TAddress> : ISource where TAddress : struct, IAddress
{
    public static bool Faults => true;
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Place(VcpuState* c, Op* op, int size) => TAddress.IsQuick ? TAddress.Of(c, op) : (ulong)Access.Read(c, TAddress.Of(c, op), size);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsThere(VcpuState* c, ulong place, int size) => TAddress.IsQuick ? Access.CanLoad(c, place, size) : place != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* At(VcpuState* c, ulong place) => TAddress.IsQuick ? Access.Loadable(c, place) : (void*)place;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static nint Missed(VcpuState* c, Op* op, int size)
        => TAddress.IsQuick ? Chain.Missed(c, op, size, store: false, aligned: false) : Chain.Fault(c, op);
}

/// <summary>
/// Guest memory through the TLB's front, inlined into handlers; misses go to <see cref="Mmu"/>. A guest relies on x86-TSO: no access passes an earlier one but a load
/// an older store (SDM vol. 3, 9.2.2). x86 hosts keep that by themselves; on others a fence before each access does, and the JIT drops it here.
/// </summary>
internal static unsafe class Access
{
    // In bounds: the slot is masked; only Tlb.FillFront sets tags, each in the slot of its own page, so a tag equal to the last byte's page is the first byte's page
    // too, and its addend leads to a frame that PageWalker found inside memory. Sizes are of types, never a guest's numbers.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FrontEntry* LoadSlot(VcpuState* c, ulong address)
    {
        // The page's number and the size of an entry in one shift.
        return (FrontEntry*)((byte*)c->Front + ((address >> (12 - FrontEntry.SizeShift)) & ((FrontEntry.Count - 1) << FrontEntry.SizeShift)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FrontEntry* StoreSlot(VcpuState* c, ulong address) => LoadSlot(c, address) + FrontEntry.Count;

    /// <summary>Whether the front answers a load.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool CanLoad(VcpuState* c, ulong address, int size)
    {
        Order();
        return LoadSlot(c, address)->Tag == ((address + (ulong)(size - 1)) & ~0xFFFUL);
    }

    /// <summary>As <see cref="CanLoad"/>, of 16 bytes that must be aligned: the compare keeps the low four bits of the address, so that a misaligned one misses.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool CanLoadAligned(VcpuState* c, ulong address)
    {
        Order();
        return LoadSlot(c, address)->Tag == (address & ~0xFF0UL);
    }

    /// <summary>The host's address of what the front answers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* Loadable(VcpuState* c, ulong address) => (void*)(address + (ulong)LoadSlot(c, address)->Addend);

    /// <summary>A host pointer from which the operand can be read, or null with the fault recorded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T* Read<T>(VcpuState* c, ulong address) where T : unmanaged => (T*)Read(c, address, sizeof(T));

    /// <inheritdoc cref="Read{T}"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void* Read(VcpuState* c, ulong address, int size)
    {
        Order();
        FrontEntry* entry = LoadSlot(c, address);
        return entry->Tag == ((address + (ulong)(size - 1)) & ~0xFFFUL)
            ? (void*)(address + (ulong)entry->Addend)
            : Mmu.ReadSlow(c, address, size);
    }

    /// <summary>Stores the value; false with nothing written when the front does not answer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Poke<T>(VcpuState* c, ulong address, T value) where T : unmanaged
    {
        Order();
        FrontEntry* entry = StoreSlot(c, address);
        if (entry->Tag != ((address + (ulong)(sizeof(T) - 1)) & ~0xFFFUL))
            return false;
        *(T*)(address + (ulong)entry->Addend) = value;
        return true;
    }

    /// <summary>Stores the value; false with the fault recorded and nothing written.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Write<T>(VcpuState* c, ulong address, T value) where T : unmanaged
    {
        Order();
        FrontEntry* entry = StoreSlot(c, address);
        if (entry->Tag != ((address + (ulong)(sizeof(T) - 1)) & ~0xFFFUL))
            return WriteSlow(c, address, value);
        *(T*)(address + (ulong)entry->Addend) = value;
        return true;
    }

    /// <summary>A host pointer to read and write the operand, or null; <see cref="Commit{T}"/> ends the access.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T* Modify<T>(VcpuState* c, ulong address) where T : unmanaged
    {
        Order();
        FrontEntry* entry = StoreSlot(c, address);
        return entry->Tag == ((address + (ulong)(sizeof(T) - 1)) & ~0xFFFUL)
            ? (T*)(address + (ulong)entry->Addend)
            : (T*)Mmu.ModifySlow(c, address, sizeof(T));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Commit<T>(VcpuState* c, ulong address, T* pointer) where T : unmanaged
    {
        if ((byte*)pointer == c->Bounce)
            Mmu.CommitModify(c, address, (byte*)pointer, sizeof(T));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Order()
    {
        if (!X86Base.IsSupported)
            Interlocked.MemoryBarrier();
    }

    // Apart, because a local whose address is taken would forbid the caller's tail call.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool WriteSlow<T>(VcpuState* c, ulong address, T value) where T : unmanaged
        => Mmu.WriteSlow(c, address, (byte*)&value, sizeof(T));
}
