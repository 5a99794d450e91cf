using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>How an operation's inexactness is told when its result leaves the range of its format (<see cref="CheckedFloat"/>).</summary>
internal enum Range
{
    /// <summary>The result never overflows or underflows.</summary>
    Kept,
    Sum,
    Product,
    Narrowing,
}

/// <summary>What is known of a floating-point operation whatever its formats are.</summary>
internal interface IFloat
{
    static abstract Clean Clean { get; }
    /// <summary>Whether the operation rounds, so that it can set PE and depends on the rounding control.</summary>
    static virtual bool Rounds => true;
    static virtual Range Range => Range.Kept;
    /// <summary>Whether a NaN in the first operand is the result whatever the second is.</summary>
    static virtual bool PassesFirstNan => false;
}

/// <summary>
/// A floating-point operation under the control of MXCSR. <c>Run</c> is the host's operation: the fast path executes it under the host's default
/// control, the checked path under the guest's. It is inlined: compiled at its first call instead, the compiler's own arithmetic would show in the flags.
/// Operations of one operand take the second.
/// </summary>
internal interface IFloat<TIn, TOut> : IFloat
{
    static abstract TOut Run(TIn a, TIn b);
}

/// <summary>Handlers of <see cref="IFloat{TIn,TOut}"/> operations.</summary>
internal static unsafe class Float
{
    /// <summary>Binds an operation on whole registers; memory must be aligned.</summary>
    public static Handler Packed<TFloat, TIn, TOut>(ref Binding b)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &ToVector<TFloat, TIn, TOut, XmmSource>,
            OperandForm.Base => &ToVector<TFloat, TIn, TOut, Aligned<BaseAddress>>,
            OperandForm.Index => &ToVector<TFloat, TIn, TOut, Aligned<IndexAddress>>,
            _ => &ToVector<TFloat, TIn, TOut, Aligned<AnyAddress>>,
        };
    }

    /// <summary>Binds an operation on lowest elements, or whose source is less than a register.</summary>
    public static Handler Scalar<TFloat, TIn, TOut>(ref Binding b)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &ToVector<TFloat, TIn, TOut, XmmSource>,
            OperandForm.Base => &ToVector<TFloat, TIn, TOut, Memory<BaseAddress>>,
            OperandForm.Index => &ToVector<TFloat, TIn, TOut, Memory<IndexAddress>>,
            _ => &ToVector<TFloat, TIn, TOut, Memory<AnyAddress>>,
        };
    }

    /// <summary>Binds a conversion from a general register.</summary>
    public static Handler FromGeneral<TFloat, TIn, TOut>(ref Binding b)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &ToVector<TFloat, TIn, TOut, SourceRegister>,
            OperandForm.Base => &ToVector<TFloat, TIn, TOut, Memory<BaseAddress>>,
            OperandForm.Index => &ToVector<TFloat, TIn, TOut, Memory<IndexAddress>>,
            _ => &ToVector<TFloat, TIn, TOut, Memory<AnyAddress>>,
        };
    }

    /// <summary>Binds a conversion to a general register.</summary>
    public static Handler ToGeneral<TFloat, TIn, TOut>(ref Binding b)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        b.Dst(0);
        return b.Source(1) == OperandForm.Register
            ? &ToGeneral<TFloat, TIn, TOut, XmmSource>
            : &ToGeneral<TFloat, TIn, TOut, Memory<AnyAddress>>;
    }

    /// <summary>Binds a comparison that sets flags.</summary>
    public static Handler ToFlags<TFloat, TIn>(ref Binding b) where TFloat : struct, IFloat<TIn, uint> where TIn : unmanaged
    {
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &ToFlags<TFloat, TIn, XmmSource>,
            OperandForm.Base => &ToFlags<TFloat, TIn, Memory<BaseAddress>>,
            OperandForm.Index => &ToFlags<TFloat, TIn, Memory<IndexAddress>>,
            _ => &ToFlags<TFloat, TIn, Memory<AnyAddress>>,
        };
    }

    /// <summary>
    /// Whether an operation that raises no flag but PE may run under the host's default control: rounding is to nearest, and PE is masked and already set.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsPlain(VcpuState* c) => (c->Registers.UnusualMxcsr & (Mxcsr.Rounding | Mxcsr.PrecisionMask | Mxcsr.Precision)) == 0;

    // In bounds: operands of TIn's size through ISource, results into a vector register, which has 16 bytes, or through Reg.
    [MethodImpl(Chain.Hot)]
    public static nint ToVector<TFloat, TIn, TOut, TSource>(VcpuState* c, Op* op)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(TIn));
        if (!TSource.IsThere(c, place, sizeof(TIn)))
            return TSource.Missed(c, op, sizeof(TIn));
        TIn* source = (TIn*)TSource.At(c, place);
        byte* target = Xmm.Destination(c, op);
        if (!TFloat.Rounds || IsPlain(c))
        {
            TIn a = *(TIn*)target, b = *source;
            TOut result = TFloat.Run(a, b);
            if (Ieee.IsClean(TFloat.Clean, a, b, result))
            {
                Xmm.Write(target, result);
                return op[1].Fn(c, op + 1);
            }
        }
        return ToVectorChecked<TFloat, TIn, TOut>(c, op, source);
    }

    // Apart and tail-called: the fast path then needs no stack frame. (A method that forbids inlining makes no tail calls.)
    [MethodImpl(Chain.Hot)]
    private static nint ToVectorChecked<TFloat, TIn, TOut>(VcpuState* c, Op* op, TIn* source)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        byte* target = Xmm.Destination(c, op);
        if (!CheckedFloat.Run<TFloat, TIn, TOut>(c, (TIn*)target, source))
            return Chain.Raise(c, op, Vector.SimdFloatingPoint);
        Xmm.Write(target, *(TOut*)CheckedFloat.Result(c));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToGeneral<TFloat, TIn, TOut, TSource>(VcpuState* c, Op* op)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(TIn));
        if (!TSource.IsThere(c, place, sizeof(TIn)))
            return TSource.Missed(c, op, sizeof(TIn));
        TIn* source = (TIn*)TSource.At(c, place);
        if (IsPlain(c))
        {
            TIn b = *source;
            TOut result = TFloat.Run(b, b);
            if (Ieee.IsClean(TFloat.Clean, b, b, result))
            {
                Reg.Write(c, op->Dst, result);
                return op[1].Fn(c, op + 1);
            }
        }
        return ToGeneralChecked<TFloat, TIn, TOut>(c, op, source);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToGeneralChecked<TFloat, TIn, TOut>(VcpuState* c, Op* op, TIn* source)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        if (!CheckedFloat.Run<TFloat, TIn, TOut>(c, source, source))
            return Chain.Raise(c, op, Vector.SimdFloatingPoint);
        Reg.Write(c, op->Dst, *(TOut*)CheckedFloat.Result(c));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToFlags<TFloat, TIn, TSource>(VcpuState* c, Op* op)
        where TFloat : struct, IFloat<TIn, uint> where TIn : unmanaged where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(TIn));
        if (!TSource.IsThere(c, place, sizeof(TIn)))
            return TSource.Missed(c, op, sizeof(TIn));
        TIn* source = (TIn*)TSource.At(c, place);
        TIn a = *(TIn*)Xmm.Destination(c, op), b = *source;
        if (Ieee.IsClean<TIn, uint>(TFloat.Clean, a, b, 0))
        {
            FloatCompare.SetOrder(c, a, b);
            return op[1].Fn(c, op + 1);
        }
        return ToFlagsChecked<TFloat, TIn>(c, op, source);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToFlagsChecked<TFloat, TIn>(VcpuState* c, Op* op, TIn* source) where TFloat : struct, IFloat<TIn, uint> where TIn : unmanaged
    {
        if (!CheckedFloat.Run<TFloat, TIn, uint>(c, (TIn*)Xmm.Destination(c, op), source))
            return Chain.Raise(c, op, Vector.SimdFloatingPoint);
        Flags.Set(c, *(uint*)CheckedFloat.Result(c));
        return op[1].Fn(c, op + 1);
    }
}
