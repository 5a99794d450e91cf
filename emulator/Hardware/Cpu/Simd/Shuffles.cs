using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Instructions that only move elements about: shuffles, unpacking, packing, blends, widening, alignment.</summary>
internal static unsafe class Shuffles
{
    public static Handler Bind(ref Binding b) => b.Instruction.Mnemonic switch
    {
        Mnemonic.Punpcklbw => Packed.Bind<UnpackLow<byte>>(ref b),
        Mnemonic.Punpcklwd => Packed.Bind<UnpackLow<ushort>>(ref b),
        Mnemonic.Punpckldq or Mnemonic.Unpcklps => Packed.Bind<UnpackLow<uint>>(ref b),
        Mnemonic.Punpcklqdq or Mnemonic.Unpcklpd => Packed.Bind<UnpackLow<ulong>>(ref b),
        Mnemonic.Punpckhbw => Packed.Bind<UnpackHigh<byte>>(ref b),
        Mnemonic.Punpckhwd => Packed.Bind<UnpackHigh<ushort>>(ref b),
        Mnemonic.Punpckhdq or Mnemonic.Unpckhps => Packed.Bind<UnpackHigh<uint>>(ref b),
        Mnemonic.Punpckhqdq or Mnemonic.Unpckhpd => Packed.Bind<UnpackHigh<ulong>>(ref b),
        Mnemonic.Packsswb => Packed.Bind<PackWords>(ref b),
        Mnemonic.Packssdw => Packed.Bind<PackDwords>(ref b),
        Mnemonic.Packuswb => Packed.Bind<PackWordsUnsigned>(ref b),
        Mnemonic.Packusdw => Packed.Bind<PackDwordsUnsigned>(ref b),
        Mnemonic.Pshufb => b.Instruction.Op0Register.IsMM() ? Packed.Bind<ShuffleBytesMmx>(ref b) : Packed.Bind<ShuffleBytes>(ref b),
        Mnemonic.Pshufd => Packed.Bind<ShuffleDwords>(ref b),
        Mnemonic.Pshufhw => Packed.Bind<ShuffleHighWords>(ref b),
        Mnemonic.Pshuflw or Mnemonic.Pshufw => Packed.Bind<ShuffleLowWords>(ref b),
        Mnemonic.Shufps => Packed.Bind<ShuffleSingles>(ref b),
        Mnemonic.Shufpd => Packed.Bind<ShuffleDoubles>(ref b),
        Mnemonic.Palignr => b.Instruction.Op0Register.IsMM() ? Packed.Bind<AlignMmx>(ref b) : Packed.Bind<Align>(ref b),
        Mnemonic.Pblendw => Packed.Bind<BlendWords>(ref b),
        Mnemonic.Blendps => Packed.Bind<BlendSingles>(ref b),
        Mnemonic.Blendpd => Packed.Bind<BlendDoubles>(ref b),
        Mnemonic.Pblendvb => BindVariable<sbyte>(ref b),
        Mnemonic.Blendvps => BindVariable<int>(ref b),
        Mnemonic.Blendvpd => BindVariable<long>(ref b),
        Mnemonic.Movshdup => Packed.Bind<DuplicateOdd>(ref b),
        Mnemonic.Movsldup => Packed.Bind<DuplicateEven>(ref b),
        Mnemonic.Movddup => Packed.BindPart<DuplicateLow, ulong>(ref b),
        Mnemonic.Pmovsxbw => Packed.BindPart<ExtendSignedBytes, ulong>(ref b),
        Mnemonic.Pmovsxbd => Packed.BindPart<Twice<ExtendSignedBytes, ExtendSignedWords>, uint>(ref b),
        Mnemonic.Pmovsxbq => Packed.BindPart<Twice<Twice<ExtendSignedBytes, ExtendSignedWords>, ExtendSignedDwords>, ushort>(ref b),
        Mnemonic.Pmovsxwd => Packed.BindPart<ExtendSignedWords, ulong>(ref b),
        Mnemonic.Pmovsxwq => Packed.BindPart<Twice<ExtendSignedWords, ExtendSignedDwords>, uint>(ref b),
        Mnemonic.Pmovsxdq => Packed.BindPart<ExtendSignedDwords, ulong>(ref b),
        Mnemonic.Pmovzxbw => Packed.BindPart<ExtendBytes, ulong>(ref b),
        Mnemonic.Pmovzxbd => Packed.BindPart<Twice<ExtendBytes, ExtendWords>, uint>(ref b),
        Mnemonic.Pmovzxbq => Packed.BindPart<Twice<Twice<ExtendBytes, ExtendWords>, ExtendDwords>, ushort>(ref b),
        Mnemonic.Pmovzxwd => Packed.BindPart<ExtendWords, ulong>(ref b),
        Mnemonic.Pmovzxwq => Packed.BindPart<Twice<ExtendWords, ExtendDwords>, uint>(ref b),
        Mnemonic.Pmovzxdq => Packed.BindPart<ExtendDwords, ulong>(ref b),
        _ => null,
    };

    private static Handler BindVariable<T>(ref Binding b) where T : unmanaged
    {
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &BlendVariable<T, XmmSource>,
            OperandForm.Base => &BlendVariable<T, Aligned<BaseAddress>>,
            OperandForm.Index => &BlendVariable<T, Aligned<IndexAddress>>,
            _ => &BlendVariable<T, Aligned<AnyAddress>>,
        };
    }

    /// <summary>PBLENDVB, BLENDVPS, BLENDVPD: the sign bits of XMM0's elements choose.</summary>
    [MethodImpl(Chain.Hot)]
    private static nint BlendVariable<T, TSource>(VcpuState* c, Op* op) where T : unmanaged where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(Vector128<byte>));
        if (!TSource.IsThere(c, place, sizeof(Vector128<byte>)))
            return TSource.Missed(c, op, sizeof(Vector128<byte>));
        Vector128<byte>* source = (Vector128<byte>*)TSource.At(c, place);
        byte* target = Xmm.Destination(c, op);
        Vector128<byte> mask = Vector128.LessThan(Xmm.Read(Xmm.Register(c, 0)).As<byte, T>(), Vector128<T>.Zero).AsByte();
        Xmm.Write(target, Vector128.ConditionalSelect(mask, *source, Xmm.Read(target)));
        return op[1].Fn(c, op + 1);
    }

    // In bounds: values only; Packed has the operands. Selectors choose among a vector's elements: masked by field, or by the host's instruction, which gives zero for what lies outside.
    private readonly struct UnpackLow<T> : IPacked where T : unmanaged
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            if (Sse2.IsSupported)
                return sizeof(T) switch
                {
                    1 => Sse2.UnpackLow(a, b),
                    2 => Sse2.UnpackLow(a.AsUInt16(), b.AsUInt16()).AsByte(),
                    4 => Sse2.UnpackLow(a.AsUInt32(), b.AsUInt32()).AsByte(),
                    _ => Sse2.UnpackLow(a.AsUInt64(), b.AsUInt64()).AsByte(),
                };
            return Interleave<T>(a, b, 0);
        }
    }

    private readonly struct UnpackHigh<T> : IPacked where T : unmanaged
    {
        public static MmxPart Mmx => MmxPart.High;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            if (Sse2.IsSupported)
                return sizeof(T) switch
                {
                    1 => Sse2.UnpackHigh(a, b),
                    2 => Sse2.UnpackHigh(a.AsUInt16(), b.AsUInt16()).AsByte(),
                    4 => Sse2.UnpackHigh(a.AsUInt32(), b.AsUInt32()).AsByte(),
                    _ => Sse2.UnpackHigh(a.AsUInt64(), b.AsUInt64()).AsByte(),
                };
            return Interleave<T>(a, b, Vector128<T>.Count / 2);
        }
    }

    private static Vector128<byte> Interleave<T>(Vector128<byte> a, Vector128<byte> b, int from) where T : unmanaged
    {
        Vector128<T> x = a.As<byte, T>(), y = b.As<byte, T>(), result = default;
        for (int i = 0; i < Vector128<T>.Count; i++)
            result = result.WithElement(i, ((i & 1) == 0 ? x : y).GetElement(from + i / 2));
        return result.AsByte();
    }

    private readonly struct PackWords : IPacked
    {
        public static MmxPart Mmx => MmxPart.Joined;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.NarrowWithSaturation(a.AsInt16(), b.AsInt16()).AsByte();
    }

    private readonly struct PackDwords : IPacked
    {
        public static MmxPart Mmx => MmxPart.Joined;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.NarrowWithSaturation(a.AsInt32(), b.AsInt32()).AsByte();
    }

    private readonly struct PackWordsUnsigned : IPacked
    {
        public static MmxPart Mmx => MmxPart.Joined;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            if (Sse2.IsSupported)
                return Sse2.PackUnsignedSaturate(a.AsInt16(), b.AsInt16());
            Vector128<short> x = Vector128.Max(a.AsInt16(), default), y = Vector128.Max(b.AsInt16(), default);
            return Vector128.NarrowWithSaturation(x.AsUInt16(), y.AsUInt16());
        }
    }

    private readonly struct PackDwordsUnsigned : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            if (Sse41.IsSupported)
                return Sse41.PackUnsignedSaturate(a.AsInt32(), b.AsInt32()).AsByte();
            Vector128<int> x = Vector128.Max(a.AsInt32(), default), y = Vector128.Max(b.AsInt32(), default);
            return Vector128.NarrowWithSaturation(x.AsUInt32(), y.AsUInt32()).AsByte();
        }
    }

    private readonly struct ShuffleBytes : IPacked
    {
        // A selector's bit 7 gives zero; bits 4 to 6 are ignored.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Ssse3.IsSupported ? Ssse3.Shuffle(a, b) : Vector128.Shuffle(a, b & Vector128.Create((byte)0x8F));
    }

    private readonly struct ShuffleBytesMmx : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.Shuffle(a, b & Vector128.Create((byte)0x87));
    }

    /// <summary>The four 2-bit fields of an immediate, one in each element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Fields(long immediate)
    {
        Vector128<uint> fields = Avx2.IsSupported
            ? Avx2.ShiftRightLogicalVariable(Vector128.Create((uint)immediate), Vector128.Create(0u, 2, 4, 6))
            : Vector128.Create((uint)immediate, (uint)immediate >> 2, (uint)immediate >> 4, (uint)immediate >> 6);
        return fields & Vector128.Create(3u);
    }

    private readonly struct ShuffleDwords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.ShuffleNative(b.AsUInt32(), Fields(immediate)).AsByte();
    }

    private readonly struct ShuffleSingles : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            Vector128<uint> fields = Fields(immediate);
            Vector128<ulong> low = Vector128.ShuffleNative(a.AsUInt32(), fields).AsUInt64();
            Vector128<ulong> high = Vector128.ShuffleNative(b.AsUInt32(), fields).AsUInt64();
            return Vector128.ConditionalSelect(Vector128.Create(ulong.MaxValue, 0), low, high).AsByte();
        }
    }

    private readonly struct ShuffleDoubles : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            Vector128<ulong> x = a.AsUInt64(), y = b.AsUInt64();
            return Vector128.Create((immediate & 1) != 0 ? x.GetElement(1) : x.ToScalar(), (immediate & 2) != 0 ? y.GetElement(1) : y.ToScalar()).AsByte();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Words(ulong words, long immediate)
    {
        int fields = (int)immediate;
        return (ushort)(words >> ((fields << 4) & 0x30))
            | (ulong)(ushort)(words >> ((fields << 2) & 0x30)) << 16
            | (ulong)(ushort)(words >> (fields & 0x30)) << 32
            | words >> ((fields >> 2) & 0x30) << 48;
    }

    private readonly struct ShuffleLowWords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => b.AsUInt64().WithElement(0, Words(b.AsUInt64().ToScalar(), immediate)).AsByte();
    }

    private readonly struct ShuffleHighWords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => b.AsUInt64().WithElement(1, Words(b.AsUInt64().GetElement(1), immediate)).AsByte();
    }

    private readonly struct Align : IPacked
    {
        // Indices from 16 on, in either direction, give zero.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            Vector128<byte> from = Vector128<byte>.Indices + Vector128.Create((byte)Math.Min(immediate, 32));
            return Vector128.Shuffle(b, from) | Vector128.Shuffle(a, from - Vector128.Create((byte)16));
        }
    }

    private readonly struct AlignMmx : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            Vector128<ulong> both = Vector128.Create(b.AsUInt64().ToScalar(), a.AsUInt64().ToScalar());
            return Vector128.Shuffle(both.AsByte(), Vector128<byte>.Indices + Vector128.Create((byte)Math.Min(immediate, 16)));
        }
    }

    private readonly struct BlendWords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            Vector128<ushort> bits = Vector128.Create((ushort)1, 2, 4, 8, 16, 32, 64, 128);
            Vector128<ushort> chosen = Vector128.Equals(Vector128.Create((ushort)immediate) & bits, bits);
            return Vector128.ConditionalSelect(chosen.AsByte(), b, a);
        }
    }

    private readonly struct BlendSingles : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            Vector128<uint> bits = Vector128.Create(1u, 2, 4, 8);
            return Vector128.ConditionalSelect(Vector128.Equals(Vector128.Create((uint)immediate) & bits, bits).AsByte(), b, a);
        }
    }

    private readonly struct BlendDoubles : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
        {
            Vector128<ulong> bits = Vector128.Create(1UL, 2);
            return Vector128.ConditionalSelect(Vector128.Equals(Vector128.Create((ulong)immediate) & bits, bits).AsByte(), b, a);
        }
    }

    private readonly struct DuplicateOdd : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.Shuffle(b.AsUInt32(), Vector128.Create(1u, 1, 3, 3)).AsByte();
    }

    private readonly struct DuplicateEven : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.Shuffle(b.AsUInt32(), Vector128.Create(0u, 0, 2, 2)).AsByte();
    }

    private readonly struct DuplicateLow : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => Vector128.Create(b.AsUInt64().ToScalar()).AsByte();
    }

    private readonly struct ExtendSignedBytes : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => Vector128.WidenLower(b.AsSByte()).AsByte();
    }

    private readonly struct ExtendSignedWords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => Vector128.WidenLower(b.AsInt16()).AsByte();
    }

    private readonly struct ExtendSignedDwords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => Vector128.WidenLower(b.AsInt32()).AsByte();
    }

    private readonly struct ExtendBytes : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => Vector128.WidenLower(b).AsByte();
    }

    private readonly struct ExtendWords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => Vector128.WidenLower(b.AsUInt16()).AsByte();
    }

    private readonly struct ExtendDwords : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => Vector128.WidenLower(b.AsUInt32()).AsByte();
    }

    private readonly struct Twice<TFirst, TThen> : IPacked where TFirst : struct, IPacked where TThen : struct, IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate) => TThen.Run(a, TFirst.Run(a, b, immediate), immediate);
    }
}
