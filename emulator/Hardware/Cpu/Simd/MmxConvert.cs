using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Conversions between MMX and vector registers. Rare, so they always take the checked path.</summary>
internal static unsafe class MmxConvert
{
    // In bounds: 16 bytes of the scratch memory, before CheckedFloat's places; operands as in Float.
    private const int Operand = 16;

    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            // From memory these two do not touch the x87 state; the manual says so of CVTPI2PD only, processors do it for both.
            case Mnemonic.Cvtpi2ps:
                b.Dst(0);
                return b.Source(1) == OperandForm.Register ? &ToSingles<MmxSource> : &ToSingles<Memory<AnyAddress>>;
            case Mnemonic.Cvtpi2pd:
                b.Dst(0);
                return b.Source(1) == OperandForm.Register ? &ToDoubles<MmxSource> : &ToDoubles<Memory<AnyAddress>>;
            case Mnemonic.Cvtps2pi:
                return ToIntegers<FloatConvert.ToInteger, Vector128<float>, ulong>(ref b);
            case Mnemonic.Cvttps2pi:
                return ToIntegers<FloatConvert.Truncate, Vector128<float>, ulong>(ref b);
            case Mnemonic.Cvtpd2pi:
                return ToIntegers<FloatConvert.ToInteger, Vector128<double>, Vector128<ulong>>(ref b);
            case Mnemonic.Cvttpd2pi:
                return ToIntegers<FloatConvert.Truncate, Vector128<double>, Vector128<ulong>>(ref b);
            default:
                return null;
        }
    }

    private static Handler ToIntegers<TFloat, TIn, TPart>(ref Binding b)
        where TFloat : struct, IFloat<TIn, Vector128<int>> where TIn : unmanaged where TPart : unmanaged
    {
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &ToIntegers<TFloat, TIn, TPart, XmmSource>,
            _ when sizeof(TPart) == 16 => &ToIntegers<TFloat, TIn, TPart, Aligned<AnyAddress>>,
            _ => &ToIntegers<TFloat, TIn, TPart, Memory<AnyAddress>>,
        };
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToIntegers<TFloat, TIn, TPart, TSource>(VcpuState* c, Op* op)
        where TFloat : struct, IFloat<TIn, Vector128<int>> where TIn : unmanaged where TPart : unmanaged where TSource : struct, ISource
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ulong place = TSource.Place(c, op, sizeof(TPart));
        if (!TSource.IsThere(c, place, sizeof(TPart)))
            return TSource.Missed(c, op, sizeof(TPart));
        TPart* source = (TPart*)TSource.At(c, place);
        TPart part = *source;
        // Also when the conversion raises an exception.
        Mmx.Enter(c);
        var operand = (Vector128<ulong>*)(c->Bounce + Operand);
        *operand = default;
        *(TPart*)operand = part;
        if (!CheckedFloat.Run<TFloat, TIn, Vector128<int>>(c, (TIn*)operand, (TIn*)operand))
            return Chain.Raise(c, op, Vector.SimdFloatingPoint);
        Mmx.Write(c, op->Dst, *(ulong*)CheckedFloat.Result(c));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToSingles<TSource>(VcpuState* c, Op* op) where TSource : struct, ISource
    {
        if (!TSource.Faults && Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ulong place = TSource.Place(c, op, sizeof(ulong));
        if (!TSource.IsThere(c, place, sizeof(ulong)))
            return TSource.Missed(c, op, sizeof(ulong));
        ulong* source = (ulong*)TSource.At(c, place);
        ulong integers = *source;
        if (!TSource.Faults)
            Mmx.Enter(c);
        var operand = (Vector128<int>*)(c->Bounce + Operand);
        *operand = Vector128.CreateScalar(integers).AsInt32();
        if (!CheckedFloat.Run<FloatConvert.FromInteger, Vector128<int>, Vector128<float>>(c, operand, operand))
            return Chain.Raise(c, op, Vector.SimdFloatingPoint);
        Xmm.Write(Xmm.Destination(c, op), *(ulong*)CheckedFloat.Result(c));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToDoubles<TSource>(VcpuState* c, Op* op) where TSource : struct, ISource
    {
        if (!TSource.Faults && Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ulong place = TSource.Place(c, op, sizeof(ulong));
        if (!TSource.IsThere(c, place, sizeof(ulong)))
            return TSource.Missed(c, op, sizeof(ulong));
        int* source = (int*)TSource.At(c, place);
        Xmm.Write(Xmm.Destination(c, op), Vector128.Create((double)source[0], source[1]));
        if (!TSource.Faults)
            Mmx.Enter(c);
        return op[1].Fn(c, op + 1);
    }
}
