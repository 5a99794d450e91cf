using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc, PUSH, POP, ENTER, LEAVE.</summary>
internal static unsafe class Moves
{
    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Mov:
                return Move(ref b);
            case Mnemonic.Movzx:
                return b.Size(1) == 1 ? Extended<byte>(ref b) : Extended<ushort>(ref b);
            case Mnemonic.Movsx or Mnemonic.Movsxd:
                return b.Size(1) switch { 1 => Extended<sbyte>(ref b), 2 => Extended<short>(ref b), _ => Extended<int>(ref b) };
            case Mnemonic.Lea:
                return Lea(ref b);
            case Mnemonic.Push:
                return Push(ref b);
            case Mnemonic.Pop:
                return Pop(ref b);
            case Mnemonic.Leave:
                b.Accesses++;
                return b.Instruction.Code == Code.Leavew ? &LeaveFrame<ushort> : &LeaveFrame<ulong>;
            default:
                return b.Instruction.ConditionCode == ConditionCode.None || b.Instruction.IsJccShortOrNear ? null : Conditional(ref b);
        }
    }

    private static Handler Move(ref Binding b)
    {
        // To and from segment, control and debug registers are not general moves.
        if (b.Instruction.Op0Kind == OpKind.Register && !b.Instruction.Op0Register.IsGPR()
            || b.Instruction.Op1Kind == OpKind.Register && !b.Instruction.Op1Register.IsGPR())
            return null;
        if (b.Instruction.Op0Kind == OpKind.Memory && b.Instruction.MemoryDisplSize == 8 && b.Instruction.MemoryBase == Register.None
            || b.Instruction.Op1Kind == OpKind.Memory && b.Instruction.MemoryDisplSize == 8 && b.Instruction.MemoryBase == Register.None)
        {
            return b.Instruction.Code is Code.Mov_AL_moffs8 or Code.Mov_AX_moffs16 or Code.Mov_EAX_moffs32 or Code.Mov_RAX_moffs64
                or Code.Mov_moffs8_AL or Code.Mov_moffs16_AX or Code.Mov_moffs32_EAX or Code.Mov_moffs64_RAX
                ? Absolute(ref b) : MoveSized(ref b);
        }
        return MoveSized(ref b);
    }

    private static Handler MoveSized(ref Binding b) => b.Size(0) switch
    {
        1 => Move<byte>(ref b),
        2 => Move<ushort>(ref b),
        4 => Move<uint>(ref b),
        _ => Move<ulong>(ref b),
    };

    private static Handler Move<T>(ref Binding b) where T : unmanaged
    {
        OperandForm destination = b.Form(0);
        if (destination == OperandForm.Register)
        {
            b.Dst(0);
            return Load<T, T>(b.Source(1));
        }
        return b.Source(1) == OperandForm.Register
            ? destination switch
            {
                OperandForm.Base => &Store<T, SourceRegister, BaseAddress>,
                OperandForm.Index => &Store<T, SourceRegister, IndexAddress>,
                _ => &Store<T, SourceRegister, AnyAddress>,
            }
            : destination switch
            {
                OperandForm.Base => &Store<T, Immediate, BaseAddress>,
                OperandForm.Index => &Store<T, Immediate, IndexAddress>,
                _ => &Store<T, Immediate, AnyAddress>,
            };
    }

    private static Handler Load<TSource, TDestination>(OperandForm source) where TSource : unmanaged where TDestination : unmanaged => source switch
    {
        OperandForm.Register => &Load<TSource, TDestination, SourceRegister>,
        OperandForm.Immediate => &Load<TSource, TDestination, Immediate>,
        OperandForm.Base => &Load<TSource, TDestination, Memory<BaseAddress>>,
        OperandForm.Index => &Load<TSource, TDestination, Memory<IndexAddress>>,
        _ => &Load<TSource, TDestination, Memory<AnyAddress>>,
    };

    private static Handler Extended<TSource>(ref Binding b) where TSource : unmanaged
    {
        b.Dst(0);
        OperandForm source = b.Source(1);
        return b.Size(0) switch
        {
            2 => Extended<TSource, ushort>(source),
            4 => Extended<TSource, uint>(source),
            _ => Extended<TSource, ulong>(source),
        };
    }

    private static Handler Extended<TSource, T>(OperandForm source)
        where TSource : unmanaged where T : unmanaged => source switch
    {
        OperandForm.Register => &Extend<TSource, T, SourceRegister>,
        OperandForm.Base => &Extend<TSource, T, Memory<BaseAddress>>,
        OperandForm.Index => &Extend<TSource, T, Memory<IndexAddress>>,
        _ => &Extend<TSource, T, Memory<AnyAddress>>,
    };

    private static Handler Lea(ref Binding b)
    {
        b.Dst(0);
        OperandForm form = b.Form(1);
        b.Accesses--;
        return b.Size(0) switch
        {
            2 => &LoadAddress<ushort>,
            4 => &LoadAddress<uint>,
            // The segment base never counts, so only a 32-bit address size needs the general form.
            _ => form switch
            {
                OperandForm.Base => &LoadAddressOf<BaseAddress>,
                OperandForm.Index => &LoadAddressOf<IndexAddress>,
                _ => &LoadAddress<ulong>,
            },
        };
    }

    private static Handler Absolute(ref Binding b)
    {
        bool store = b.Instruction.Op0Kind == OpKind.Memory;
        b.Form(store ? 0 : 1);
        b.Op->Imm = (long)b.Instruction.MemoryDisplacement64;
        return b.Instruction.MemorySize.GetSize() switch
        {
            1 => store ? &StoreAbsolute<byte> : &LoadAbsolute<byte>,
            2 => store ? &StoreAbsolute<ushort> : &LoadAbsolute<ushort>,
            4 => store ? &StoreAbsolute<uint> : &LoadAbsolute<uint>,
            _ => store ? &StoreAbsolute<ulong> : &LoadAbsolute<ulong>,
        };
    }

    private static Handler Push(ref Binding b)
    {
        bool small = b.Instruction.Code is Code.Push_r16 or Code.Push_rm16 or Code.Push_imm16 or Code.Pushw_imm8;
        if (b.Instruction.Op0Kind == OpKind.Register && b.Instruction.Op0Register.IsSegmentRegister())
            return null;
        OperandForm form = b.Source(0);
        b.Accesses++;
        return small ? Push<ushort>(form) : Push<ulong>(form);
    }

    private static Handler Push<T>(OperandForm form) where T : unmanaged => form switch
    {
        OperandForm.Register => &Push<T, SourceRegister>,
        OperandForm.Immediate => &Push<T, Immediate>,
        OperandForm.Base => &Push<T, Memory<BaseAddress>>,
        OperandForm.Index => &Push<T, Memory<IndexAddress>>,
        _ => &Push<T, Memory<AnyAddress>>,
    };

    private static Handler Pop(ref Binding b)
    {
        bool small = b.Instruction.Code is Code.Pop_r16 or Code.Pop_rm16;
        if (b.Instruction.Op0Kind == OpKind.Register && b.Instruction.Op0Register.IsSegmentRegister())
            return null;
        OperandForm form = b.Form(0);
        b.Accesses++;
        if (form == OperandForm.Register)
        {
            b.Dst(0);
            return small ? &Pop<ushort> : &Pop<ulong>;
        }
        return small ? &PopMemory<ushort> : &PopMemory<ulong>;
    }

    private static Handler Conditional(ref Binding b)
    {
        return b.Instruction.ConditionCode switch
        {
            ConditionCode.o => Conditional<Conditions.O>(ref b),
            ConditionCode.no => Conditional<Conditions.Not<Conditions.O>>(ref b),
            ConditionCode.b => Conditional<Conditions.B>(ref b),
            ConditionCode.ae => Conditional<Conditions.Not<Conditions.B>>(ref b),
            ConditionCode.e => Conditional<Conditions.E>(ref b),
            ConditionCode.ne => Conditional<Conditions.Not<Conditions.E>>(ref b),
            ConditionCode.be => Conditional<Conditions.Be>(ref b),
            ConditionCode.a => Conditional<Conditions.Not<Conditions.Be>>(ref b),
            ConditionCode.s => Conditional<Conditions.S>(ref b),
            ConditionCode.ns => Conditional<Conditions.Not<Conditions.S>>(ref b),
            ConditionCode.p => Conditional<Conditions.P>(ref b),
            ConditionCode.np => Conditional<Conditions.Not<Conditions.P>>(ref b),
            ConditionCode.l => Conditional<Conditions.L>(ref b),
            ConditionCode.ge => Conditional<Conditions.Not<Conditions.L>>(ref b),
            ConditionCode.le => Conditional<Conditions.Le>(ref b),
            _ => Conditional<Conditions.Not<Conditions.Le>>(ref b),
        };
    }

    private static Handler Conditional<TCondition>(ref Binding b) where TCondition : struct, ICondition
    {
        if (b.Size(0) == 1)
        {
            OperandForm form = b.Form(0);
            if (form != OperandForm.Register)
                return &SetMemory<TCondition>;
            b.Dst(0);
            return &SetRegister<TCondition>;
        }
        if (b.Instruction.OpCount != 2)
            return null;
        b.Dst(0);
        OperandForm source = b.Source(1);
        return b.Size(0) switch
        {
            2 => MoveIf<TCondition, ushort>(source),
            4 => MoveIf<TCondition, uint>(source),
            _ => MoveIf<TCondition, ulong>(source),
        };
    }

    private static Handler MoveIf<TCondition, T>(OperandForm source) where TCondition : struct, ICondition where T : unmanaged
        => source == OperandForm.Register ? &MoveIf<TCondition, T, SourceRegister> : &MoveIf<TCondition, T, Memory<AnyAddress>>;

    // In bounds: operands as in Alu; the stack pointer is a guest address like any other, and may wrap.
    [MethodImpl(Chain.Hot)]
    private static nint Load<TFrom, T, TSource>(VcpuState* c, Op* op) where TFrom : unmanaged where T : unmanaged where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(TFrom));
        if (!TSource.IsThere(c, place, sizeof(TFrom)))
            return TSource.Missed(c, op, sizeof(TFrom));
        TFrom* source = (TFrom*)TSource.At(c, place);
        Reg.Write(c, op->Dst, *source);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Extend<TFrom, T, TSource>(VcpuState* c, Op* op)
        where TFrom : unmanaged where T : unmanaged where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(TFrom));
        if (!TSource.IsThere(c, place, sizeof(TFrom)))
            return TSource.Missed(c, op, sizeof(TFrom));
        TFrom* source = (TFrom*)TSource.At(c, place);
        bool signed = typeof(TFrom) == typeof(sbyte) || typeof(TFrom) == typeof(short) || typeof(TFrom) == typeof(int);
        ulong value = Wide.Of(*source);
        Reg.Write(c, op->Dst, Wide.To<T>(signed ? (ulong)Wide.SignExtend(value, sizeof(TFrom)) : value));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Store<T, TSource, TAddress>(VcpuState* c, Op* op) where T : unmanaged where TSource : struct, ISource where TAddress : struct, IAddress
    {
        T value = *(T*)TSource.At(c, TSource.Place(c, op, sizeof(T)));
        if (TAddress.IsQuick)
            return Access.Poke(c, TAddress.Of(c, op), value) ? op[1].Fn(c, op + 1) : Chain.Missed(c, op, sizeof(T), store: true, aligned: false);
        return Access.Write(c, TAddress.Of(c, op), value) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    [MethodImpl(Chain.Hot)]
    private static nint LoadAddressOf<TAddress>(VcpuState* c, Op* op) where TAddress : struct, IAddress
    {
        Reg.Write(c, op->Dst, TAddress.Of(c, op));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint LoadAddress<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        Reg.Write(c, op->Dst, Wide.To<T>(AnyAddress.Effective(c, op)));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint LoadAbsolute<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        T* source = Access.Read<T>(c, (ulong)op->Imm + Reg.Read<ulong>(c, op->Seg));
        if (source == null)
            return Chain.Fault(c, op);
        Reg.Write(c, 0, *source);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreAbsolute<T>(VcpuState* c, Op* op) where T : unmanaged
        => Access.Write(c, (ulong)op->Imm + Reg.Read<ulong>(c, op->Seg), Reg.Read<T>(c, 0)) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(Chain.Hot)]
    private static nint Push<T, TSource>(VcpuState* c, Op* op) where T : unmanaged where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp] - (ulong)sizeof(T);
        if (!Access.Write(c, stack, *source))
            return Chain.StackFault(c, op);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Pop<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp];
        T* source = Access.Read<T>(c, stack);
        if (source == null)
            return Chain.StackFault(c, op);
        // RSP first: POP RSP keeps the value read.
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack + (ulong)sizeof(T);
        Reg.Write(c, op->Dst, *source);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint PopMemory<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        ulong stack = c->Registers.Gpr[VcpuRegisters.Rsp];
        T* source = Access.Read<T>(c, stack);
        if (source == null)
            return Chain.StackFault(c, op);
        // The address of the destination is computed after RSP has moved (SDM vol. 2, POP).
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack + (ulong)sizeof(T);
        if (Access.Write(c, AnyAddress.Of(c, op), *source))
            return op[1].Fn(c, op + 1);
        c->Registers.Gpr[VcpuRegisters.Rsp] = stack;
        return Chain.Fault(c, op);
    }

    [MethodImpl(Chain.Hot)]
    private static nint LeaveFrame<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        ulong frame = c->Registers.Gpr[VcpuRegisters.Rbp];
        T* saved = Access.Read<T>(c, frame);
        if (saved == null)
            return Chain.StackFault(c, op);
        c->Registers.Gpr[VcpuRegisters.Rsp] = frame + (ulong)sizeof(T);
        Reg.Write(c, VcpuRegisters.Rbp * 8, *saved);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint SetRegister<TCondition>(VcpuState* c, Op* op) where TCondition : struct, ICondition
    {
        Reg.Write(c, op->Dst, TCondition.Holds(c) ? (byte)1 : (byte)0);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint SetMemory<TCondition>(VcpuState* c, Op* op) where TCondition : struct, ICondition
        => Access.Write(c, AnyAddress.Of(c, op), TCondition.Holds(c) ? (byte)1 : (byte)0) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(Chain.Hot)]
    private static nint MoveIf<TCondition, T, TSource>(VcpuState* c, Op* op) where TCondition : struct, ICondition where T : unmanaged where TSource : struct, ISource
    {
        // The source is read, and a 32-bit destination cut, whether the condition holds or not.
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        Reg.Write(c, op->Dst, TCondition.Holds(c) ? *source : Reg.Read<T>(c, op->Dst));
        return op[1].Fn(c, op + 1);
    }
}
