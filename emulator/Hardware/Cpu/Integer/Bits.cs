using System.Numerics;
using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Integer;

/// <summary>BT, BTS, BTR, BTC; BSF, BSR, TZCNT, LZCNT, POPCNT; BSWAP, MOVBE, CRC32.</summary>
internal static unsafe class Bits
{
    public static Handler Bind(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Bt => Test<Keep>(ref b),
        Mnemonic.Bts => Test<Set>(ref b),
        Mnemonic.Btr => Test<Reset>(ref b),
        Mnemonic.Btc => Test<Complement>(ref b),
        Mnemonic.Bsf => Count<ScanForward>(ref b),
        Mnemonic.Bsr => Count<ScanReverse>(ref b),
        Mnemonic.Tzcnt => b.Features.HasFlag(CpuFeatures.Bmi1) ? Count<TrailingZeros>(ref b) : Count<ScanForward>(ref b),
        Mnemonic.Lzcnt => b.Features.HasFlag(CpuFeatures.Lzcnt) ? Count<LeadingZeros>(ref b) : Count<ScanReverse>(ref b),
        Mnemonic.Popcnt => Count<Population>(ref b),
        Mnemonic.Bswap => Swap(ref b),
        Mnemonic.Movbe => MoveSwapped(ref b),
        Mnemonic.Crc32 => Crc(ref b),
        _ => null,
    };

    private interface IBitChange
    {
        static abstract bool Writes { get; }
        static abstract T Run<T>(T value, T bit) where T : unmanaged, IBinaryInteger<T>;
    }

    private readonly struct Keep : IBitChange
    {
        public static bool Writes => false;
        public static T Run<T>(T value, T bit) where T : unmanaged, IBinaryInteger<T> => value;
    }

    private readonly struct Set : IBitChange
    {
        public static bool Writes => true;
        public static T Run<T>(T value, T bit) where T : unmanaged, IBinaryInteger<T> => value | bit;
    }

    private readonly struct Reset : IBitChange
    {
        public static bool Writes => true;
        public static T Run<T>(T value, T bit) where T : unmanaged, IBinaryInteger<T> => value & ~bit;
    }

    private readonly struct Complement : IBitChange
    {
        public static bool Writes => true;
        public static T Run<T>(T value, T bit) where T : unmanaged, IBinaryInteger<T> => value ^ bit;
    }

    private static Handler Test<TChange>(ref Binding b) where TChange : struct, IBitChange => b.Size(0) switch
    {
        2 => Test<TChange, ushort>(ref b),
        4 => Test<TChange, uint>(ref b),
        _ => Test<TChange, ulong>(ref b),
    };

    private static Handler Test<TChange, T>(ref Binding b) where TChange : struct, IBitChange where T : unmanaged, IBinaryInteger<T>
    {
        OperandForm destination = b.Form(0);
        bool immediate = b.Source(1) == OperandForm.Immediate;
        b.Op->Aux = b.Instruction.HasLockPrefix ? (byte)1 : (byte)0;
        if (destination != OperandForm.Register)
            return immediate ? &OnMemory<TChange, T, Immediate> : &OnMemory<TChange, T, SourceRegister>;
        b.Dst(0);
        return immediate ? &OnRegister<TChange, T, Immediate> : &OnRegister<TChange, T, SourceRegister>;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SetCarry(VcpuState* c, bool carry)
    {
        // OF is undefined, ZF unaffected, the others undefined: only CF changes, and OF stays by flipping both of its bits.
        ulong flip = (c->Registers.FlagCarries >> 63) != (carry ? 1UL : 0) ? Flags.CarryBit | Flags.IntoSignBit : 0;
        c->Registers.FlagCarries ^= flip;
    }

    [MethodImpl(Chain.Hot)]
    private static nint OnRegister<TChange, T, TSource>(VcpuState* c, Op* op)
        where TChange : struct, IBitChange where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        int index = *(byte*)TSource.At(c, TSource.Place(c, op, sizeof(byte))) & (sizeof(T) * 8 - 1);
        T value = Reg.Read<T>(c, op->Dst), bit = T.One << index;
        SetCarry(c, (value & bit) != T.Zero);
        if (TChange.Writes)
            Reg.Write(c, op->Dst, TChange.Run(value, bit));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint OnMemory<TChange, T, TSource>(VcpuState* c, Op* op)
        where TChange : struct, IBitChange where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
        => TryChange<TChange, T, TSource>(c, op) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool TryChange<TChange, T, TSource>(VcpuState* c, Op* op)
        where TChange : struct, IBitChange where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        // In bounds: bit numbers are masked to the operand's width, and what is above them is part of a guest address.
        // A register names a bit anywhere in memory: its upper part, signed, moves the address (SDM vol. 2, BT).
        ulong address = BitAddress<T, TSource>(c, op);
        T* target = TChange.Writes ? Access.Modify<T>(c, address) : Access.Read<T>(c, address);
        if (target == null)
            return false;
        T bit = T.One << (*(byte*)TSource.At(c, TSource.Place(c, op, sizeof(byte))) & (sizeof(T) * 8 - 1)), old = *target;
        if (op->Aux != 0)
        {
            LockedResult result;
            while ((result = Locked.CompareExchange(c, target, TChange.Run(old, bit), old)) == LockedResult.Differs)
                old = *target;
            if (result == LockedResult.Fault)
                return false;
        }
        else if (TChange.Writes)
        {
            *target = TChange.Run(old, bit);
            Access.Commit(c, address, target);
        }
        SetCarry(c, (old & bit) != T.Zero);
        return true;
    }

    private static ulong BitAddress<T, TSource>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        if (!typeof(TSource).Equals(typeof(SourceRegister)))
            return AnyAddress.Of(c, op);
        long words = Flags.SignExtend(Reg.Read<T>(c, op->Src)) >> (sizeof(T) == 2 ? 4 : sizeof(T) == 4 ? 5 : 6);
        ulong address = AnyAddress.Effective(c, op) + (ulong)(words * sizeof(T));
        if ((op->Scale & AnyAddress.Address32) != 0)
            address = (uint)address;
        return address + Reg.Read<ulong>(c, op->Seg);
    }

    private interface ICount
    {
        /// <summary>The new destination; <paramref name="old"/> is its old value, for forms that leave it alone.</summary>
        static abstract T Run<T>(VcpuState* c, T value, T old) where T : unmanaged, IBinaryInteger<T>;
    }

    private static Handler Count<TCount>(ref Binding b) where TCount : struct, ICount
    {
        b.Dst(0);
        OperandForm form = b.Source(1);
        return b.Size(0) switch
        {
            2 => Count<TCount, ushort>(form),
            4 => Count<TCount, uint>(form),
            _ => Count<TCount, ulong>(form),
        };
    }

    private static Handler Count<TCount, T>(OperandForm form) where TCount : struct, ICount where T : unmanaged, IBinaryInteger<T>
        => form == OperandForm.Register ? &Count<TCount, T, SourceRegister> : &Count<TCount, T, Memory<AnyAddress>>;

    [MethodImpl(Chain.Hot)]
    private static nint Count<TCount, T, TSource>(VcpuState* c, Op* op)
        where TCount : struct, ICount where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        T value = *source;
        // BSF and BSR of 0 leave the whole destination, its upper half included, as it was.
        if (typeof(TCount) == typeof(ScanForward) || typeof(TCount) == typeof(ScanReverse))
        {
            Flags.Merge(c, value == T.Zero ? Flags.Zero : 0, Flags.Zero);
            if (value == T.Zero)
                return op[1].Fn(c, op + 1);
        }
        Reg.Write(c, op->Dst, TCount.Run(c, value, Reg.Read<T>(c, op->Dst)));
        return op[1].Fn(c, op + 1);
    }

    private readonly struct ScanForward : ICount
    {
        public static T Run<T>(VcpuState* c, T value, T old) where T : unmanaged, IBinaryInteger<T> => T.TrailingZeroCount(value);
    }

    private readonly struct ScanReverse : ICount
    {
        public static T Run<T>(VcpuState* c, T value, T old) where T : unmanaged, IBinaryInteger<T>
            => T.CreateTruncating(sizeof(T) * 8 - 1) - T.LeadingZeroCount(value);
    }

    private readonly struct TrailingZeros : ICount
    {
        public static T Run<T>(VcpuState* c, T value, T old) where T : unmanaged, IBinaryInteger<T>
        {
            T result = T.TrailingZeroCount(value);
            Flags.Merge(c, (value == T.Zero ? Flags.Carry : 0) | (result == T.Zero ? Flags.Zero : 0), Flags.Carry | Flags.Zero);
            return result;
        }
    }

    private readonly struct LeadingZeros : ICount
    {
        public static T Run<T>(VcpuState* c, T value, T old) where T : unmanaged, IBinaryInteger<T>
        {
            T result = T.LeadingZeroCount(value);
            Flags.Merge(c, (value == T.Zero ? Flags.Carry : 0) | (result == T.Zero ? Flags.Zero : 0), Flags.Carry | Flags.Zero);
            return result;
        }
    }

    private readonly struct Population : ICount
    {
        public static T Run<T>(VcpuState* c, T value, T old) where T : unmanaged, IBinaryInteger<T>
        {
            Flags.Set(c, value == T.Zero ? Flags.Zero : 0);
            return T.PopCount(value);
        }
    }

    private static Handler Swap(ref Binding b)
    {
        b.Dst(0);
        return b.Size(0) switch { 2 => &Swap<ushort>, 4 => &Swap<uint>, _ => &Swap<ulong> };
    }

    [MethodImpl(Chain.Hot)]
    private static nint Swap<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        // A 16-bit BSWAP is undefined; processors give 0.
        if (sizeof(T) == 2)
            Reg.Write(c, op->Dst, (ushort)0);
        else
            Reg.Write(c, op->Dst, Reversed(Reg.Read<T>(c, op->Dst)));
        return op[1].Fn(c, op + 1);
    }

    private static Handler MoveSwapped(ref Binding b)
    {
        bool store = b.Form(0) != OperandForm.Register;
        if (store)
        {
            b.Src(1);
            return b.Size(1) switch { 2 => &StoreSwapped<ushort>, 4 => &StoreSwapped<uint>, _ => &StoreSwapped<ulong> };
        }
        b.Dst(0);
        b.Form(1);
        return b.Size(0) switch { 2 => &LoadSwapped<ushort>, 4 => &LoadSwapped<uint>, _ => &LoadSwapped<ulong> };
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Reversed<T>(T value) where T : unmanaged, IBinaryInteger<T> => sizeof(T) switch
    {
        2 => T.CreateTruncating(System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(ushort.CreateTruncating(value))),
        4 => T.CreateTruncating(System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(uint.CreateTruncating(value))),
        _ => T.CreateTruncating(System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(ulong.CreateTruncating(value))),
    };

    [MethodImpl(Chain.Hot)]
    private static nint LoadSwapped<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
    {
        T* source = Access.Read<T>(c, AnyAddress.Of(c, op));
        if (source == null)
            return Chain.Fault(c, op);
        Reg.Write(c, op->Dst, Reversed(*source));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(Chain.Hot)]
    private static nint StoreSwapped<T>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T>
        => Access.Write(c, AnyAddress.Of(c, op), Reversed(Reg.Read<T>(c, op->Src))) ? op[1].Fn(c, op + 1) : Chain.Fault(c, op);

    private static Handler Crc(ref Binding b)
    {
        b.Dst(0);
        int size = b.Size(1);
        OperandForm form = b.Source(1);
        bool register = form == OperandForm.Register;
        return size switch
        {
            1 => register ? &Crc<byte, SourceRegister> : &Crc<byte, Memory<AnyAddress>>,
            2 => register ? &Crc<ushort, SourceRegister> : &Crc<ushort, Memory<AnyAddress>>,
            4 => register ? &Crc<uint, SourceRegister> : &Crc<uint, Memory<AnyAddress>>,
            _ => register ? &Crc<ulong, SourceRegister> : &Crc<ulong, Memory<AnyAddress>>,
        };
    }

    [MethodImpl(Chain.Hot)]
    private static nint Crc<T, TSource>(VcpuState* c, Op* op) where T : unmanaged, IBinaryInteger<T> where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        uint crc = Reg.Read<uint>(c, op->Dst);
        crc = sizeof(T) switch
        {
            1 => BitOperations.Crc32C(crc, byte.CreateTruncating(*source)),
            2 => BitOperations.Crc32C(crc, ushort.CreateTruncating(*source)),
            4 => BitOperations.Crc32C(crc, uint.CreateTruncating(*source)),
            _ => BitOperations.Crc32C(crc, ulong.CreateTruncating(*source)),
        };
        Reg.Write(c, op->Dst, crc);
        return op[1].Fn(c, op + 1);
    }
}
