using Emulator.Hardware.Cpu.Integer;
using Emulator.Hardware.Cpu.Simd;
using Iced.Intel;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// Which two instructions in a row have one handler (<see cref="Steps.Two"/>, <see cref="Steps.Jump"/>): what compilers make of comparisons and of arithmetic on doubles.
/// Each pair costs some 300 bytes of code, so there are those that count.
/// </summary>
/// <remarks>In bounds: no pointers but those of handlers, which read and write the operations' own operands.</remarks>
internal static unsafe class Pairs
{
    /// <summary>The handler of both, or null. They have been bound to handlers of their own; the forms are those of their memory operands.</summary>
    public static Handler Find(in Instruction first, OperandForm firstForm, in Instruction second, OperandForm secondForm)
    {
        if (second.IsJccShortOrNear)
            return Compare(first, second.ConditionCode);
        if (!Foretellable)
            return null;
        return first.Mnemonic switch
        {
            Mnemonic.Add => AfterAdd(first, second, secondForm),
            Mnemonic.Movsd => AfterLoad(first, firstForm, second, secondForm),
            Mnemonic.Movapd or Mnemonic.Movaps => AfterCopy(first, second, secondForm),
            Mnemonic.Addsd => AfterDouble<FloatArithmetic.Add>(firstForm, second, secondForm),
            Mnemonic.Subsd => AfterDouble<FloatArithmetic.Subtract>(firstForm, second, secondForm),
            Mnemonic.Mulsd => AfterDouble<FloatArithmetic.Multiply>(firstForm, second, secondForm),
            _ => null,
        };
    }

    /// <summary>As <see cref="FloatArithmetic"/> decides it.</summary>
    private static bool Foretellable => System.Runtime.Intrinsics.X86.Sse41.IsSupported;

    private static Handler Compare(in Instruction first, ConditionCode condition) => first.Mnemonic switch
    {
        Mnemonic.Cmp => Compare<Alu.Cmp>(first, condition),
        Mnemonic.Test => Compare<Alu.Test>(first, condition),
        Mnemonic.Add => Compare<Alu.Add>(first, condition),
        Mnemonic.Sub => Compare<Alu.Sub>(first, condition),
        _ => null,
    };

    private static Handler Compare<TAlu>(in Instruction first, ConditionCode condition) where TAlu : struct, IAlu
    {
        if (first.Op0Kind != OpKind.Register || first.Op1Kind == OpKind.Memory)
            return null;
        bool register = first.Op1Kind == OpKind.Register;
        if (first.Op0Register.IsGPR64())
            return register ? Jump<Alu.ToRegister<TAlu, Qword, SourceRegister>>(condition) : Jump<Alu.ToRegister<TAlu, Qword, Immediate>>(condition);
        if (first.Op0Register.IsGPR32())
            return register ? Jump<Alu.ToRegister<TAlu, Dword, SourceRegister>>(condition) : Jump<Alu.ToRegister<TAlu, Dword, Immediate>>(condition);
        return null;
    }

    private static Handler Jump<TStep>(ConditionCode condition) where TStep : struct, IStep => condition switch
    {
        ConditionCode.b => &Steps.Jump<TStep, Conditions.B>,
        ConditionCode.ae => &Steps.Jump<TStep, Conditions.Not<Conditions.B>>,
        ConditionCode.e => &Steps.Jump<TStep, Conditions.E>,
        ConditionCode.ne => &Steps.Jump<TStep, Conditions.Not<Conditions.E>>,
        ConditionCode.be => &Steps.Jump<TStep, Conditions.Be>,
        ConditionCode.a => &Steps.Jump<TStep, Conditions.Not<Conditions.Be>>,
        ConditionCode.s => &Steps.Jump<TStep, Conditions.S>,
        ConditionCode.ns => &Steps.Jump<TStep, Conditions.Not<Conditions.S>>,
        ConditionCode.l => &Steps.Jump<TStep, Conditions.L>,
        ConditionCode.ge => &Steps.Jump<TStep, Conditions.Not<Conditions.L>>,
        ConditionCode.le => &Steps.Jump<TStep, Conditions.Le>,
        ConditionCode.g => &Steps.Jump<TStep, Conditions.Not<Conditions.Le>>,
        _ => null,
    };

    /// <summary>A pointer goes on, and another, or what it points to is used.</summary>
    private static Handler AfterAdd(in Instruction first, in Instruction second, OperandForm form)
    {
        if (!IsAddImmediate(first))
            return null;
        // The flags of the first are gone before anybody could read them.
        if (IsAddImmediate(second))
            return &Steps.Two<Alu.ToRegister<Alu.AddAlone, Qword, Immediate>, Alu.ToRegister<Alu.Add, Qword, Immediate>>;
        return Transfer<Alu.ToRegister<Alu.Add, Qword, Immediate>>(second, form);
    }

    private static bool IsAddImmediate(in Instruction i)
        => i.Mnemonic == Mnemonic.Add && i.Op0Kind == OpKind.Register && i.Op0Register.IsGPR64() && i.Op1Kind is not (OpKind.Register or OpKind.Memory);

    /// <summary>A load or a store of a double.</summary>
    private static Handler Transfer<TFirst>(in Instruction second, OperandForm form) where TFirst : struct, IStep
    {
        if (second.Mnemonic != Mnemonic.Movsd)
            return null;
        if (second.Op0Kind == OpKind.Register && second.Op1Kind == OpKind.Memory)
            return form switch
            {
                OperandForm.Base => &Steps.Two<TFirst, VectorMoves.LoadAlone<Qword, Memory<BaseAddress>>>,
                OperandForm.Index => &Steps.Two<TFirst, VectorMoves.LoadAlone<Qword, Memory<IndexAddress>>>,
                _ => null,
            };
        return Store<TFirst>(second, form);
    }

    private static Handler Store<TFirst>(in Instruction second, OperandForm form) where TFirst : struct, IStep
        // The string instruction of this name has no register.
        => second.Mnemonic != Mnemonic.Movsd || second.Op0Kind != OpKind.Memory || second.Op1Kind != OpKind.Register ? null : form switch
        {
            OperandForm.Base => &Steps.Two<TFirst, VectorMoves.Store<Qword, BaseAddress>>,
            OperandForm.Index => &Steps.Two<TFirst, VectorMoves.Store<Qword, IndexAddress>>,
            _ => null,
        };

    private static Handler AfterLoad(in Instruction first, OperandForm firstForm, in Instruction second, OperandForm secondForm)
    {
        if (first.Op0Kind != OpKind.Register || first.Op1Kind != OpKind.Memory)
            return null;
        return firstForm switch
        {
            OperandForm.Base => Double<VectorMoves.LoadAlone<Qword, Memory<BaseAddress>>>(second, secondForm),
            OperandForm.Index => Double<VectorMoves.LoadAlone<Qword, Memory<IndexAddress>>>(second, secondForm),
            _ => null,
        };
    }

    private static Handler AfterCopy(in Instruction first, in Instruction second, OperandForm form)
        => first.Op0Kind == OpKind.Register && first.Op1Kind == OpKind.Register
            ? Double<VectorMoves.Load<XmmSource>>(second, form) : null;

    private static Handler AfterDouble<TFloat>(OperandForm firstForm, in Instruction second, OperandForm secondForm) where TFloat : struct, IForetold
    {
        if (firstForm == OperandForm.None)
        {
            Handler handler = Double<FloatArithmetic.Foretold<TFloat, XmmSource>>(second, secondForm);
            return handler != null ? handler : Store<FloatArithmetic.Foretold<TFloat, XmmSource>>(second, secondForm);
        }
        return firstForm switch
        {
            OperandForm.Base => Store<FloatArithmetic.Foretold<TFloat, Memory<BaseAddress>>>(second, secondForm),
            OperandForm.Index => Store<FloatArithmetic.Foretold<TFloat, Memory<IndexAddress>>>(second, secondForm),
            _ => null,
        };
    }

    /// <summary>Arithmetic on doubles as the second.</summary>
    private static Handler Double<TFirst>(in Instruction second, OperandForm form) where TFirst : struct, IStep => second.Mnemonic switch
    {
        Mnemonic.Addsd => Double<TFirst, FloatArithmetic.Add>(form),
        Mnemonic.Subsd => Double<TFirst, FloatArithmetic.Subtract>(form),
        Mnemonic.Mulsd => Double<TFirst, FloatArithmetic.Multiply>(form),
        _ => null,
    };

    private static Handler Double<TFirst, TFloat>(OperandForm form) where TFirst : struct, IStep where TFloat : struct, IForetold => form switch
    {
        OperandForm.None => &Steps.Two<TFirst, FloatArithmetic.Foretold<TFloat, XmmSource>>,
        OperandForm.Base => &Steps.Two<TFirst, FloatArithmetic.Foretold<TFloat, Memory<BaseAddress>>>,
        OperandForm.Index => &Steps.Two<TFirst, FloatArithmetic.Foretold<TFloat, Memory<IndexAddress>>>,
        _ => null,
    };
}
