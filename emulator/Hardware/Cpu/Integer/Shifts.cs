using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>A shift or rotation of a <see cref="Wide"/> number by a count already masked to 5 or 6 bits and not 0.</summary>
internal unsafe interface IShift
{
    static abstract ulong Run(VcpuState* c, ulong value, int count, int size);
}

/// <summary>SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD. Counts of 0 change nothing, flags included.</summary>
internal static unsafe class Shifts
{
    public static Handler Bind(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Shl or Mnemonic.Sal => One<Shl>(ref b),
        Mnemonic.Shr => One<Shr>(ref b),
        Mnemonic.Sar => One<Sar>(ref b),
        Mnemonic.Rol => One<Rol>(ref b),
        Mnemonic.Ror => One<Ror>(ref b),
        Mnemonic.Rcl => One<Rcl>(ref b),
        Mnemonic.Rcr => One<Rcr>(ref b),
        Mnemonic.Shld => Double<DoubleLeft>(ref b),
        Mnemonic.Shrd => Double<DoubleRight>(ref b),
        _ => null,
    };

    private static Handler One<TShift>(ref Binding b) where TShift : struct, IShift => b.Size(0) switch
    {
        1 => One<TShift, byte>(ref b),
        2 => One<TShift, ushort>(ref b),
        4 => One<TShift, uint>(ref b),
        _ => One<TShift, ulong>(ref b),
    };

    private static Handler One<TShift, T>(ref Binding b) where TShift : struct, IShift where T : unmanaged
    {
        OperandForm destination = b.Form(0);
        bool immediate = b.Source(1) == OperandForm.Immediate;
        if (destination != OperandForm.Register)
            return immediate ? &OnMemory<TShift, T, Immediate> : &OnMemory<TShift, T, SourceRegister>;
        b.Dst(0);
        return immediate ? &OnRegister<TShift, T, Immediate> : &OnRegister<TShift, T, SourceRegister>;
    }

    // In bounds: operands as in Alu; counts are masked to 5 or 6 bits where they are read, and less than the 48 to 128 bits that are shifted.
    [MethodImpl(Chain.Hot)]
    private static nint OnRegister<TShift, T, TCount>(VcpuState* c, Op* op)
        where TShift : struct, IShift where T : unmanaged where TCount : struct, ISource
    {
        int count = *(byte*)TCount.At(c, TCount.Place(c, op, sizeof(byte))) & (sizeof(T) == 8 ? 63 : 31);
        T value = Reg.Read<T>(c, op->Dst);
        Reg.Write(c, op->Dst, count != 0 ? Wide.To<T>(TShift.Run(c, Wide.Of(value), count, sizeof(T))) : value);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint OnMemory<TShift, T, TCount>(VcpuState* c, Op* op)
        where TShift : struct, IShift where T : unmanaged where TCount : struct, ISource
    {
        ulong address = AnyAddress.Of(c, op);
        T* target = Access.Modify<T>(c, address);
        if (target == null)
            return Chain.Fault(c, op);
        int count = *(byte*)TCount.At(c, TCount.Place(c, op, sizeof(byte))) & (sizeof(T) == 8 ? 63 : 31);
        if (count != 0)
        {
            *target = Wide.To<T>(TShift.Run(c, Wide.Of(*target), count, sizeof(T)));
            Access.Commit(c, address, target);
        }
        return op[1].Fn(c, op + 1);
    }

    private static Handler Double<TShift>(ref Binding b) where TShift : struct, IDoubleShift => b.Size(0) switch
    {
        2 => Double<TShift, ushort>(ref b),
        4 => Double<TShift, uint>(ref b),
        _ => Double<TShift, ulong>(ref b),
    };

    private static Handler Double<TShift, T>(ref Binding b) where TShift : struct, IDoubleShift where T : unmanaged, IBinaryInteger<T>
    {
        b.Op->Aux = b.Form(2) == OperandForm.Immediate ? (byte)0 : (byte)1;
        OperandForm destination = b.Form(0);
        b.Src(1);
        if (destination != OperandForm.Register)
            return &DoubleOnMemory<TShift, T>;
        b.Dst(0);
        return &DoubleOnRegister<TShift, T>;
    }

    private static int DoubleCount<T>(VcpuState* c, Op* op) where T : unmanaged
        => (op->Aux == 0 ? (int)op->Imm : (int)c->Registers.Gpr[VcpuRegisters.Rcx]) & (sizeof(T) == 8 ? 63 : 31);

    [MethodImpl(Chain.Hot)]
    private static nint DoubleOnRegister<TShift, T>(VcpuState* c, Op* op) where TShift : struct, IDoubleShift where T : unmanaged, IBinaryInteger<T>
    {
        int count = DoubleCount<T>(c, op);
        T value = Reg.Read<T>(c, op->Dst);
        Reg.Write(c, op->Dst, count != 0 ? TShift.Run(c, value, Reg.Read<T>(c, op->Src), count) : value);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint DoubleOnMemory<TShift, T>(VcpuState* c, Op* op) where TShift : struct, IDoubleShift where T : unmanaged, IBinaryInteger<T>
    {
        ulong address = AnyAddress.Of(c, op);
        T* target = Access.Modify<T>(c, address);
        if (target == null)
            return Chain.Fault(c, op);
        int count = DoubleCount<T>(c, op);
        if (count != 0)
        {
            *target = TShift.Run(c, *target, Reg.Read<T>(c, op->Src), count);
            Access.Commit(c, address, target);
        }
        return op[1].Fn(c, op + 1);
    }

    /// <summary>CF and OF as given, SF ZF PF from the result, AF (undefined) clear.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SetFlags(VcpuState* c, ulong result, int size, bool carry, bool overflow)
    {
        c->Registers.FlagResult = Wide.SignExtend(result, size);
        c->Registers.FlagCarries = (carry ? Flags.CarryBit : 0) | (carry != overflow ? Flags.IntoSignBit : 0);
    }

    /// <summary>CF and OF as given, the other flags kept: rotations.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SetCarryOverflow(VcpuState* c, bool carry, bool overflow)
        => c->Registers.FlagCarries = (c->Registers.FlagCarries & ~(Flags.CarryBit | Flags.IntoSignBit))
            | (carry ? Flags.CarryBit : 0) | (carry != overflow ? Flags.IntoSignBit : 0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Top(ulong value, int size) => Wide.SignExtend(value, size) < 0;

    private readonly struct Shl : IShift
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong value, int count, int size)
        {
            // In 64 bits no count up to 31 loses the last bit out of a narrower operand.
            int bits = size * 8;
            ulong result = value << count;
            bool carry = count <= bits && ((value >> (bits - count)) & 1) != 0;
            SetFlags(c, result, size, carry, carry != Top(result, size));
            return result;
        }
    }

    private readonly struct Shr : IShift
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong value, int count, int size)
        {
            ulong result = value >> count;
            SetFlags(c, result, size, ((value >> (count - 1)) & 1) != 0, Top(value, size));
            return result;
        }
    }

    private readonly struct Sar : IShift
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong value, int count, int size)
        {
            long wide = Wide.SignExtend(value, size);
            var result = (ulong)(wide >> count);
            SetFlags(c, result, size, ((wide >> (count - 1)) & 1) != 0, false);
            return result;
        }
    }

    private readonly struct Rol : IShift
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong value, int count, int size)
        {
            int bits = size * 8, by = count & (bits - 1);
            ulong result = size == 8 ? BitOperations.RotateLeft(value, count) : (value << by) | (value >> (bits - by));
            bool carry = (result & 1) != 0;
            SetCarryOverflow(c, carry, carry != Top(result, size));
            return result;
        }
    }

    private readonly struct Ror : IShift
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static ulong Run(VcpuState* c, ulong value, int count, int size)
        {
            int bits = size * 8, by = count & (bits - 1);
            ulong result = size == 8 ? BitOperations.RotateRight(value, count) : (value >> by) | (value << (bits - by));
            bool carry = Top(result, size);
            SetCarryOverflow(c, carry, carry != Top(result << 1, size));
            return result;
        }
    }

    /// <summary>Of an operand with CF on top. None at all affects no flags (SDM vol. 2, RCL), whatever the count was.</summary>
    private static int Turns(int count, int size) => count % (size * 8 + 1);

    private readonly struct Rcl : IShift
    {
        public static ulong Run(VcpuState* c, ulong value, int count, int size)
        {
            int turns = Turns(count, size);
            if (turns == 0)
                return value;
            bool carry = Flags.GetCarry(c);
            for (int i = turns; i > 0; i--)
            {
                bool next = Top(value, size);
                value = (value << 1) | (carry ? 1UL : 0);
                carry = next;
            }
            SetCarryOverflow(c, carry, carry != Top(value, size));
            return value;
        }
    }

    private readonly struct Rcr : IShift
    {
        public static ulong Run(VcpuState* c, ulong value, int count, int size)
        {
            int bits = size * 8, turns = Turns(count, size);
            if (turns == 0)
                return value;
            ulong carry = Flags.GetCarry(c) ? 1UL : 0;
            for (int i = turns; i > 0; i--)
            {
                ulong next = value & 1;
                value = (value >> 1) | (carry << (bits - 1));
                carry = next;
            }
            SetCarryOverflow(c, carry != 0, Top(value, size) != Top(value << 1, size));
            return value;
        }
    }

    /// <summary>SHLD and SHRD. Counts above a 16-bit operand's width are undefined; the value is what Intel processors give.</summary>
    private interface IDoubleShift
    {
        static abstract T Run<T>(VcpuState* c, T value, T other, int count) where T : unmanaged, IBinaryInteger<T>;
    }

    private readonly struct DoubleLeft : IDoubleShift
    {
        public static T Run<T>(VcpuState* c, T value, T other, int count) where T : unmanaged, IBinaryInteger<T>
        {
            int bits = sizeof(T) * 8;
            UInt128 wide = sizeof(T) == 2
                ? (UInt128.CreateTruncating(value) << 32) | (UInt128.CreateTruncating(other) << 16) | UInt128.CreateTruncating(value)
                : (UInt128.CreateTruncating(value) << bits) | UInt128.CreateTruncating(other);
            int total = sizeof(T) == 2 ? 48 : 2 * bits;
            T result = T.CreateTruncating((wide << count) >> (total - bits));
            bool carry = ((wide >> (total - count)) & 1) != 0;
            SetFlags(c, Wide.Of(result), sizeof(T), carry, Flags.SignExtend(result) < 0 != Flags.SignExtend(value) < 0);
            return result;
        }
    }

    private readonly struct DoubleRight : IDoubleShift
    {
        public static T Run<T>(VcpuState* c, T value, T other, int count) where T : unmanaged, IBinaryInteger<T>
        {
            int bits = sizeof(T) * 8;
            UInt128 wide = UInt128.CreateTruncating(value) | (UInt128.CreateTruncating(other) << bits);
            if (sizeof(T) == 2)
                wide |= UInt128.CreateTruncating(value) << 32;
            T result = T.CreateTruncating(wide >> count);
            bool carry = ((wide >> (count - 1)) & 1) != 0;
            SetFlags(c, Wide.Of(result), sizeof(T), carry, Flags.SignExtend(result) < 0 != Flags.SignExtend(value) < 0);
            return result;
        }
    }
}
