using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Moves of whole vector registers and of their halves and lowest elements; MXCSR to and from memory.</summary>
internal static unsafe class VectorMoves
{
    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Movaps or Mnemonic.Movapd or Mnemonic.Movdqa or Mnemonic.Movntps or Mnemonic.Movntpd or Mnemonic.Movntdq or Mnemonic.Movntdqa:
                return Whole(ref b, aligned: true);
            case Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqu or Mnemonic.Lddqu:
                return Whole(ref b, aligned: false);
            case Mnemonic.Movss:
                return Element<float>(ref b);
            // The string instruction of this name has no vector operand.
            case Mnemonic.Movsd when b.Instruction.Op0Register.IsXMM() || b.Instruction.Op1Register.IsXMM():
                return Element<double>(ref b);
            case Mnemonic.Movlps or Mnemonic.Movlpd:
                return Half<LowHalf>(ref b);
            case Mnemonic.Movhps or Mnemonic.Movhpd:
                return Half<HighHalf>(ref b);
            case Mnemonic.Movlhps:
                b.Dst(0);
                b.Src(1);
                return &LoadHalf<HighHalf, XmmSource>;
            case Mnemonic.Movhlps:
                b.Dst(0);
                b.Src(1);
                return &LoadHalf<LowHalf, XmmHighSource>;
            case Mnemonic.Ldmxcsr:
                b.Form(0);
                return &LoadMxcsr;
            case Mnemonic.Stmxcsr:
                b.Form(0);
                return &StoreMxcsr;
            default:
                return null;
        }
    }

    private static Handler Whole(ref Binding b, bool aligned)
    {
        OperandForm destination = b.Form(0);
        if (destination != OperandForm.Register)
        {
            b.Src(1);
            return destination switch
            {
                OperandForm.Base => aligned ? &StoreAligned<BaseAddress> : &Store<Vector128<byte>, BaseAddress>,
                OperandForm.Index => aligned ? &StoreAligned<IndexAddress> : &Store<Vector128<byte>, IndexAddress>,
                _ => aligned ? &StoreAligned<AnyAddress> : &Store<Vector128<byte>, AnyAddress>,
            };
        }
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &Load<Vector128<byte>, XmmSource>,
            OperandForm.Base => aligned ? &Load<Vector128<byte>, Aligned<BaseAddress>> : &Load<Vector128<byte>, Memory<BaseAddress>>,
            OperandForm.Index => aligned ? &Load<Vector128<byte>, Aligned<IndexAddress>> : &Load<Vector128<byte>, Memory<IndexAddress>>,
            _ => aligned ? &Load<Vector128<byte>, Aligned<AnyAddress>> : &Load<Vector128<byte>, Memory<AnyAddress>>,
        };
    }

    // From a register the rest of the destination stays; from memory it becomes zero.
    private static Handler Element<T>(ref Binding b) where T : unmanaged
    {
        OperandForm destination = b.Form(0);
        if (destination != OperandForm.Register)
        {
            b.Src(1);
            return StoreOf<T>(destination);
        }
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &Load<T, XmmSource>,
            OperandForm.Base => &LoadAlone<T, Memory<BaseAddress>>,
            OperandForm.Index => &LoadAlone<T, Memory<IndexAddress>>,
            _ => &LoadAlone<T, Memory<AnyAddress>>,
        };
    }

    public static Handler StoreOf<T>(OperandForm destination) where T : unmanaged => destination switch
    {
        OperandForm.Base => &Store<T, BaseAddress>,
        OperandForm.Index => &Store<T, IndexAddress>,
        _ => &Store<T, AnyAddress>,
    };

    private static Handler Half<THalf>(ref Binding b) where THalf : struct, IHalf
    {
        OperandForm destination = b.Form(0);
        if (destination != OperandForm.Register)
        {
            b.Src(1);
            return THalf.Number == 0 ? StoreOf<ulong>(destination) : &StoreHigh;
        }
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Base => &LoadHalf<THalf, Memory<BaseAddress>>,
            OperandForm.Index => &LoadHalf<THalf, Memory<IndexAddress>>,
            _ => &LoadHalf<THalf, Memory<AnyAddress>>,
        };
    }

    private interface IHalf
    {
        static abstract int Number { get; }
    }

    private readonly struct LowHalf : IHalf
    {
        public static int Number => 0;
    }

    private readonly struct HighHalf : IHalf
    {
        public static int Number => 1;
    }

    private readonly struct XmmHighSource : ISource
    {
        public static bool Faults => false;
        public static nint Missed(VcpuState* c, Op* op, int size) => Chain.Fault(c, op);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void* Pointer(VcpuState* c, Op* op, int size) => Xmm.Source(c, op) + 8;
    }

    // In bounds: operands of T's size, 16 bytes at most, through ISource, Access and Xmm; the upper half of a register is 8 bytes from its 8th on.
    [MethodImpl(Chain.Hot)]
    private static nint Load<T, TSource>(VcpuState* c, Op* op) where T : unmanaged where TSource : struct, ISource
    {
        T* source = (T*)TSource.Pointer(c, op, sizeof(T));
        if (TSource.Faults && source == null)
            return TSource.Missed(c, op, sizeof(T));
        Xmm.Write(Xmm.Destination(c, op), *source);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>Loads the lowest element and clears the rest.</summary>
    [MethodImpl(Chain.Hot)]
    public static nint LoadAlone<T, TSource>(VcpuState* c, Op* op) where T : unmanaged where TSource : struct, ISource
    {
        T* source = (T*)TSource.Pointer(c, op, sizeof(T));
        if (TSource.Faults && source == null)
            return TSource.Missed(c, op, sizeof(T));
        Xmm.Write(Xmm.Destination(c, op), Vector128.CreateScalar(*source));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint LoadHalf<THalf, TSource>(VcpuState* c, Op* op) where THalf : struct, IHalf where TSource : struct, ISource
    {
        ulong* source = (ulong*)TSource.Pointer(c, op, sizeof(ulong));
        if (TSource.Faults && source == null)
            return TSource.Missed(c, op, sizeof(ulong));
        byte* target = Xmm.Destination(c, op);
        Xmm.Write(target, Xmm.Read(target).AsUInt64().WithElement(THalf.Number, *source));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Store<T, TAddress>(VcpuState* c, Op* op) where T : unmanaged where TAddress : struct, IAddress
    {
        T* source = (T*)Xmm.Source(c, op);
        if (TAddress.IsQuick)
            return Access.Poke(c, TAddress.Of(c, op), *source) ? op[1].Fn(c, op + 1) : Chain.Missed(c, op, sizeof(T), store: true, aligned: false);
        return VectorAccess.Store(c, TAddress.Of(c, op), source) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreAligned<TAddress>(VcpuState* c, Op* op) where TAddress : struct, IAddress
    {
        byte* source = Xmm.Source(c, op);
        if (TAddress.IsQuick)
            return VectorAccess.PokeAligned(c, TAddress.Of(c, op), source) ? op[1].Fn(c, op + 1) : Chain.Missed(c, op, 16, store: true, aligned: true);
        return VectorAccess.StoreAligned(c, TAddress.Of(c, op), source) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreHigh(VcpuState* c, Op* op)
        => VectorAccess.Store(c, AnyAddress.Of(c, op), (ulong*)(Xmm.Source(c, op) + 8)) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(Chain.Hot)]
    private static nint LoadMxcsr(VcpuState* c, Op* op)
    {
        uint* source = Access.Read<uint>(c, AnyAddress.Of(c, op));
        if (source == null)
            return Chain.Fault(c, op);
        uint value = *source;
        if ((value & ~Mxcsr.Defined) != 0)
            return Chain.Raise(c, op, Vector.GeneralProtection);
        c->Registers.Mxcsr = value;
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreMxcsr(VcpuState* c, Op* op)
        => Access.Write(c, AnyAddress.Of(c, op), c->Registers.Mxcsr) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
}
