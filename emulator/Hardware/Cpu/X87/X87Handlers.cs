using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Emulator.Hardware.Cpu.Integer;
using Emulator.Hardware.Memory;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>
/// The few shapes of handler that x87 instructions have. What an instruction does is a function over the state, whose address is the operation's
/// immediate; the handler adds the pending exception (#MF), the memory access and the last-instruction pointers.
/// </summary>
internal static unsafe class X87Handlers
{
    /// <summary>A 10-byte operand, and the images that control instructions move: sizes for <see cref="Access"/>.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 10)]
    internal readonly struct Bytes10;

    [StructLayout(LayoutKind.Sequential, Size = 14)]
    internal readonly struct Bytes14;

    [StructLayout(LayoutKind.Sequential, Size = 28)]
    internal readonly struct Bytes28;

    [StructLayout(LayoutKind.Sequential, Size = 94)]
    internal readonly struct Bytes94;

    [StructLayout(LayoutKind.Sequential, Size = 108)]
    internal readonly struct Bytes108;

    // In bounds: the largest, 108 bytes, fits the bounce buffer; functions write 10 bytes there at most, and the other images where Access says that T has room.
    private const int MaxInstructionLength = 15;

    /// <summary>An unmasked exception waits for the next instruction that looks (SDM vol. 1, 8.7).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Pending(VcpuState* c) => (c->Registers.X87.Status & X87Status.ErrorSummary) != 0;

    [MethodImpl(Chain.Hot)]
    public static nint Register(VcpuState* c, Op* op)
    {
        if (Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ((delegate*<VcpuRegisters*, int, void>)op->Imm)(&c->Registers, op->Src);
        c->Registers.X87.InstructionPointer = c->Registers.BlockRip + op->Offset;
        if (Pending(c))
            RecordOpcode(c);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>Control instructions of the FN form: they neither look for a pending exception nor become the last instruction.</summary>
    [MethodImpl(Chain.Hot)]
    public static nint Control(VcpuState* c, Op* op)
    {
        ((delegate*<VcpuRegisters*, int, void>)op->Imm)(&c->Registers, op->Src);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    public static nint ConditionalMove<TCondition>(VcpuState* c, Op* op) where TCondition : struct, ICondition
    {
        if (Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        X87Moves.ConditionalMove(&c->Registers.X87, op->Src, TCondition.Holds(c));
        c->Registers.X87.InstructionPointer = c->Registers.BlockRip + op->Offset;
        if (Pending(c))
            RecordOpcode(c);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    public static nint Wait(VcpuState* c, Op* op)
        => Pending(c) ? Chain.Raise(c, op, Vector.FloatingPoint) : op[1].Fn(c, op + 1);

    /// <summary>Reads memory of T's size.</summary>
    [MethodImpl(Chain.Hot)]
    public static nint Load<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        if (Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ulong address = AnyAddress.Of(c, op);
        T* operand = Access.Read<T>(c, address);
        if (operand == null)
            return Chain.Fault(c, op);
        ((delegate*<X87State*, byte*, void>)op->Imm)(&c->Registers.X87, (byte*)operand);
        c->Registers.X87.InstructionPointer = c->Registers.BlockRip + op->Offset;
        if (Pending(c))
            RecordOperand(c, op);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>
    /// Writes memory of T's size. An unmasked exception found before the store leaves memory alone, even where it would fault; a fault of the store
    /// leaves the x87 state as it was.
    /// </summary>
    [MethodImpl(Chain.Hot)]
    public static nint Store<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        if (Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ushort status = c->Registers.X87.Status;
        byte valid = c->Registers.X87.Valid;
        if (((delegate*<X87State*, byte*, bool>)op->Imm)(&c->Registers.X87, c->Bounce) && !Write<T>(c, AnyAddress.Of(c, op)))
        {
            c->Registers.X87.Status = status;
            c->Registers.X87.Valid = valid;
            return Chain.Fault(c, op);
        }
        c->Registers.X87.InstructionPointer = c->Registers.BlockRip + op->Offset;
        if (Pending(c))
            RecordOperand(c, op);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>Stores what lies in the bounce buffer; ten bytes as two pieces, of which the first stays if the second faults.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Write<T>(VcpuState* c, ulong address) where T : unmanaged
    {
        if (typeof(T) != typeof(Bytes10))
            return Access.Write(c, address, *(T*)c->Bounce);
        ushort upper = *(ushort*)(c->Bounce + 8);
        return Access.Write(c, address, *(ulong*)c->Bounce) && Access.Write(c, address + 8, upper);
    }

    /// <summary>FLDCW, FLDENV, FRSTOR: they wait but leave the pointers to their image.</summary>
    [MethodImpl(Chain.Hot)]
    public static nint LoadControl<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        if (Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ulong address = AnyAddress.Of(c, op);
        if (sizeof(T) > sizeof(ushort) && (Mmu.ReadSlow(c, address, FirstPiece<T>()) == null || Mmu.ReadSlow(c, LastByte(c, op, sizeof(T)), 1) == null))
            return Chain.Fault(c, op);
        T* operand = Access.Read<T>(c, address);
        if (operand == null)
            return Chain.Fault(c, op);
        ((delegate*<X87State*, byte*, void>)op->Imm)(&c->Registers.X87, (byte*)operand);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>FNSTCW, FNSTSW, FNSTENV, FNSAVE.</summary>
    [MethodImpl(Chain.Hot)]
    public static nint StoreControl<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        ulong address = AnyAddress.Of(c, op);
        if (sizeof(T) > sizeof(ushort) && (Mmu.ModifySlow(c, address, FirstPiece<T>()) == null || Mmu.ModifySlow(c, LastByte(c, op, sizeof(T)), 1) == null))
            return Chain.Fault(c, op);
        T* destination = Access.Modify<T>(c, address);
        if (destination == null)
            return Chain.Fault(c, op);
        ((delegate*<X87State*, byte*, void>)op->Imm)(&c->Registers.X87, (byte*)destination);
        Access.Commit(c, address, destination);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>Address of an image's last byte: its offset wraps within a 32-bit address size.</summary>
    private static ulong LastByte(VcpuState* c, Op* op, int size)
    {
        ulong offset = AnyAddress.Effective(c, op) + (ulong)size - 1;
        return ((op->Scale & AnyAddress.Address32) != 0 ? (uint)offset : offset) + Reg.Read<ulong>(c, op->Seg);
    }

    /// <summary>Processors try an image's first field and its last byte before they go on, which shows in CR2. Fields are as wide as the operand size.</summary>
    private static int FirstPiece<T>() where T : unmanaged => sizeof(T) is X87Control.EnvironmentSize or X87Control.EnvironmentSize + X87Control.RegistersSize ? 4 : 2;

    [MethodImpl(Chain.Hot)]
    public static nint ExtendedSave(VcpuState* c, Op* op)
    {
        ulong address = AnyAddress.Of(c, op);
        if ((address & 15) != 0)
            return Misaligned(c, op, address);
        return FxsaveImage.Write(c, address, LastByte(c, op, FxsaveImage.Size), wide: op->Aux != 0) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    [MethodImpl(Chain.Hot)]
    public static nint ExtendedRestore(VcpuState* c, Op* op)
    {
        ulong address = AnyAddress.Of(c, op);
        if ((address & 15) != 0)
            return Misaligned(c, op, address);
        return FxsaveImage.Read(c, address, LastByte(c, op, FxsaveImage.Size), wide: op->Aux != 0) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    /// <summary>FXSAVE and FXRSTOR want 16-byte alignment; a non-canonical address goes before that, and is #SS in the stack segment.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static nint Misaligned(VcpuState* c, Op* op, ulong address)
    {
        if (!PageTable.IsCanonical(address))
            return Chain.Raise(c, op, op->Seg == RegisterOffset.StackNone ? Vector.StackFault : Vector.GeneralProtection);
        // With alignment checks on they come first (SDM vol. 2, FXSAVE); what they ask for is a multiple of 4.
        return Chain.Raise(c, op, c->AlignmentCheck != 0 && (address & 3) != 0 ? Vector.AlignmentCheck : Vector.GeneralProtection);
    }

    /// <summary>
    /// The operand pointer (an offset in its segment) and the opcode are only kept for an instruction that raised an unmasked exception, as processors do that report
    /// FDP_EXCPTN_ONLY (CPUID.7.0:EBX bit 6; SDM vol. 1, 8.1.8 and 8.1.9).
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void RecordOperand(VcpuState* c, Op* op)
    {
        c->Registers.X87.DataPointer = AnyAddress.Effective(c, op);
        RecordOpcode(c);
    }

    /// <summary>Decoding keeps no opcode bytes, so the rare reader looks at the code again.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void RecordOpcode(VcpuState* c)
    {
        ulong rip = c->Registers.X87.InstructionPointer;
        for (int i = 0; i < MaxInstructionLength - 1; i++)
        {
            byte* code = Mmu.ReadSlow(c, rip + (uint)i, 1);
            if (code == null)
                return;
            int escape = *code;
            if (escape is < 0xD8 or > 0xDF)
                continue;
            code = Mmu.ReadSlow(c, rip + (uint)i + 1, 1);
            if (code != null)
                c->Registers.X87.Opcode = (ushort)(((escape & 7) << 8) | *code);
            return;
        }
    }
}
