using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>MUL, IMUL, DIV, IDIV, and the sign extensions of the accumulator (CBW, CWD and their kin).</summary>
internal static unsafe class MulDiv
{
    private const byte Rax = VcpuRegisters.Rax * 8, Rdx = VcpuRegisters.Rdx * 8;

    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Mul: return One<Unsigned>(ref b);
            case Mnemonic.Imul: return b.Instruction.OpCount == 1 ? One<Signed>(ref b) : Truncated(ref b);
            case Mnemonic.Div: return One<UnsignedDivide>(ref b);
            case Mnemonic.Idiv: return One<SignedDivide>(ref b);
            case Mnemonic.Cbw: return &Widen<sbyte, ushort>;
            case Mnemonic.Cwde: return &Widen<short, uint>;
            case Mnemonic.Cdqe: return &Widen<int, ulong>;
            case Mnemonic.Cwd: return &Spread<short, ushort>;
            case Mnemonic.Cdq: return &Spread<int, uint>;
            case Mnemonic.Cqo: return &Spread<long, ulong>;
            default: return null;
        }
    }

    private static Handler One<TOperation>(ref Binding b) where TOperation : struct, IAccumulator
    {
        int size = b.Size(0);
        OperandForm form = b.Source(0);
        return size switch
        {
            1 => One<TOperation, byte>(form),
            2 => One<TOperation, ushort>(form),
            4 => One<TOperation, uint>(form),
            _ => One<TOperation, ulong>(form),
        };
    }

    private static Handler One<TOperation, T>(OperandForm form) where TOperation : struct, IAccumulator where T : unmanaged, IBinaryInteger<T>
        => form == OperandForm.Register ? &Accumulate<TOperation, T, SourceRegister> : &Accumulate<TOperation, T, Memory<AnyAddress>>;

    // In bounds: operands as in Alu. Division throws for nothing: zero, and quotients that do not fit (the smallest number by -1), are excluded before.
    [MethodImpl(Chain.Hot)]
    private static nint Accumulate<TOperation, T, TSource>(VcpuState* c, Op* op)
        where TOperation : struct, IAccumulator where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        return TOperation.Run(c, *source) ? op[1].Fn(c, op + 1) : Chain.Raise(c, op, Vector.DivideError);
    }

    private static Handler Truncated(ref Binding b)
    {
        b.Dst(0);
        bool three = b.Instruction.OpCount == 3;
        if (three)
            b.Form(2);
        OperandForm form = b.Source(1);
        return b.Size(0) switch
        {
            2 => Truncated<ushort, short>(form, three),
            4 => Truncated<uint, int>(form, three),
            _ => Truncated<ulong, long>(form, three),
        };
    }

    private static Handler Truncated<T, TSigned>(OperandForm form, bool three)
        where T : unmanaged, IBinaryInteger<T> where TSigned : unmanaged, IBinaryInteger<TSigned> => form switch
    {
        OperandForm.Register => three ? &Multiply<T, TSigned, SourceRegister, Immediate> : &Multiply<T, TSigned, SourceRegister, DestinationRegister>,
        OperandForm.Base => three ? &Multiply<T, TSigned, Memory<BaseAddress>, Immediate> : &Multiply<T, TSigned, Memory<BaseAddress>, DestinationRegister>,
        _ => three ? &Multiply<T, TSigned, Memory<AnyAddress>, Immediate> : &Multiply<T, TSigned, Memory<AnyAddress>, DestinationRegister>,
    };

    [MethodImpl(Chain.Hot)]
    private static nint Multiply<T, TSigned, TSource, TOther>(VcpuState* c, Op* op)
        where T : unmanaged, IBinaryInteger<T> where TSigned : unmanaged, IBinaryInteger<TSigned> where TSource : struct, ISource where TOther : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(TSigned));
        if (!TSource.IsThere(c, place, sizeof(TSigned)))
            return TSource.Missed(c, op, sizeof(TSigned));
        TSigned* source = (TSigned*)TSource.At(c, place);
        long a = long.CreateTruncating(*source), b = long.CreateTruncating(*(TSigned*)TOther.At(c, TOther.Place(c, op, sizeof(TSigned))));
        T result;
        bool overflow;
        if (sizeof(T) == 8)
        {
            long low = a * b;
            result = T.CreateTruncating(low);
            overflow = MultiplyHigh(a, b) != low >> 63;
        }
        else
        {
            long product = a * b;
            result = T.CreateTruncating(product);
            overflow = Flags.SignExtend(result) != product;
        }
        Reg.Write(c, op->Dst, result);
        SetFlags(c, result, overflow);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>Out of line: a handler whose local's address is taken makes no tail call.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static long MultiplyHigh(long a, long b) => Math.BigMul(a, b, out _);

    [MethodImpl(Chain.Hot)]
    private static nint Widen<TFrom, T>(VcpuState* c, Op* op) where TFrom : unmanaged, IBinaryInteger<TFrom> where T : unmanaged, IBinaryInteger<T>
    {
        Reg.Write(c, Rax, T.CreateTruncating(Reg.Read<TFrom>(c, Rax)));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Spread<TSigned, T>(VcpuState* c, Op* op) where TSigned : unmanaged, IBinaryInteger<TSigned> where T : unmanaged, IBinaryInteger<T>
    {
        Reg.Write(c, Rdx, TSigned.IsNegative(Reg.Read<TSigned>(c, Rax)) ? T.AllBitsSet : T.Zero);
        return op[1].Fn(c, op + 1);
    }

    /// <summary>CF and OF say that the upper half matters. SF, ZF, AF and PF are undefined; these are what Intel processors give.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SetFlags<T>(VcpuState* c, T low, bool overflow) where T : unmanaged, IBinaryInteger<T>
    {
        c->Registers.FlagResult = Flags.SignExtend(low);
        c->Registers.FlagCarries = overflow ? Flags.CarryBit : 0;
    }

    /// <summary>An operation on the accumulator pair; false for #DE, with nothing changed. Out of line, for wide products and quotients live in memory.</summary>
    private interface IAccumulator
    {
        static abstract bool Run<T>(VcpuState* c, T operand) where T : unmanaged, IBinaryInteger<T>;
    }

    private static void StorePair<T>(VcpuState* c, T low, T high) where T : unmanaged, IBinaryInteger<T>
    {
        if (sizeof(T) == 1)
        {
            Reg.Write(c, Rax, (ushort)(byte.CreateTruncating(low) | byte.CreateTruncating(high) << 8));
            return;
        }
        Reg.Write(c, Rax, low);
        Reg.Write(c, Rdx, high);
    }

    private static UInt128 LoadPair<T>(VcpuState* c) where T : unmanaged, IBinaryInteger<T> => sizeof(T) == 1
        ? Reg.Read<ushort>(c, Rax)
        : (UInt128.CreateTruncating(Reg.Read<T>(c, Rdx)) << (sizeof(T) * 8)) | UInt128.CreateTruncating(Reg.Read<T>(c, Rax));

    private readonly struct Unsigned : IAccumulator
    {
        [MethodImpl(MethodImplOptions.NoInlining)]
        public static bool Run<T>(VcpuState* c, T operand) where T : unmanaged, IBinaryInteger<T>
        {
            ulong a = ulong.CreateTruncating(Reg.Read<T>(c, Rax)), b = ulong.CreateTruncating(operand), low, high;
            if (sizeof(T) == 8)
            {
                high = Math.BigMul(a, b, out low);
            }
            else
            {
                low = a * b;
                high = low >> (sizeof(T) * 8);
            }
            T result = T.CreateTruncating(low), upper = T.CreateTruncating(high);
            StorePair(c, result, upper);
            SetFlags(c, result, upper != T.Zero);
            return true;
        }
    }

    private readonly struct Signed : IAccumulator
    {
        [MethodImpl(MethodImplOptions.NoInlining)]
        public static bool Run<T>(VcpuState* c, T operand) where T : unmanaged, IBinaryInteger<T>
        {
            long a = Flags.SignExtend(Reg.Read<T>(c, Rax)), b = Flags.SignExtend(operand), low, high;
            if (sizeof(T) == 8)
            {
                high = Math.BigMul(a, b, out low);
            }
            else
            {
                low = a * b;
                high = low >> (sizeof(T) * 8);
            }
            T result = T.CreateTruncating(low), upper = T.CreateTruncating(high);
            StorePair(c, result, upper);
            SetFlags(c, result, Flags.SignExtend(upper) != Flags.SignExtend(result) >> 63);
            return true;
        }
    }

    private readonly struct UnsignedDivide : IAccumulator
    {
        [MethodImpl(MethodImplOptions.NoInlining)]
        public static bool Run<T>(VcpuState* c, T operand) where T : unmanaged, IBinaryInteger<T>
        {
            if (operand == T.Zero)
                return false;
            if (sizeof(T) >= 4 && Reg.Read<T>(c, Rdx) == T.Zero)
            {
                T dividend32 = Reg.Read<T>(c, Rax);
                (T q, T r) = T.DivRem(dividend32, operand);
                StorePair(c, q, r);
                return true;
            }
            UInt128 dividend = LoadPair<T>(c), divisor = UInt128.CreateTruncating(operand);
            UInt128 quotient = dividend / divisor;
            if (quotient >> (sizeof(T) * 8) != 0)
                return false;
            StorePair(c, T.CreateTruncating(quotient), T.CreateTruncating(dividend - quotient * divisor));
            return true;
        }
    }

    private readonly struct SignedDivide : IAccumulator
    {
        [MethodImpl(MethodImplOptions.NoInlining)]
        public static bool Run<T>(VcpuState* c, T operand) where T : unmanaged, IBinaryInteger<T>
        {
            if (operand == T.Zero)
                return false;
            if (sizeof(T) >= 4)
            {
                long low = Flags.SignExtend(Reg.Read<T>(c, Rax)), by = Flags.SignExtend(operand);
                if (Flags.SignExtend(Reg.Read<T>(c, Rdx)) == low >> 63 && by != -1)
                {
                    (long q, long r) = Math.DivRem(low, by);
                    StorePair(c, T.CreateTruncating(q), T.CreateTruncating(r));
                    return true;
                }
            }
            int bits = sizeof(T) * 8;
            Int128 dividend = sizeof(T) == 8
                ? (Int128)LoadPair<T>(c)
                : (Int128)((long)((ulong)LoadPair<T>(c) << (64 - 2 * bits)) >> (64 - 2 * bits));
            Int128 divisor = Flags.SignExtend(operand);
            // The one quotient that does not fit even 128 bits.
            if (dividend == Int128.MinValue && divisor == -1)
                return false;
            Int128 quotient = dividend / divisor;
            if (quotient != Flags.SignExtend(T.CreateTruncating(quotient)))
                return false;
            StorePair(c, T.CreateTruncating(quotient), T.CreateTruncating(dividend - quotient * divisor));
            return true;
        }
    }
}
