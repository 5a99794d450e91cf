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
                return Element<float, Dword>(ref b);
            // The string instruction of this name has no vector operand.
            case Mnemonic.Movsd when b.Instruction.Op0Register.IsXMM() || b.Instruction.Op1Register.IsXMM():
                return Element<double, Qword>(ref b);
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
                OperandForm.Base => aligned ? &StoreAligned<BaseAddress> : &StoreWhole<BaseAddress>,
                OperandForm.Index => aligned ? &StoreAligned<IndexAddress> : &StoreWhole<IndexAddress>,
                _ => aligned ? &StoreAligned<AnyAddress> : &StoreWhole<AnyAddress>,
            };
        }
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &Steps.One<Load<XmmSource>>,
            OperandForm.Base => aligned ? &Steps.One<Load<Aligned<BaseAddress>>> : &Steps.One<Load<Memory<BaseAddress>>>,
            OperandForm.Index => aligned ? &Steps.One<Load<Aligned<IndexAddress>>> : &Steps.One<Load<Memory<IndexAddress>>>,
            _ => aligned ? &Steps.One<Load<Aligned<AnyAddress>>> : &Steps.One<Load<Memory<AnyAddress>>>,
        };
    }

    // From a register the rest of the destination stays; from memory it becomes zero.
    private static Handler Element<T, TWidth>(ref Binding b) where T : unmanaged where TWidth : struct, IWidth
    {
        OperandForm destination = b.Form(0);
        if (destination != OperandForm.Register)
        {
            b.Src(1);
            return StoreOf<TWidth>(destination);
        }
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &LoadElement<T>,
            OperandForm.Base => &Steps.One<LoadAlone<TWidth, Memory<BaseAddress>>>,
            OperandForm.Index => &Steps.One<LoadAlone<TWidth, Memory<IndexAddress>>>,
            _ => &Steps.One<LoadAlone<TWidth, Memory<AnyAddress>>>,
        };
    }

    public static Handler StoreOf<TWidth>(OperandForm destination) where TWidth : struct, IWidth => destination switch
    {
        OperandForm.Base => &Steps.One<Store<TWidth, BaseAddress>>,
        OperandForm.Index => &Steps.One<Store<TWidth, IndexAddress>>,
        _ => &Steps.One<Store<TWidth, AnyAddress>>,
    };

    private static Handler Half<THalf>(ref Binding b) where THalf : struct, IHalf
    {
        OperandForm destination = b.Form(0);
        if (destination != OperandForm.Register)
        {
            b.Src(1);
            return THalf.Number == 0 ? StoreOf<Qword>(destination) : &StoreHigh;
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
        public static ulong Place(VcpuState* c, Op* op, int size) => (ulong)(Xmm.Source(c, op) + 8);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool IsThere(VcpuState* c, ulong place, int size) => true;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void* At(VcpuState* c, ulong place) => (void*)place;
    }

    // In bounds: operands of T's size, 16 bytes at most, through ISource, Access and Xmm; the upper half of a register is 8 bytes from its 8th on.
    [MethodImpl(Chain.Hot)]
    private static nint LoadElement<T>(VcpuState* c, Op* op) where T : unmanaged
    {
        Xmm.Write(Xmm.Destination(c, op), *(T*)Xmm.Source(c, op));
        return op[1].Fn(c, op + 1);
    }

    internal readonly struct Load<TSource> : IStep where TSource : struct, ISource
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Run(VcpuState* c, Op* op)
        {
            ulong place = TSource.Place(c, op, 16);
            if (!TSource.IsThere(c, place, 16))
                return false;
            Xmm.Write(Xmm.Destination(c, op), *(Vector128<byte>*)TSource.At(c, place));
            return true;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Otherwise(VcpuState* c, Op* op) => TSource.Missed(c, op, 16);
    }

    /// <summary>Loads the lowest element and clears the rest.</summary>
    internal readonly struct LoadAlone<TWidth, TSource> : IStep where TWidth : struct, IWidth where TSource : struct, ISource
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Run(VcpuState* c, Op* op)
        {
            ulong place = TSource.Place(c, op, TWidth.Size);
            if (!TSource.IsThere(c, place, TWidth.Size))
                return false;
            byte* target = Xmm.Destination(c, op);
            if (TWidth.Size == 8)
                Xmm.Write(target, Vector128.CreateScalar(*(double*)TSource.At(c, place)));
            else
                Xmm.Write(target, Vector128.CreateScalar(*(float*)TSource.At(c, place)));
            return true;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Otherwise(VcpuState* c, Op* op) => TSource.Missed(c, op, TWidth.Size);
    }

    [MethodImpl(Chain.Hot)]
    private static nint LoadHalf<THalf, TSource>(VcpuState* c, Op* op) where THalf : struct, IHalf where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(ulong));
        if (!TSource.IsThere(c, place, sizeof(ulong)))
            return TSource.Missed(c, op, sizeof(ulong));
        ulong* source = (ulong*)TSource.At(c, place);
        byte* target = Xmm.Destination(c, op);
        Xmm.Write(target, Xmm.Read(target).AsUInt64().WithElement(THalf.Number, *source));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreWhole<TAddress>(VcpuState* c, Op* op) where TAddress : struct, IAddress
    {
        var source = (Vector128<byte>*)Xmm.Source(c, op);
        if (TAddress.IsQuick)
            return Access.Poke(c, TAddress.Of(c, op), *source) ? op[1].Fn(c, op + 1) : Chain.Missed(c, op, 16, store: true, aligned: false);
        return VectorAccess.Store(c, TAddress.Of(c, op), source) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);
    }

    /// <summary>Stores the lowest element.</summary>
    internal readonly struct Store<TWidth, TAddress> : IStep where TWidth : struct, IWidth where TAddress : struct, IAddress
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static bool Run(VcpuState* c, Op* op)
        {
            byte* source = Xmm.Source(c, op);
            ulong address = TAddress.Of(c, op);
            if (TWidth.Size == 8)
                return TAddress.IsQuick ? Access.Poke(c, address, *(double*)source) : VectorAccess.Store(c, address, (double*)source);
            return TAddress.IsQuick ? Access.Poke(c, address, *(float*)source) : VectorAccess.Store(c, address, (float*)source);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static nint Otherwise(VcpuState* c, Op* op)
            => TAddress.IsQuick ? Chain.Missed(c, op, TWidth.Size, store: true, aligned: false) : Chain.Fault(c, op);
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
