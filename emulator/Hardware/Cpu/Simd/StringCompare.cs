using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 2, 4.1). Unlike the rest of SSE, they read unaligned memory.</summary>
internal static unsafe class StringCompare
{
    // Fields of the immediate.
    private const int Words = 1, Signed = 2, Aggregation = 3 << 2, Negative = 1 << 4, MaskedNegative = 3 << 4, Expanded = 1 << 6;

    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Pcmpestri or Mnemonic.Pcmpestri64:
                return Bind<Explicit, Index>(ref b);
            case Mnemonic.Pcmpestrm or Mnemonic.Pcmpestrm64:
                return Bind<Explicit, Mask>(ref b);
            case Mnemonic.Pcmpistri:
                return Bind<Implicit, Index>(ref b);
            case Mnemonic.Pcmpistrm:
                return Bind<Implicit, Mask>(ref b);
            default:
                return null;
        }
    }

    private static Handler Bind<TLength, TOutput>(ref Binding b) where TLength : struct, ILength where TOutput : struct, IOutput
    {
        b.Dst(0);
        b.Form(2);
        // Whether the explicit lengths are RAX and RDX: REX.W.
        b.Op->Aux = b.Instruction.Mnemonic is Mnemonic.Pcmpestri64 or Mnemonic.Pcmpestrm64 ? (byte)1 : (byte)0;
        return b.Source(1) == OperandForm.Register ? &Run<TLength, TOutput, XmmSource> : &Run<TLength, TOutput, Memory<AnyAddress>>;
    }

    [MethodImpl(Chain.Hot)]
    private static nint Run<TLength, TOutput, TSource>(VcpuState* c, Op* op)
        where TLength : struct, ILength where TOutput : struct, IOutput where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(Vector128<byte>));
        if (!TSource.IsThere(c, place, sizeof(Vector128<byte>)))
            return TSource.Missed(c, op, sizeof(Vector128<byte>));
        byte* second = (byte*)TSource.At(c, place);
        Run<TLength, TOutput>(c, op, second);
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Run<TLength, TOutput>(VcpuState* c, Op* op, byte* source) where TLength : struct, ILength where TOutput : struct, IOutput
    {
        int mode = (int)op->Imm, count = (mode & Words) != 0 ? 8 : 16;
        Vector128<byte> first = Xmm.Read(Xmm.Destination(c, op)), second = Xmm.Read(source);
        int firstLength = TLength.Of(c, op, VcpuRegisters.Rax, first, count), secondLength = TLength.Of(c, op, VcpuRegisters.Rdx, second, count);
        uint result = (mode & (Words | Signed)) switch
        {
            0 => Compare<byte>(first, second, firstLength, secondLength, mode),
            Words => Compare<ushort>(first, second, firstLength, secondLength, mode),
            Signed => Compare<sbyte>(first, second, firstLength, secondLength, mode),
            _ => Compare<short>(first, second, firstLength, secondLength, mode),
        };
        if ((mode & MaskedNegative) == MaskedNegative)
            result ^= (1u << secondLength) - 1;
        else if ((mode & Negative) != 0)
            result ^= (1u << count) - 1;
        TOutput.Write(c, result, mode, count);
        Flags.Set(c, (result != 0 ? Flags.Carry : 0) | (secondLength < count ? Flags.Zero : 0)
            | (firstLength < count ? Flags.Sign : 0) | ((result & 1) != 0 ? Flags.Overflow : 0));
    }

    /// <summary>One bit for each element of the second operand.</summary>
    private static uint Compare<T>(Vector128<byte> a, Vector128<byte> b, int firstLength, int secondLength, int mode)
        where T : unmanaged, IBinaryInteger<T>
    {
        Vector128<T> first = a.As<byte, T>(), second = b.As<byte, T>();
        int count = Vector128<T>.Count;
        uint all = (1u << count) - 1, valid = (1u << secondLength) - 1, result = 0;
        switch ((mode & Aggregation) >> 2)
        {
            case 0: // equal any
                for (int i = 0; i < firstLength; i++)
                    result |= Vector128.Equals(Vector128.Create(first.GetElement(i)), second).ExtractMostSignificantBits();
                return result & valid;
            case 1: // ranges: pairs of bounds
                for (int i = 0; i + 1 < firstLength; i += 2)
                    result |= (Vector128.GreaterThanOrEqual(second, Vector128.Create(first.GetElement(i)))
                        & Vector128.LessThanOrEqual(second, Vector128.Create(first.GetElement(i + 1)))).ExtractMostSignificantBits();
                return result & valid;
            case 2: // equal each: past both ends they are equal
                uint firstValid = (1u << firstLength) - 1;
                return (Vector128.Equals(first, second).ExtractMostSignificantBits() & valid & firstValid) | (all & ~valid & ~firstValid);
            default: // equal ordered: the first operand found at each place, as far as it can be seen
                result = all;
                for (int i = 0; i < firstLength; i++)
                {
                    uint equal = Vector128.Equals(Vector128.Create(first.GetElement(i)), second).ExtractMostSignificantBits() & valid;
                    // Places from which this element would lie behind the register are left as they are.
                    result &= (equal >> i) | (all & ~(all >> i));
                }
                return result;
        }
    }

    private interface ILength
    {
        static abstract int Of(VcpuState* c, Op* op, int register, Vector128<byte> value, int count);
    }

    // In bounds: lengths are 0 to 16 whatever the registers hold, and elements are checked besides.
    /// <summary>The magnitude of a register, at most the number of elements.</summary>
    private readonly struct Explicit : ILength
    {
        public static int Of(VcpuState* c, Op* op, int register, Vector128<byte> value, int count)
        {
            long length = op->Aux != 0 ? (long)c->Registers.Gpr[register] : (int)c->Registers.Gpr[register];
            return length == long.MinValue ? count : (int)Math.Min(Math.Abs(length), count);
        }
    }

    /// <summary>Up to the first zero element.</summary>
    private readonly struct Implicit : ILength
    {
        public static int Of(VcpuState* c, Op* op, int register, Vector128<byte> value, int count)
        {
            uint zeros = count == 16
                ? Vector128.Equals(value, default).ExtractMostSignificantBits()
                : Vector128.Equals(value.AsUInt16(), default).ExtractMostSignificantBits();
            return Math.Min(BitOperations.TrailingZeroCount(zeros), count);
        }
    }

    private interface IOutput
    {
        static abstract void Write(VcpuState* c, uint result, int mode, int count);
    }

    /// <summary>ECX: the lowest or highest element that is set, or their number.</summary>
    private readonly struct Index : IOutput
    {
        public static void Write(VcpuState* c, uint result, int mode, int count)
            => c->Registers.Gpr[VcpuRegisters.Rcx] = (ulong)(result == 0 ? count
                : (mode & Expanded) != 0 ? BitOperations.Log2(result) : BitOperations.TrailingZeroCount(result));
    }

    /// <summary>XMM0: the bits, or each bit as a whole element.</summary>
    private readonly struct Mask : IOutput
    {
        public static void Write(VcpuState* c, uint result, int mode, int count)
        {
            Vector128<byte> mask = Vector128.CreateScalar(result).AsByte();
            if ((mode & Expanded) != 0)
            {
                var bytes = Vector128.Create(0x8040_2010_0804_0201).AsByte();
                var words = Vector128.Create((ushort)1, 2, 4, 8, 16, 32, 64, 128);
                mask = count == 16
                    ? Vector128.Equals(Vector128.Create(Vector64.Create((byte)result), Vector64.Create((byte)(result >> 8))) & bytes, bytes)
                    : Vector128.Equals(Vector128.Create((ushort)result) & words, words).AsByte();
            }
            Xmm.Write(Xmm.Register(c, 0), mask);
        }
    }
}
