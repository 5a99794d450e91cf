using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Which part of the 128-bit operation is the MMX form of the same instruction.</summary>
internal enum MmxPart
{
    /// <summary>The low half, with each operand's 64 bits in both halves.</summary>
    Low,
    /// <summary>The high half, with each operand's 64 bits in both halves.</summary>
    High,
    /// <summary>The low half, when the first operand of the 128-bit form is both operands in a row.</summary>
    Joined,
}

/// <summary>An operation on whole vector registers without flags or exceptions; written once, it serves XMM, MMX and memory operands.</summary>
internal interface IPacked
{
    static virtual MmxPart Mmx => MmxPart.Low;
    static abstract Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate);
}

/// <summary>The handlers of <see cref="IPacked"/> operations.</summary>
internal static unsafe class Packed
{
    /// <summary>Binds an instruction whose second operand is as wide as its first (a third one is an immediate).</summary>
    public static Handler Bind<TPacked>(ref Binding b) where TPacked : struct, IPacked
    {
        b.Dst(0);
        if (b.Instruction.OpCount > 2)
            b.Form(2);
        OperandForm source = b.Source(1);
        if (b.Instruction.Op0Register.IsMM())
            return source switch
            {
                OperandForm.Register => &RunMmx<TPacked, ulong, MmxSource>,
                OperandForm.Immediate => &RunMmx<TPacked, ulong, Immediate>,
                _ when b.Instruction.MemorySize.GetSize() == 4 => &RunMmx<TPacked, uint, Memory<AnyAddress>>,
                _ => &RunMmx<TPacked, ulong, Memory<AnyAddress>>,
            };
        return source switch
        {
            OperandForm.Register => &Run<TPacked, XmmSource>,
            // A shift count; what follows the immediate in the operation takes the place of the bits that shifts ignore.
            OperandForm.Immediate => &Run<TPacked, Immediate>,
            OperandForm.Base => &Run<TPacked, Aligned<BaseAddress>>,
            OperandForm.Index => &Run<TPacked, Aligned<IndexAddress>>,
            _ => &Run<TPacked, Aligned<AnyAddress>>,
        };
    }

    /// <summary>Binds an instruction that reads only the low <typeparamref name="TPart"/> of its source, from memory of any alignment.</summary>
    public static Handler BindPart<TPacked, TPart>(ref Binding b) where TPacked : struct, IPacked where TPart : unmanaged
    {
        b.Dst(0);
        if (b.Instruction.OpCount > 2)
            b.Form(2);
        return b.Source(1) switch
        {
            OperandForm.Register => &RunPart<TPacked, TPart, XmmSource>,
            OperandForm.Base => &RunPart<TPacked, TPart, Memory<BaseAddress>>,
            OperandForm.Index => &RunPart<TPacked, TPart, Memory<IndexAddress>>,
            _ => &RunPart<TPacked, TPart, Memory<AnyAddress>>,
        };
    }

    // In bounds: 16 bytes are read of a register, of a page, or of an operation from its immediate on, which has 24 there.
    [MethodImpl(Chain.Hot)]
    private static nint Run<TPacked, TSource>(VcpuState* c, Op* op) where TPacked : struct, IPacked where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(Vector128<byte>));
        if (!TSource.IsThere(c, place, sizeof(Vector128<byte>)))
            return TSource.Missed(c, op, sizeof(Vector128<byte>));
        Vector128<byte>* source = (Vector128<byte>*)TSource.At(c, place);
        byte* target = Xmm.Destination(c, op);
        Xmm.Write(target, TPacked.Run(Xmm.Read(target), *source, op->Imm));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint RunPart<TPacked, TPart, TSource>(VcpuState* c, Op* op)
        where TPacked : struct, IPacked where TPart : unmanaged where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(TPart));
        if (!TSource.IsThere(c, place, sizeof(TPart)))
            return TSource.Missed(c, op, sizeof(TPart));
        TPart* source = (TPart*)TSource.At(c, place);
        byte* target = Xmm.Destination(c, op);
        Xmm.Write(target, TPacked.Run(Xmm.Read(target), Vector128.CreateScalar(*source).AsByte(), op->Imm));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint RunMmx<TPacked, TPart, TSource>(VcpuState* c, Op* op)
        where TPacked : struct, IPacked where TPart : unmanaged where TSource : struct, ISource
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ulong place = TSource.Place(c, op, sizeof(TPart));
        if (!TSource.IsThere(c, place, sizeof(TPart)))
            return TSource.Missed(c, op, sizeof(TPart));
        TPart* source = (TPart*)TSource.At(c, place);
        ulong a = *Mmx.Register(c, op->Dst), b = sizeof(TPart) == 4 ? *(uint*)source : *(ulong*)source;
        Vector128<byte> first = Vector128.Create(a, TPacked.Mmx == MmxPart.Joined ? b : a).AsByte();
        Vector128<ulong> result = TPacked.Run(first, Vector128.Create(b).AsByte(), op->Imm).AsUInt64();
        Mmx.Write(c, op->Dst, result.GetElement(TPacked.Mmx == MmxPart.High ? 1 : 0));
        return op[1].Fn(c, op + 1);
    }
}
