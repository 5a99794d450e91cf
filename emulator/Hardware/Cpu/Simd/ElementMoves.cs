using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Moves of elements between vector, MMX and general registers and memory, sign masks, PTEST, INSERTPS.</summary>
internal static unsafe class ElementMoves
{
    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Movd or Mnemonic.Movq:
                bool mmx = b.Instruction.Op0Register.IsMM() || b.Instruction.Op1Register.IsMM();
                return mmx ? null : b.Size(b.Instruction.Op0Register.IsXMM() ? 1 : 0) == 4 ? Move<uint, Dword>(ref b) : Move<ulong, Qword>(ref b);
            case Mnemonic.Movnti:
                b.Src(1);
                b.Form(0);
                return b.Size(1) == 4 ? &StoreGeneral<uint> : &StoreGeneral<ulong>;
            case Mnemonic.Movmskps:
                return Mask<float>(ref b);
            case Mnemonic.Movmskpd:
                return Mask<double>(ref b);
            case Mnemonic.Pmovmskb when b.Instruction.Op1Register.IsXMM():
                return Mask<byte>(ref b);
            case Mnemonic.Pinsrb:
                return Insert<byte>(ref b);
            case Mnemonic.Pinsrw when b.Instruction.Op0Register.IsXMM():
                return Insert<ushort>(ref b);
            case Mnemonic.Pinsrd:
                return Insert<uint>(ref b);
            case Mnemonic.Pinsrq:
                return Insert<ulong>(ref b);
            case Mnemonic.Pextrb:
                return Extract<byte>(ref b);
            case Mnemonic.Pextrw when b.Instruction.Op1Register.IsXMM():
                return Extract<ushort>(ref b);
            case Mnemonic.Pextrd or Mnemonic.Extractps:
                return Extract<uint>(ref b);
            case Mnemonic.Pextrq:
                return Extract<ulong>(ref b);
            case Mnemonic.Insertps:
                b.Dst(0);
                b.Form(2);
                return b.Source(1) == OperandForm.Register ? &InsertSingle<XmmSource> : &InsertSingle<Memory<AnyAddress>>;
            case Mnemonic.Ptest:
                b.Dst(0);
                return b.Source(1) switch
                {
                    OperandForm.Register => &Test<XmmSource>,
                    OperandForm.Base => &Test<Aligned<BaseAddress>>,
                    OperandForm.Index => &Test<Aligned<IndexAddress>>,
                    _ => &Test<Aligned<AnyAddress>>,
                };
            case Mnemonic.Maskmovdqu:
                StringAddress(ref b);
                return &StoreMasked<XmmSource>;
            default:
                return null;
        }
    }

    /// <summary>Names DS:RDI (or another segment, or EDI) as the memory operand, and the two register operands.</summary>
    public static void StringAddress(ref Binding b)
    {
        b.Dst(1);
        b.Src(2);
        b.Accesses++;
        b.Op->Base = VcpuRegisters.Rdi * 8;
        b.Op->Index = RegisterOffset.None;
        b.Op->Scale = b.Instruction.Op0Kind == OpKind.MemorySegEDI ? AnyAddress.Address32 : (byte)0;
        b.Op->Seg = b.Instruction.MemorySegment switch
        {
            Register.FS => RegisterOffset.FsBase,
            Register.GS => RegisterOffset.GsBase,
            _ => RegisterOffset.None,
        };
    }

    // In bounds: immediates that choose an element are masked to the number of elements, when the instruction is bound or when it runs; masks choose whether a byte is stored, not where.
    private static Handler Move<T, TWidth>(ref Binding b) where T : unmanaged where TWidth : struct, IWidth
    {
        if (b.Instruction.Op0Register.IsXMM())
        {
            b.Dst(0);
            return b.Source(1) switch
            {
                OperandForm.Register when b.Instruction.Op1Register.IsXMM() => &Steps.One<VectorMoves.LoadAlone<TWidth, XmmSource>>,
                OperandForm.Register => &Steps.One<VectorMoves.LoadAlone<TWidth, SourceRegister>>,
                OperandForm.Base => &Steps.One<VectorMoves.LoadAlone<TWidth, Memory<BaseAddress>>>,
                OperandForm.Index => &Steps.One<VectorMoves.LoadAlone<TWidth, Memory<IndexAddress>>>,
                _ => &Steps.One<VectorMoves.LoadAlone<TWidth, Memory<AnyAddress>>>,
            };
        }
        b.Src(1);
        OperandForm destination = b.Form(0);
        if (destination != OperandForm.Register)
            return VectorMoves.StoreOf<TWidth>(destination);
        b.Dst(0);
        return &ToGeneral<T>;
    }

    private static Handler Mask<T>(ref Binding b) where T : unmanaged
    {
        b.Dst(0);
        b.Src(1);
        return &SignMask<T>;
    }

    private static Handler Insert<T>(ref Binding b) where T : unmanaged, IBinaryInteger<T>
    {
        b.Dst(0);
        b.Form(2);
        return b.Source(1) == OperandForm.Register ? &InsertElement<T, SourceRegister> : &InsertElement<T, Memory<AnyAddress>>;
    }

    private static Handler Extract<T>(ref Binding b) where T : unmanaged
    {
        b.Src(1);
        b.Form(2);
        b.Op->Imm = (b.Op->Imm & (16 / sizeof(T) - 1)) * sizeof(T);
        if (b.Form(0) != OperandForm.Register)
            return &ExtractToMemory<T>;
        b.Dst(0);
        return &ExtractToRegister<T>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint ToGeneral<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        Reg.Write(c, op->Dst, *(T*)Xmm.Source(c, op));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreGeneral<T>(VcpuState* c, Op* op) where T : unmanaged
        => Access.Write(c, AnyAddress.Of(c, op), Reg.Read<T>(c, op->Src)) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(Chain.Hot)]
    private static nint SignMask<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        Reg.Write(c, op->Dst, (ulong)(*(Vector128<T>*)Xmm.Source(c, op)).ExtractMostSignificantBits());
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint InsertElement<T, TSource>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        byte* target = Xmm.Destination(c, op);
        Vector128<T> element = Vector128.Equals(Vector128<T>.Indices, Vector128.Create(T.CreateTruncating(op->Imm & (16 / sizeof(T) - 1))));
        Xmm.Write(target, Vector128.ConditionalSelect(element, Vector128.Create(*source), Xmm.Read(target).As<byte, T>()));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ExtractToRegister<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        byte* element = Xmm.Source(c, op) + op->Imm;
        Reg.Write(c, op->Dst, sizeof(T) switch { 1 => *element, 2 => *(ushort*)element, 4 => *(uint*)element, _ => *(ulong*)element });
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint ExtractToMemory<T>(VcpuState* c, Op* op) where T : unmanaged
        => VectorAccess.Store(c, AnyAddress.Of(c, op), (T*)(Xmm.Source(c, op) + op->Imm)) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    /// <summary>INSERTPS: the immediate chooses the source element (of a register), the destination element, and elements to clear.</summary>
    [MethodImpl(Chain.Hot)]
    private static nint InsertSingle<TSource>(VcpuState* c, Op* op) where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(uint));
        if (!TSource.IsThere(c, place, sizeof(uint)))
            return TSource.Missed(c, op, sizeof(uint));
        uint* source = (uint*)TSource.At(c, place);
        uint value = TSource.Faults ? *source : source[(op->Imm >> 6) & 3];
        byte* target = Xmm.Destination(c, op);
        Vector128<uint> bits = Vector128.Create(1u, 2, 4, 8);
        Vector128<uint> element = Vector128.Equals(Vector128<uint>.Indices, Vector128.Create((uint)(op->Imm >> 4) & 3));
        Vector128<uint> inserted = Vector128.ConditionalSelect(element, Vector128.Create(value), Xmm.Read(target).AsUInt32());
        Xmm.Write(target, Vector128.AndNot(inserted, Vector128.Equals(Vector128.Create((uint)op->Imm) & bits, bits)));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Test<TSource>(VcpuState* c, Op* op) where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(Vector128<byte>));
        if (!TSource.IsThere(c, place, sizeof(Vector128<byte>)))
            return TSource.Missed(c, op, sizeof(Vector128<byte>));
        Vector128<byte>* source = (Vector128<byte>*)TSource.At(c, place);
        Vector128<byte> a = Xmm.Read(Xmm.Destination(c, op)), b = *source;
        Flags.Set(c, ((a & b) == default ? Flags.Zero : 0) | ((~a & b) == default ? Flags.Carry : 0));
        return op[1].Fn(c, op + 1);
    }

    /// <summary>MASKMOVDQU: bytes whose mask byte has its sign bit set are stored.</summary>
    [MethodImpl(Chain.Hot)]
    private static nint StoreMasked<TSource>(VcpuState* c, Op* op) where TSource : struct, ISource
        => StoreMasked(c, AnyAddress.Of(c, op), Xmm.Destination(c, op), (byte*)TSource.At(c, TSource.Place(c, op, sizeof(Vector128<byte>))), 16)
            ? op[1].Fn(c, op + 1)
            : Chain.Fault(c, op);

    /// <summary>
    /// Stores the chosen bytes. Processors check 8 bytes at a time, the upper ones first and whether chosen or not; so a fault leaves memory as it was.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool StoreMasked(VcpuState* c, ulong address, byte* data, byte* mask, int count)
    {
        for (int i = count - 8; i >= 0; i -= 8)
            if (Access.Modify<ulong>(c, address + (ulong)i) == null)
                return false;
        for (int i = 0; i < count; i++)
            if ((mask[i] & 0x80) != 0 && !Access.Write(c, address + (ulong)i, data[i]))
                return false;
        return true;
    }
}
