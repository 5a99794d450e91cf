using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Moves to and from MMX registers, and EMMS.</summary>
internal static unsafe class MmxMoves
{
    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Emms:
                return &Empty;
            case Mnemonic.Movd or Mnemonic.Movq or Mnemonic.Movntq when b.Instruction.Op0Register.IsMM() || b.Instruction.Op1Register.IsMM():
                return b.Size(b.Instruction.Op0Register.IsMM() ? 1 : 0) == 4 ? Move<uint>(ref b) : Move<ulong>(ref b);
            case Mnemonic.Movq2dq:
                b.Dst(0);
                b.Src(1);
                return &ToVector;
            case Mnemonic.Movdq2q:
                b.Dst(0);
                b.Src(1);
                return &Load<ulong, XmmSource>;
            case Mnemonic.Pmovmskb when b.Instruction.Op1Register.IsMM():
                b.Dst(0);
                b.Src(1);
                return &SignMask;
            case Mnemonic.Pinsrw when b.Instruction.Op0Register.IsMM():
                b.Dst(0);
                b.Form(2);
                return b.Source(1) == OperandForm.Register ? &InsertWord<SourceRegister> : &InsertWord<Memory<AnyAddress>>;
            case Mnemonic.Pextrw when b.Instruction.Op1Register.IsMM():
                b.Dst(0);
                b.Src(1);
                b.Form(2);
                return &ExtractWord;
            case Mnemonic.Maskmovq:
                ElementMoves.StringAddress(ref b);
                return &StoreMasked;
            default:
                return null;
        }
    }

    private static Handler Move<T>(ref Binding b) where T : unmanaged
    {
        if (b.Instruction.Op0Register.IsMM())
        {
            b.Dst(0);
            return b.Source(1) switch
            {
                OperandForm.Register when b.Instruction.Op1Register.IsMM() => &Load<T, MmxSource>,
                OperandForm.Register => &Load<T, SourceRegister>,
                _ => &Load<T, Memory<AnyAddress>>,
            };
        }
        b.Src(1);
        if (b.Form(0) != OperandForm.Register)
            return &Store<T>;
        b.Dst(0);
        return &ToGeneral<T>;
    }

    // In bounds: registers through Mmx and Xmm, memory through ISource; words are chosen by two bits of an immediate.
    [MethodImpl(Chain.Hot)]
    private static nint Empty(VcpuState* c, Op* op)
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        Mmx.Enter(c);
        c->Registers.X87.Valid = 0;
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Load<T, TSource>(VcpuState* c, Op* op) where T : unmanaged where TSource : struct, ISource
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        Mmx.Write(c, op->Dst, sizeof(T) == 4 ? *(uint*)source : *(ulong*)source);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Store<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        // A store that faults has moved TOP already, but not the tags.
        Mmx.ClearTop(c);
        if (!VectorAccess.Store(c, AnyAddress.Of(c, op), (T*)Mmx.Register(c, op->Src)))
            return Chain.Fault(c, op);
        Mmx.Enter(c);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToGeneral<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        Mmx.Enter(c);
        Reg.Write(c, op->Dst, *(T*)Mmx.Register(c, op->Src));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToVector(VcpuState* c, Op* op)
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        Mmx.Enter(c);
        Xmm.Write(Xmm.Destination(c, op), Vector128.CreateScalar(*Mmx.Register(c, op->Src)));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint SignMask(VcpuState* c, Op* op)
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        Mmx.Enter(c);
        Reg.Write(c, op->Dst, (ulong)Vector128.CreateScalar(*Mmx.Register(c, op->Src)).AsByte().ExtractMostSignificantBits());
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint InsertWord<TSource>(VcpuState* c, Op* op) where TSource : struct, ISource
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        ulong place = TSource.Place(c, op, sizeof(ushort));
        if (!TSource.IsThere(c, place, sizeof(ushort)))
            return TSource.Missed(c, op, sizeof(ushort));
        ushort* source = (ushort*)TSource.At(c, place);
        int shift = ((int)op->Imm & 3) * 16;
        Mmx.Write(c, op->Dst, (*Mmx.Register(c, op->Dst) & ~(0xFFFFUL << shift)) | ((ulong)*source << shift));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ExtractWord(VcpuState* c, Op* op)
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        Mmx.Enter(c);
        Reg.Write(c, op->Dst, (ulong)(ushort)(*Mmx.Register(c, op->Src) >> (((int)op->Imm & 3) * 16)));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreMasked(VcpuState* c, Op* op)
    {
        if (Mmx.Pending(c))
            return Chain.Raise(c, op, Vector.FloatingPoint);
        Mmx.Enter(c);
        if (!ElementMoves.StoreMasked(c, AnyAddress.Of(c, op), (byte*)Mmx.Register(c, op->Dst), (byte*)Mmx.Register(c, op->Src), 8))
            return Chain.Fault(c, op);
        return op[1].Fn(c, op + 1);
    }
}
