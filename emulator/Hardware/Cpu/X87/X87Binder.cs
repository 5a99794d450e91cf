using Emulator.Hardware.Cpu.Integer;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>Names the function and the handler's shape for each x87 instruction.</summary>
internal static unsafe class X87Binder
{
    public static Handler Bind(ref Binding b)
    {
        ref readonly Instruction i = ref b.Instruction;
        return i.Mnemonic switch
        {
            Mnemonic.Fadd or Mnemonic.Faddp or Mnemonic.Fiadd => Arithmetic<X87Arithmetic.Add>(ref b),
            Mnemonic.Fsub or Mnemonic.Fsubp or Mnemonic.Fisub => Arithmetic<X87Arithmetic.Subtract>(ref b),
            Mnemonic.Fsubr or Mnemonic.Fsubrp or Mnemonic.Fisubr => Arithmetic<X87Arithmetic.SubtractReversed>(ref b),
            Mnemonic.Fmul or Mnemonic.Fmulp or Mnemonic.Fimul => Arithmetic<X87Arithmetic.Multiply>(ref b),
            Mnemonic.Fdiv or Mnemonic.Fdivp or Mnemonic.Fidiv => Arithmetic<X87Arithmetic.Divide>(ref b),
            Mnemonic.Fdivr or Mnemonic.Fdivrp or Mnemonic.Fidivr => Arithmetic<X87Arithmetic.DivideReversed>(ref b),

            Mnemonic.Fcom or Mnemonic.Ficom => i.Op0Kind == OpKind.Memory
                ? LoadFormat(ref b, &X87Compare.FcomMemory<SingleReal>, &X87Compare.FcomMemory<DoubleReal>, &X87Compare.FcomMemory<WordInteger>, &X87Compare.FcomMemory<DoublewordInteger>)
                : Register(ref b, &X87Compare.Fcom),
            Mnemonic.Fcomp or Mnemonic.Ficomp => i.Op0Kind == OpKind.Memory
                ? LoadFormat(ref b, &X87Compare.FcompMemory<SingleReal>, &X87Compare.FcompMemory<DoubleReal>, &X87Compare.FcompMemory<WordInteger>, &X87Compare.FcompMemory<DoublewordInteger>)
                : Register(ref b, &X87Compare.Fcomp),
            Mnemonic.Fcompp => Register(ref b, &X87Compare.Fcompp),
            Mnemonic.Fucom => Register(ref b, &X87Compare.Fucom),
            Mnemonic.Fucomp => Register(ref b, &X87Compare.Fucomp),
            Mnemonic.Fucompp => Register(ref b, &X87Compare.Fucompp),
            Mnemonic.Fcomi => Register(ref b, &X87Compare.Fcomi),
            Mnemonic.Fcomip => Register(ref b, &X87Compare.Fcomip),
            Mnemonic.Fucomi => Register(ref b, &X87Compare.Fucomi),
            Mnemonic.Fucomip => Register(ref b, &X87Compare.Fucomip),
            Mnemonic.Ftst => Register(ref b, &X87Compare.Ftst),
            Mnemonic.Fxam => Register(ref b, &X87Compare.Fxam),

            Mnemonic.Fcmovb => Conditional(ref b, &X87Handlers.ConditionalMove<Conditions.B>),
            Mnemonic.Fcmove => Conditional(ref b, &X87Handlers.ConditionalMove<Conditions.E>),
            Mnemonic.Fcmovbe => Conditional(ref b, &X87Handlers.ConditionalMove<Conditions.Be>),
            Mnemonic.Fcmovu => Conditional(ref b, &X87Handlers.ConditionalMove<Conditions.P>),
            Mnemonic.Fcmovnb => Conditional(ref b, &X87Handlers.ConditionalMove<Conditions.Not<Conditions.B>>),
            Mnemonic.Fcmovne => Conditional(ref b, &X87Handlers.ConditionalMove<Conditions.Not<Conditions.E>>),
            Mnemonic.Fcmovnbe => Conditional(ref b, &X87Handlers.ConditionalMove<Conditions.Not<Conditions.Be>>),
            Mnemonic.Fcmovnu => Conditional(ref b, &X87Handlers.ConditionalMove<Conditions.Not<Conditions.P>>),

            _ => Moves(ref b),
        };
    }

    private static Handler Moves(ref Binding b)
    {
        ref readonly Instruction i = ref b.Instruction;
        return i.Code switch
        {
            Code.Fld_m32fp => Load<uint>(ref b, &X87Moves.FldSingle),
            Code.Fld_m64fp => Load<ulong>(ref b, &X87Moves.FldDouble),
            Code.Fld_m80fp => Load<X87Handlers.Bytes10>(ref b, &X87Moves.FldExtended),
            Code.Fld_sti => Register(ref b, &X87Moves.FldRegister),
            Code.Fild_m16int => Load<ushort>(ref b, &X87Moves.FildWord),
            Code.Fild_m32int => Load<uint>(ref b, &X87Moves.FildDoubleword),
            Code.Fild_m64int => Load<ulong>(ref b, &X87Moves.FildQuadword),
            Code.Fbld_m80bcd => Load<X87Handlers.Bytes10>(ref b, &X87Moves.Fbld),
            Code.Fst_m32fp => Store<uint>(ref b, &X87Moves.FstSingle),
            Code.Fst_m64fp => Store<ulong>(ref b, &X87Moves.FstDouble),
            Code.Fstp_m32fp => Store<uint>(ref b, &X87Moves.FstpSingle),
            Code.Fstp_m64fp => Store<ulong>(ref b, &X87Moves.FstpDouble),
            Code.Fstp_m80fp => Store<X87Handlers.Bytes10>(ref b, &X87Moves.FstpExtended),
            Code.Fst_sti => Register(ref b, &X87Moves.FstRegister),
            Code.Fstp_sti or Code.Fstp_sti_DFD0 or Code.Fstp_sti_DFD8 => Register(ref b, &X87Moves.FstpRegister),
            Code.Fstpnce_sti => Register(ref b, &X87Moves.Fstpnce),
            Code.Fist_m16int => Store<ushort>(ref b, &X87Moves.FistWord),
            Code.Fist_m32int => Store<uint>(ref b, &X87Moves.FistDoubleword),
            Code.Fistp_m16int => Store<ushort>(ref b, &X87Moves.FistpWord),
            Code.Fistp_m32int => Store<uint>(ref b, &X87Moves.FistpDoubleword),
            Code.Fistp_m64int => Store<ulong>(ref b, &X87Moves.FistpQuadword),
            Code.Fisttp_m16int => Store<ushort>(ref b, &X87Moves.FisttpWord),
            Code.Fisttp_m32int => Store<uint>(ref b, &X87Moves.FisttpDoubleword),
            Code.Fisttp_m64int => Store<ulong>(ref b, &X87Moves.FisttpQuadword),
            Code.Fbstp_m80bcd => Store<X87Handlers.Bytes10>(ref b, &X87Moves.Fbstp),
            Code.Fxch_st0_sti or Code.Fxch_st0_sti_DDC8 or Code.Fxch_st0_sti_DFC8 => Register(ref b, &X87Moves.Fxch),
            Code.Fld1 => Register(ref b, &X87Moves.Fld1),
            Code.Fldz => Register(ref b, &X87Moves.Fldz),
            Code.Fldpi => Register(ref b, &X87Moves.Fldpi),
            Code.Fldl2t => Register(ref b, &X87Moves.Fldl2t),
            Code.Fldl2e => Register(ref b, &X87Moves.Fldl2e),
            Code.Fldlg2 => Register(ref b, &X87Moves.Fldlg2),
            Code.Fldln2 => Register(ref b, &X87Moves.Fldln2),
            _ => Functions(ref b),
        };
    }

    private static Handler Functions(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Fchs => Register(ref b, &X87Arithmetic.Fchs),
        Mnemonic.Fabs => Register(ref b, &X87Arithmetic.Fabs),
        Mnemonic.Fsqrt => Register(ref b, &X87Arithmetic.Fsqrt),
        Mnemonic.Frndint => Register(ref b, &X87Arithmetic.Frndint),
        Mnemonic.Fscale => Register(ref b, &X87Arithmetic.Fscale),
        Mnemonic.Fxtract => Register(ref b, &X87Arithmetic.Fxtract),
        Mnemonic.Fprem => Register(ref b, &X87Arithmetic.Fprem),
        Mnemonic.Fprem1 => Register(ref b, &X87Arithmetic.Fprem1),
        Mnemonic.F2xm1 => Register(ref b, &X87Arithmetic.F2xm1),
        Mnemonic.Fyl2x => Register(ref b, &X87Arithmetic.Fyl2x),
        Mnemonic.Fyl2xp1 => Register(ref b, &X87Arithmetic.Fyl2xp1),
        Mnemonic.Fsin => Register(ref b, &X87Arithmetic.Fsin),
        Mnemonic.Fcos => Register(ref b, &X87Arithmetic.Fcos),
        Mnemonic.Fsincos => Register(ref b, &X87Arithmetic.Fsincos),
        Mnemonic.Fptan => Register(ref b, &X87Arithmetic.Fptan),
        Mnemonic.Fpatan => Register(ref b, &X87Arithmetic.Fpatan),
        Mnemonic.Ffree => Register(ref b, &X87Control.Ffree),
        Mnemonic.Ffreep => Register(ref b, &X87Control.Ffreep),
        Mnemonic.Fincstp => Register(ref b, &X87Control.Fincstp),
        Mnemonic.Fdecstp => Register(ref b, &X87Control.Fdecstp),
        Mnemonic.Fnop => Register(ref b, &X87Control.Fnop),
        _ => Controls(ref b),
    };

    private static Handler Controls(ref Binding b) => b.Instruction.Code switch
    {
        Code.Wait => &X87Handlers.Wait,
        // They governed the 8087's interrupt and the 287's protected mode; ignored since.
        Code.Fneni or Code.Fndisi or Code.Fnsetpm => Control(ref b, &X87Control.Fnop),
        Code.Fninit => Control(ref b, &X87Control.Fninit),
        Code.Fnclex => Control(ref b, &X87Control.Fnclex),
        Code.Fnstsw_AX => Control(ref b, &X87Control.FnstswAx),
        Code.Fnstsw_m2byte => Memory(ref b, &X87Control.Fnstsw, &X87Handlers.StoreControl<ushort>),
        Code.Fnstcw_m2byte => Memory(ref b, &X87Control.Fnstcw, &X87Handlers.StoreControl<ushort>),
        Code.Fldcw_m2byte => Memory(ref b, &X87Control.Fldcw, &X87Handlers.LoadControl<ushort>),
        Code.Fnstenv_m28byte => Memory(ref b, &X87Control.Fnstenv, &X87Handlers.StoreControl<X87Handlers.Bytes28>),
        Code.Fnstenv_m14byte => Memory(ref b, &X87Control.FnstenvShort, &X87Handlers.StoreControl<X87Handlers.Bytes14>),
        Code.Fldenv_m28byte => Memory(ref b, &X87Control.Fldenv, &X87Handlers.LoadControl<X87Handlers.Bytes28>),
        Code.Fldenv_m14byte => Memory(ref b, &X87Control.FldenvShort, &X87Handlers.LoadControl<X87Handlers.Bytes14>),
        Code.Fnsave_m108byte => Memory(ref b, &X87Control.Fnsave, &X87Handlers.StoreControl<X87Handlers.Bytes108>),
        Code.Fnsave_m94byte => Memory(ref b, &X87Control.FnsaveShort, &X87Handlers.StoreControl<X87Handlers.Bytes94>),
        Code.Frstor_m108byte => Memory(ref b, &X87Control.Frstor, &X87Handlers.LoadControl<X87Handlers.Bytes108>),
        Code.Frstor_m94byte => Memory(ref b, &X87Control.FrstorShort, &X87Handlers.LoadControl<X87Handlers.Bytes94>),
        Code.Fxsave_m512byte => Extended(ref b, &X87Handlers.ExtendedSave, wide: false),
        Code.Fxsave64_m512byte => Extended(ref b, &X87Handlers.ExtendedSave, wide: true),
        Code.Fxrstor_m512byte => Extended(ref b, &X87Handlers.ExtendedRestore, wide: false),
        Code.Fxrstor64_m512byte => Extended(ref b, &X87Handlers.ExtendedRestore, wide: true),
        _ => null,
    };

    private static Handler Arithmetic<TOperation>(ref Binding b) where TOperation : struct, IX87Operation
    {
        ref readonly Instruction i = ref b.Instruction;
        if (i.Op0Kind == OpKind.Memory)
        {
            return LoadFormat(ref b, &X87Arithmetic.Memory<TOperation, SingleReal>, &X87Arithmetic.Memory<TOperation, DoubleReal>,
                &X87Arithmetic.Memory<TOperation, WordInteger>, &X87Arithmetic.Memory<TOperation, DoublewordInteger>);
        }
        bool pops = i.Mnemonic is Mnemonic.Faddp or Mnemonic.Fsubp or Mnemonic.Fsubrp or Mnemonic.Fmulp or Mnemonic.Fdivp or Mnemonic.Fdivrp;
        if (pops)
            return Register(ref b, &X87Arithmetic.ToRegisterAndPop<TOperation>);
        return i.Op0Register == Iced.Intel.Register.ST0
            ? Register(ref b, &X87Arithmetic.ToTop<TOperation>)
            : Register(ref b, &X87Arithmetic.ToRegister<TOperation>);
    }

    // In bounds: each format is bound together with a handler whose T has its size; stack registers are numbered 0 to 7.
    /// <summary>Binds an instruction on registers; the one operand that is not always ST(0) becomes the source.</summary>
    private static Handler Register(ref Binding b, delegate*<VcpuRegisters*, int, void> function)
    {
        Operand(ref b);
        b.Op->Imm = (nint)function;
        return &X87Handlers.Register;
    }

    private static Handler Conditional(ref Binding b, Handler handler)
    {
        Operand(ref b);
        return handler;
    }

    private static void Operand(ref Binding b)
    {
        ref readonly Instruction i = ref b.Instruction;
        Register register = i.OpCount switch
        {
            0 => Iced.Intel.Register.ST0,
            1 => i.Op0Register,
            _ => i.Op0Register == Iced.Intel.Register.ST0 ? i.Op1Register : i.Op0Register,
        };
        b.Op->Src = (byte)(register - Iced.Intel.Register.ST0);
    }

    private static Handler Control(ref Binding b, delegate*<VcpuRegisters*, int, void> function)
    {
        b.Op->Imm = (nint)function;
        return &X87Handlers.Control;
    }

    private static Handler LoadFormat(ref Binding b, delegate*<X87State*, byte*, void> single, delegate*<X87State*, byte*, void> real,
        delegate*<X87State*, byte*, void> word, delegate*<X87State*, byte*, void> doubleword) => b.Instruction.MemorySize switch
    {
        MemorySize.Float32 => Load<uint>(ref b, single),
        MemorySize.Float64 => Load<ulong>(ref b, real),
        MemorySize.Int16 => Load<ushort>(ref b, word),
        _ => Load<uint>(ref b, doubleword),
    };

    private static Handler Load<T>(ref Binding b, delegate*<X87State*, byte*, void> function) where T : unmanaged
        => Memory(ref b, function, &X87Handlers.Load<T>);

    private static Handler Store<T>(ref Binding b, delegate*<X87State*, byte*, bool> function) where T : unmanaged
        => Memory(ref b, (delegate*<X87State*, byte*, void>)function, &X87Handlers.Store<T>);

    private static Handler Memory(ref Binding b, delegate*<X87State*, byte*, void> function, Handler handler)
    {
        b.Form(0);
        b.Op->Imm = (nint)function;
        return handler;
    }

    private static Handler Extended(ref Binding b, Handler handler, bool wide)
    {
        b.Form(0);
        b.Op->Aux = wide ? (byte)1 : (byte)0;
        return handler;
    }
}
