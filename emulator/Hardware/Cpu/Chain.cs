using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// How handlers end. Each ends in a tail call of the next one, so a block runs without a loop; a handler therefore has no local whose address is
/// taken, nor inlines a method that has one (such slow paths are NoInlining; a NoInlining method in turn never makes a tail call itself).
/// </summary>
/// <remarks>
/// A handler is compiled optimised at once, for tier-0 code would not make the tail call and overflow the stack. The build's settings see to that (no tiers, or none that is quick),
/// not AggressiveOptimization, which keeps the ahead-of-time compiler away as well.
/// </remarks>
internal static unsafe class Chain
{
    // In bounds: every operation but a block's last has a next one, and the last does not enter it (Binding.EndsBlock); one that counts more than one instruction has a previous one.
    // A link is a block of the same frame, put there by Interpreter.Find and retired together with the branch.
    /// <summary>What handlers are marked with: no option.</summary>
    public const MethodImplOptions Hot = 0;

    /// <summary>Goes to a block in the same page through the operation's link, or looks the target up.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static nint Branch(VcpuState* c, Op* op)
    {
        c->Accesses = c->Accesses + op->Accesses;
        long budget = c->Budget - op->Count;
        c->Budget = budget;
        Op* target = (Op*)op->Imm;
        if ((budget | c->Attention) < 0 || target == null)
            return BranchSlow(c, op);
        c->Registers.BlockRip = c->Registers.BlockRip + (ulong)op->Disp;
        return target->Fn(c, target);
    }

    [MethodImpl(Hot)]
    private static nint BranchSlow(VcpuState* c, Op* op)
    {
        // Counted from the next instruction, as it was encoded: a distance from the block's first byte that needs more than 32 bits has lost the rest.
        int next = op->Offset + op->Length;
        ulong rip = c->Registers.BlockRip + (ulong)next + (ulong)(op->Disp - next);
        if (!Integer.Branches.IsCanonical(rip))
            return BadTarget(c, op);
        if ((c->Budget | c->Attention) < 0)
            return Leave(c, rip, HandlerExit.Attention);
        JumpCacheEntry* entry = JumpCache.Slot(c, rip);
        // A target in this page that is known already is looked up all the same, to be linked: the branch would come here for ever.
        if (entry->Rip != rip || (rip ^ c->Registers.BlockRip) < Memory.Pfn.Size)
        {
            c->LinkFrom = op;
            return Leave(c, rip, HandlerExit.Lookup);
        }
        c->Registers.BlockRip = rip;
        Op* target = entry->Target;
        return target->Fn(c, target);
    }

    /// <summary>#GP of the branch itself, which <see cref="Branch"/> has counted already; CALL's store stays, its RSP does not.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static nint BadTarget(VcpuState* c, Op* op)
    {
        c->Registers.Gpr[VcpuRegisters.Rsp] += op->Aux;
        c->Budget++;
        c->Vector = Cpu.Vector.GeneralProtection;
        c->ErrorCode = 0;
        c->Unsupported = Unsupported.No;
        return Leave(c, c->Registers.BlockRip + op->Offset, HandlerExit.Exception);
    }

    /// <summary>Goes to any address: returns, indirect jumps and calls.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static nint Jump(VcpuState* c, Op* op, ulong rip)
    {
        c->Accesses = c->Accesses + op->Accesses;
        long budget = c->Budget - op->Count;
        c->Budget = budget;
        JumpCacheEntry* entry = JumpCache.Slot(c, rip);
        long pressing = budget | c->Attention;
        if (pressing < 0 || entry->Rip != rip)
            return Leave(c, rip, pressing < 0 ? HandlerExit.Attention : HandlerExit.Lookup);
        c->Registers.BlockRip = rip;
        Op* target = entry->Target;
        return target->Fn(c, target);
    }

    /// <summary>Ends the block after this instruction and leaves the chain, with RIP at the next instruction.</summary>
    public static nint Exit(VcpuState* c, Op* op, HandlerExit why) => ExitTo(c, op, c->Registers.BlockRip + op->Offset + op->Length, why);

    /// <summary>Ends the block after this instruction and leaves the chain for any address.</summary>
    public static nint ExitTo(VcpuState* c, Op* op, ulong rip, HandlerExit why)
    {
        c->Accesses += op->Accesses;
        c->Budget -= op->Count;
        return Leave(c, rip, why);
    }

    /// <summary>Ends the block in the middle of this instruction, to be resumed: a long REP string gives way to an interrupt.</summary>
    public static nint Interrupted(VcpuState* c, Op* op)
    {
        Retired(c, op);
        return Leave(c, c->Registers.BlockRip + op->Offset, HandlerExit.Attention);
    }

    /// <summary>
    /// The front does not answer an operation of a quick form (<see cref="IAddress.IsQuick"/>): fills it and runs the operation again. What no entry of the front can
    /// answer, as an access that crosses a page, comes back as <see cref="VcpuState.Retry"/>: the instruction then runs alone, bound to a handler of the complete form.
    /// </summary>
    /// <param name="size">Bytes of the memory operand.</param>
    /// <param name="aligned">It must be aligned to 16 bytes; the linear address is checked for that before it is translated.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static nint Missed(VcpuState* c, Op* op, int size, bool store, bool aligned) => c->Refill(c, op, size, store, aligned);

    /// <summary>What <see cref="VcpuState.Refill"/> points to: asks the large front, without a call.</summary>
    [MethodImpl(Hot)]
    internal static nint Refill(VcpuState* c, Op* op, int size, bool store, bool aligned)
    {
        // The one form serves both: without an index the operation names a register that is zero.
        ulong address = IndexAddress.Of(c, op);
        return (!aligned || (address & 15) == 0) && Memory.Mmu.FillFromLarge(c, address, size, store) ? op->Fn(c, op) : c->RefillSlowly(c, op, size, store, aligned);
    }

    /// <summary>What <see cref="VcpuState.RefillSlowly"/> points to: asks the TLB.</summary>
    [MethodImpl(Hot)]
    internal static nint RefillSlowly(VcpuState* c, Op* op, int size, bool store, bool aligned)
    {
        ulong address = IndexAddress.Of(c, op);
        if (aligned && (address & 15) != 0)
            return Raise(c, op, Cpu.Vector.GeneralProtection);
        return (store ? Memory.Mmu.FillForStore(c, address, size) : Memory.Mmu.FillForLoad(c, address, size)) ? op->Fn(c, op) : Fault(c, op);
    }

    /// <summary>The instruction's memory access faulted; the state holds what <see cref="Memory.Mmu"/> recorded.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static nint Fault(VcpuState* c, Op* op)
        => Fault(c, op, op->Seg == RegisterOffset.StackNone);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static nint Fault(VcpuState* c, Op* op, bool stack)
    {
        Retired(c, op);
        c->Unsupported = Unsupported.No;
        ulong rip = c->Registers.BlockRip + op->Offset;
        if (c->Vector == VcpuState.Retry)
        {
            // It will make its accesses again, and they are counted then.
            c->Accesses -= op->Accesses - (op->Count > 1 ? op[-1].Accesses : 0);
            return Leave(c, rip, HandlerExit.Retry);
        }
        if (c->Vector == VcpuState.NonCanonical)
        {
            c->Vector = stack ? Cpu.Vector.StackFault : Cpu.Vector.GeneralProtection;
            c->ErrorCode = 0;
        }
        return Leave(c, rip, HandlerExit.Exception);
    }

    /// <summary>A memory fault of an access to the stack, whatever the memory operand's segment is.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static nint StackFault(VcpuState* c, Op* op) => Fault(c, op, stack: true);

    /// <summary>A fault that the instruction itself raises: RIP stays on it.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static nint Raise(VcpuState* c, Op* op, int vector, uint errorCode = 0)
    {
        Retired(c, op);
        c->Vector = vector;
        c->ErrorCode = errorCode;
        c->Unsupported = Unsupported.No;
        return Leave(c, c->Registers.BlockRip + op->Offset, HandlerExit.Exception);
    }

    /// <summary>A trap: RIP is the next instruction.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static nint Trap(VcpuState* c, Op* op, int vector)
    {
        c->Vector = vector;
        c->ErrorCode = 0;
        c->Unsupported = Unsupported.No;
        return Exit(c, op, HandlerExit.Exception);
    }

    private static void Retired(VcpuState* c, Op* op)
    {
        c->Accesses += op->Accesses;
        c->Budget -= op->Count - 1;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static nint Leave(VcpuState* c, ulong rip, HandlerExit why)
    {
        nint here;
        c->ExitStack = (nint)(&here);
        c->Registers.Rip = rip;
        return (nint)why;
    }
}

/// <summary>Exception vectors (SDM vol. 3, 6.3.1).</summary>
public static class Vector
{
    public const int DivideError = 0, Debug = 1, Breakpoint = 3, Overflow = 4, BoundRange = 5, InvalidOpcode = 6, DeviceNotAvailable = 7,
        SegmentNotPresent = 11, StackFault = 12, GeneralProtection = 13, PageFault = 14, FloatingPoint = 16, AlignmentCheck = 17, SimdFloatingPoint = 19;
}

/// <summary>Byte offsets of the special fields that operations name as registers.</summary>
internal static class RegisterOffset
{
    public const byte None = 128, StackNone = 136, FsBase = 144, GsBase = 152, BlockRip = 160, Selectors = 168;
}
