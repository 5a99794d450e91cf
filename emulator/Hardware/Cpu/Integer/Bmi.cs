using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>BMI1, BMI2 and ADX.</summary>
internal static unsafe class Bmi
{
    public static Handler Bind(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Andn => Three<Andn>(ref b, 1, 2),
        Mnemonic.Bextr when b.Instruction.Encoding == EncodingKind.VEX => Three<Bextr>(ref b, 2, 1),
        Mnemonic.Bzhi => Three<Bzhi>(ref b, 2, 1),
        Mnemonic.Sarx => Three<Sarx>(ref b, 2, 1),
        Mnemonic.Shlx => Three<Shlx>(ref b, 2, 1),
        Mnemonic.Shrx => Three<Shrx>(ref b, 2, 1),
        Mnemonic.Pdep => Three<Pdep>(ref b, 1, 2),
        Mnemonic.Pext => Three<Pext>(ref b, 1, 2),
        Mnemonic.Blsi => Two<Blsi>(ref b),
        Mnemonic.Blsr => Two<Blsr>(ref b),
        Mnemonic.Blsmsk => Two<Blsmsk>(ref b),
        Mnemonic.Rorx => Rorx(ref b),
        Mnemonic.Mulx => Mulx(ref b),
        Mnemonic.Adcx => AddCarry(ref b, Flags.Carry),
        Mnemonic.Adox => AddCarry(ref b, Flags.Overflow),
        _ => null,
    };

    // In bounds: operands as in Alu; start, length and count of a bit field are numbers up to 255 that shifts mask or that are compared with the width.
    /// <summary>An operation of a register (its number in <see cref="Op.Aux"/>) and a register or memory operand.</summary>
    private interface IThree
    {
        static abstract T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>;
    }

    private static Handler Three<TOperation>(ref Binding b, int register, int source) where TOperation : struct, IThree
    {
        b.Dst(0);
        b.Op->Aux = Binding.Offset(b.Instruction.GetOpRegister(register));
        bool memory = b.Source(source) != OperandForm.Register;
        return b.Size(0) == 8
            ? memory ? &Three<TOperation, ulong, Memory<AnyAddress>> : &Three<TOperation, ulong, SourceRegister>
            : memory ? &Three<TOperation, uint, Memory<AnyAddress>> : &Three<TOperation, uint, SourceRegister>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Three<TOperation, T, TSource>(VcpuState* c, Op* op)
        where TOperation : struct, IThree where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        Reg.Write(c, op->Dst, TOperation.Run(c, Reg.Read<T>(c, op->Aux), *source));
        return op[1].Fn(c, op + 1);
    }

    private static Handler Two<TOperation>(ref Binding b) where TOperation : struct, IThree
    {
        b.Dst(0);
        b.Op->Aux = RegisterOffset.None;
        bool memory = b.Source(1) != OperandForm.Register;
        return b.Size(0) == 8
            ? memory ? &Three<TOperation, ulong, Memory<AnyAddress>> : &Three<TOperation, ulong, SourceRegister>
            : memory ? &Three<TOperation, uint, Memory<AnyAddress>> : &Three<TOperation, uint, SourceRegister>;
    }

    /// <summary>SF and ZF from the result, CF as given, OF clear.</summary>
    private static void SetFlags<T>(VcpuState* c, T result, bool carry) where T : unmanaged, IBinaryInteger<T>
    {
        Flags.SetLogic(c, result);
        if (carry)
            c->Registers.FlagCarries = Flags.CarryBit | Flags.IntoSignBit;
    }

    private readonly struct Andn : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
        {
            T r = ~register & source;
            SetFlags(c, r, false);
            return r;
        }
    }

    private readonly struct Bextr : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
        {
            int start = byte.CreateTruncating(register), length = byte.CreateTruncating(register >>> 8);
            ulong value = start >= sizeof(T) * 8 ? 0 : ulong.CreateTruncating(source) >> start;
            T r = T.CreateTruncating(length >= 64 ? value : value & ((1UL << length) - 1));
            SetFlags(c, r, false);
            return r;
        }
    }

    private readonly struct Bzhi : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
        {
            int length = byte.CreateTruncating(register), bits = sizeof(T) * 8;
            T r = length >= bits ? source : source & ((T.One << length) - T.One);
            SetFlags(c, r, length >= bits);
            return r;
        }
    }

    private readonly struct Sarx : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
            => T.CreateTruncating(Flags.SignExtend(source) >> (int.CreateTruncating(register) & (sizeof(T) * 8 - 1)));
    }

    private readonly struct Shlx : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
            => source << (int.CreateTruncating(register) & (sizeof(T) * 8 - 1));
    }

    private readonly struct Shrx : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
            => source >>> (int.CreateTruncating(register) & (sizeof(T) * 8 - 1));
    }

    private readonly struct Pdep : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
        {
            ulong value = ulong.CreateTruncating(register), mask = ulong.CreateTruncating(source);
            if (Bmi2.X64.IsSupported)
                return T.CreateTruncating(Bmi2.X64.ParallelBitDeposit(value, mask));
            ulong r = 0;
            for (; mask != 0; mask &= mask - 1, value >>= 1)
                r |= (value & 1) * (mask & (0 - mask));
            return T.CreateTruncating(r);
        }
    }

    private readonly struct Pext : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
        {
            ulong value = ulong.CreateTruncating(register), mask = ulong.CreateTruncating(source);
            if (Bmi2.X64.IsSupported)
                return T.CreateTruncating(Bmi2.X64.ParallelBitExtract(value, mask));
            ulong r = 0;
            for (int i = 0; mask != 0; mask &= mask - 1, i++)
                r |= (value >> BitOperations.TrailingZeroCount(mask) & 1) << i;
            return T.CreateTruncating(r);
        }
    }

    private readonly struct Blsi : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
        {
            T r = source & (T.Zero - source);
            SetFlags(c, r, source != T.Zero);
            return r;
        }
    }

    private readonly struct Blsr : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
        {
            T r = source & (source - T.One);
            SetFlags(c, r, source == T.Zero);
            return r;
        }
    }

    private readonly struct Blsmsk : IThree
    {
        public static T Run<T>(VcpuState* c, T register, T source) where T : unmanaged, IBinaryInteger<T>
        {
            T r = source ^ (source - T.One);
            SetFlags(c, r, source == T.Zero);
            return r;
        }
    }

    private static Handler Rorx(ref Binding b)
    {
        b.Dst(0);
        b.Form(2);
        bool memory = b.Source(1) != OperandForm.Register;
        return b.Size(0) == 8
            ? memory ? &Rorx<ulong, Memory<AnyAddress>> : &Rorx<ulong, SourceRegister>
            : memory ? &Rorx<uint, Memory<AnyAddress>> : &Rorx<uint, SourceRegister>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Rorx<T, TSource>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        Reg.Write(c, op->Dst, T.RotateRight(*source, (int)op->Imm));
        return op[1].Fn(c, op + 1);
    }

    private static Handler Mulx(ref Binding b)
    {
        b.Dst(0);
        b.Op->Aux = Binding.Offset(b.Instruction.Op1Register);
        bool memory = b.Source(2) != OperandForm.Register;
        return b.Size(0) == 8
            ? memory ? &Mulx<ulong, Memory<AnyAddress>> : &Mulx<ulong, SourceRegister>
            : memory ? &Mulx<uint, Memory<AnyAddress>> : &Mulx<uint, SourceRegister>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Mulx<T, TSource>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        MultiplyWide(c, op, source);
        return op[1].Fn(c, op + 1);
    }

    // Out of line: a 128-bit product lives on the stack, which would forbid the handler's tail call.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void MultiplyWide<T>(VcpuState* c, Op* op, T* source) where T : unmanaged, IBinaryInteger<T>
    {
        UInt128 product = UInt128.CreateTruncating(*source) * UInt128.CreateTruncating(Reg.Read<T>(c, VcpuRegisters.Rdx * 8));
        // The low half first: with equal destinations the high half stays (SDM vol. 2, MULX).
        Reg.Write(c, op->Aux, T.CreateTruncating(product));
        Reg.Write(c, op->Dst, T.CreateTruncating(product >> (sizeof(T) * 8)));
    }

    private static Handler AddCarry(ref Binding b, ulong flag)
    {
        b.Dst(0);
        b.Op->Imm = (long)flag;
        bool memory = b.Source(1) != OperandForm.Register;
        return b.Size(0) == 8
            ? memory ? &AddCarry<ulong, Memory<AnyAddress>> : &AddCarry<ulong, SourceRegister>
            : memory ? &AddCarry<uint, Memory<AnyAddress>> : &AddCarry<uint, SourceRegister>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint AddCarry<T, TSource>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        ulong flag = (ulong)op->Imm;
        UInt128 sum = UInt128.CreateTruncating(*source) + UInt128.CreateTruncating(Reg.Read<T>(c, op->Dst)) + ((Flags.Get(c) & flag) != 0 ? UInt128.One : UInt128.Zero);
        Flags.Merge(c, sum >> (sizeof(T) * 8) != 0 ? flag : 0, flag);
        Reg.Write(c, op->Dst, T.CreateTruncating(sum));
        return op[1].Fn(c, op + 1);
    }
}
