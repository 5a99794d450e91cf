using System.Runtime.CompilerServices;
using Emulator.Hardware.Memory;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>A condition of Jcc, SETcc, CMOVcc over the lazy flags.</summary>
internal unsafe interface ICondition
{
    static abstract bool Holds(VcpuState* c);
}

/// <summary>JMP, Jcc, CALL, RET, LOOP, JRCXZ.</summary>
internal static unsafe class Branches
{
    public static Handler Bind(ref Binding b)
    {
        Handler handler = b.Instruction.Mnemonic switch
        {
            Mnemonic.Jmp => Jump(ref b),
            Mnemonic.Call => Call(ref b),
            Mnemonic.Ret => Return(ref b),
            Mnemonic.Loop => Counted<LoopAlways>(ref b),
            Mnemonic.Loope => Counted<LoopWhileEqual>(ref b),
            Mnemonic.Loopne => Counted<LoopWhileNotEqual>(ref b),
            Mnemonic.Jrcxz or Mnemonic.Jecxz => IfZero(ref b),
            _ => b.Instruction.IsJccShortOrNear ? Conditional(ref b) : null,
        };
        return handler;
    }

    /// <summary>The target of a direct branch, relative to the block; what is more than 32 bits comes back in <see cref="Chain.BranchSlow"/>. A 16-bit operand size is refused: processors disagree about it.</summary>
    private static bool Target(ref Binding b)
    {
        if (b.Instruction.Op0Kind != OpKind.NearBranch64)
            return false;
        b.Op->Disp = (int)(b.Instruction.NearBranch64 - b.BlockRip);
        return true;
    }

    private static Handler Jump(ref Binding b)
    {
        b.EndsBlock = true;
        if (Target(ref b))
            return &JumpRelative;
        if (b.Instruction.Code == Code.Jmp_rm64)
            return b.Source(0) switch
            {
                OperandForm.Register => &JumpIndirect<SourceRegister>,
                OperandForm.Base => &JumpIndirect<Memory<BaseAddress>>,
                OperandForm.Index => &JumpIndirect<Memory<IndexAddress>>,
                _ => &JumpIndirect<Memory<AnyAddress>>,
            };
        return null;
    }

    private static Handler Call(ref Binding b)
    {
        b.EndsBlock = true;
        if (Target(ref b))
        {
            b.Accesses++;
            b.Op->Aux = sizeof(ulong);
            return &CallRelative;
        }
        if (b.Instruction.Code != Code.Call_rm64)
            return null;
        OperandForm form = b.Source(0);
        b.Accesses++;
        return form switch
        {
            OperandForm.Register => &CallIndirect<SourceRegister>,
            OperandForm.Base => &CallIndirect<Memory<BaseAddress>>,
            OperandForm.Index => &CallIndirect<Memory<IndexAddress>>,
            _ => &CallIndirect<Memory<AnyAddress>>,
        };
    }

    private static Handler Return(ref Binding b)
    {
        if (b.Instruction.Code is not (Code.Retnq or Code.Retnq_imm16))
            return null;
        b.EndsBlock = true;
        b.Accesses++;
        b.Op->Imm = b.Instruction.OpCount == 1 ? b.Instruction.Immediate16 : 0;
        return &ReturnNear;
    }

    private static Handler Conditional(ref Binding b)
    {
        if (!Target(ref b))
            return null;
        return b.Instruction.ConditionCode switch
        {
            ConditionCode.o => &JumpIf<Conditions.O>,
            ConditionCode.no => &JumpIf<Conditions.Not<Conditions.O>>,
            ConditionCode.b => &JumpIf<Conditions.B>,
            ConditionCode.ae => &JumpIf<Conditions.Not<Conditions.B>>,
            ConditionCode.e => &JumpIf<Conditions.E>,
            ConditionCode.ne => &JumpIf<Conditions.Not<Conditions.E>>,
            ConditionCode.be => &JumpIf<Conditions.Be>,
            ConditionCode.a => &JumpIf<Conditions.Not<Conditions.Be>>,
            ConditionCode.s => &JumpIf<Conditions.S>,
            ConditionCode.ns => &JumpIf<Conditions.Not<Conditions.S>>,
            ConditionCode.p => &JumpIf<Conditions.P>,
            ConditionCode.np => &JumpIf<Conditions.Not<Conditions.P>>,
            ConditionCode.l => &JumpIf<Conditions.L>,
            ConditionCode.ge => &JumpIf<Conditions.Not<Conditions.L>>,
            ConditionCode.le => &JumpIf<Conditions.Le>,
            _ => &JumpIf<Conditions.Not<Conditions.Le>>,
        };
    }

    private static Handler Counted<TLoop>(ref Binding b) where TLoop : struct, ICondition
    {
        if (!Target(ref b))
            return null;
        return b.Instruction.Code is Code.Loop_rel8_64_ECX or Code.Loope_rel8_64_ECX or Code.Loopne_rel8_64_ECX
            ? &Loop<TLoop, uint> : &Loop<TLoop, ulong>;
    }

    private static Handler IfZero(ref Binding b)
    {
        if (!Target(ref b))
            return null;
        return b.Instruction.Mnemonic == Mnemonic.Jecxz ? &JumpIf<CounterZero<uint>> : &JumpIf<CounterZero<ulong>>;
    }

    // In bounds: a target is a guest address, looked up before anything there is run; return addresses and targets go through Access.
    [MethodImpl(Chain.Hot)]
    internal static nint JumpRelative(VcpuState* c, Op* op) => Chain.Branch(c, op);

    [MethodImpl(Chain.Hot)]
    private static nint JumpIf<TCondition>(VcpuState* c, Op* op) where TCondition : struct, ICondition
        => TCondition.Holds(c) ? Chain.Branch(c, op) : op[1].Fn(c, op + 1);

    [MethodImpl(Chain.Hot)]
    private static nint JumpIndirect<TSource>(VcpuState* c, Op* op) where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(ulong));
        if (!TSource.IsThere(c, place, sizeof(ulong)))
            return TSource.Missed(c, op, sizeof(ulong));
        ulong* target = (ulong*)TSource.At(c, place);
        ulong rip = *target;
        return IsCanonical(rip) ? Chain.Jump(c, op, rip) : Chain.Raise(c, op, Vector.GeneralProtection);
    }

    [MethodImpl(Chain.Hot)]
    private static nint CallRelative(VcpuState* c, Op* op)
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp] - 8;
        if (!Access.Write(c, stack, c->Registers.BlockRip + op->Offset + op->Length))
            return Chain.StackFault(c, op);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        return Chain.Branch(c, op);
    }

    [MethodImpl(Chain.Hot)]
    private static nint CallIndirect<TSource>(VcpuState* c, Op* op) where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(ulong));
        if (!TSource.IsThere(c, place, sizeof(ulong)))
            return TSource.Missed(c, op, sizeof(ulong));
        ulong* target = (ulong*)TSource.At(c, place);
        ulong rip = *target;
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp] - 8;
        if (!Access.Write(c, stack, c->Registers.BlockRip + op->Offset + op->Length))
            return Chain.StackFault(c, op);
        // Processors find the bad target after the store, and before RSP changes.
        if (!IsCanonical(rip))
            return Chain.Raise(c, op, Vector.GeneralProtection);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        return Chain.Jump(c, op, rip);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ReturnNear(VcpuState* c, Op* op)
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp];
        ulong* target = Access.Read<ulong>(c, stack);
        if (target == null)
            return Chain.StackFault(c, op);
        ulong rip = *target;
        if (!IsCanonical(rip))
            return Chain.Raise(c, op, Vector.GeneralProtection);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack + 8 + (ulong)op->Imm;
        return Chain.Jump(c, op, rip);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Loop<TLoop, T>(VcpuState* c, Op* op) where TLoop : struct, ICondition where T : unmanaged, System.Numerics.IBinaryInteger<T>
    {
        T count = Reg.Read<T>(c, VcpuRegisters.Rcx * 8) - T.One;
        Reg.Write(c, VcpuRegisters.Rcx * 8, count);
        return count != T.Zero && TLoop.Holds(c) ? Chain.Branch(c, op) : op[1].Fn(c, op + 1);
    }

    /// <summary>Bits 63 to 47 are equal: the addresses that 4-level paging knows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool IsCanonical(ulong address) => (ulong)((long)(address << 16) >> 16) == address;

    private readonly struct LoopAlways : ICondition
    {
        public static bool Holds(VcpuState* c) => true;
    }

    private readonly struct LoopWhileEqual : ICondition
    {
        public static bool Holds(VcpuState* c) => c->Registers.FlagResult == 0;
    }

    private readonly struct LoopWhileNotEqual : ICondition
    {
        public static bool Holds(VcpuState* c) => c->Registers.FlagResult != 0;
    }

    private readonly struct CounterZero<T> : ICondition where T : unmanaged, System.Numerics.IBinaryInteger<T>
    {
        public static bool Holds(VcpuState* c) => Reg.Read<T>(c, VcpuRegisters.Rcx * 8) == T.Zero;
    }
}
