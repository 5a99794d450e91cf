using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>ROUNDPS, PD, SS, SD; and the approximations RCP and RSQRT, which raise no exceptions.</summary>
internal static unsafe class FloatRound
{
    // The immediate (SDM vol. 2, ROUNDPD): rounding mode, "use MXCSR's", "do not report PE".
    private const int Mode = 3, ByMxcsr = 4, Silent = 8;

    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Roundss:
                return ByMode<float>(ref b, packed: false);
            case Mnemonic.Roundsd:
                return ByMode<double>(ref b, packed: false);
            case Mnemonic.Roundps:
                return ByMode<Vector128<float>>(ref b, packed: true);
            case Mnemonic.Roundpd:
                return ByMode<Vector128<double>>(ref b, packed: true);
            case Mnemonic.Rcpps:
                return Packed.Bind<Reciprocal>(ref b);
            case Mnemonic.Rsqrtps:
                return Packed.Bind<ReciprocalRoot>(ref b);
            case Mnemonic.Rcpss:
                return Packed.BindPart<Lowest<Reciprocal>, uint>(ref b);
            case Mnemonic.Rsqrtss:
                return Packed.BindPart<Lowest<ReciprocalRoot>, uint>(ref b);
            default:
                return null;
        }
    }

    private static Handler ByMode<T>(ref Binding b, bool packed) where T : unmanaged
    {
        b.Form(2);
        return (b.Op->Imm & ByMxcsr) != 0 ? Bind<Nearest, T>(ref b, packed) : (b.Op->Imm & Mode) switch
        {
            0 => Bind<Nearest, T>(ref b, packed),
            1 => Bind<Floor, T>(ref b, packed),
            2 => Bind<Ceiling, T>(ref b, packed),
            _ => Bind<Truncate, T>(ref b, packed),
        };
    }

    private static Handler Bind<TMode, T>(ref Binding b, bool packed) where TMode : struct, IMode where T : unmanaged
    {
        b.Dst(0);
        return b.Source(1) switch
        {
            OperandForm.Register => &Round<TMode, T, XmmSource>,
            _ when packed => &Round<TMode, T, Aligned<AnyAddress>>,
            _ => &Round<TMode, T, Memory<AnyAddress>>,
        };
    }

    // In bounds: operands as in Float; the immediate is looked at bit by bit.
    [MethodImpl(Chain.Hot)]
    private static nint Round<TMode, T, TSource>(VcpuState* c, Op* op) where TMode : struct, IMode where T : unmanaged where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(T));
        if (!TSource.IsThere(c, place, sizeof(T)))
            return TSource.Missed(c, op, sizeof(T));
        T* source = (T*)TSource.At(c, place);
        uint mxcsr = c->Registers.Mxcsr;
        bool quiet = (op->Imm & Silent) != 0 || (mxcsr & (Mxcsr.PrecisionMask | Mxcsr.Precision)) == (Mxcsr.PrecisionMask | Mxcsr.Precision);
        if (quiet && ((op->Imm & ByMxcsr) == 0 || (mxcsr & Mxcsr.Rounding) == 0))
        {
            T value = *source;
            if (Ieee.IsClean(Clean.Rounding, value, value, value))
            {
                Xmm.Write(Xmm.Destination(c, op), Round<TMode, T>(value));
                return op[1].Fn(c, op + 1);
            }
        }
        return RoundChecked(c, op, source);
    }

    [MethodImpl(Chain.Hot)]
    private static nint RoundChecked<T>(VcpuState* c, Op* op, T* source) where T : unmanaged
    {
        if (!Checked(c, source, (int)op->Imm))
            return Chain.Raise(c, op, Vector.SimdFloatingPoint);
        Xmm.Write(Xmm.Destination(c, op), *(T*)CheckedFloat.Result(c));
        return op[1].Fn(c, op + 1);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool Checked<T>(VcpuState* c, T* source, int immediate) where T : unmanaged
    {
        uint control = c->Registers.Mxcsr;
        if ((immediate & ByMxcsr) == 0)
            control = (control & ~Mxcsr.Rounding) | ((uint)(immediate & Mode) << Mxcsr.RoundingShift);
        uint reported = (immediate & Silent) != 0 ? ~Mxcsr.Precision : ~0u;
        if (typeof(T) == typeof(float))
            return CheckedFloat.Run<Current, float, float>(c, (float*)source, (float*)source, control, reported);
        if (typeof(T) == typeof(double))
            return CheckedFloat.Run<Current, double, double>(c, (double*)source, (double*)source, control, reported);
        if (typeof(T) == typeof(Vector128<float>))
            return CheckedFloat.Run<Current, Vector128<float>, Vector128<float>>(c, (Vector128<float>*)source, (Vector128<float>*)source, control, reported);
        return CheckedFloat.Run<Current, Vector128<double>, Vector128<double>>(c, (Vector128<double>*)source, (Vector128<double>*)source, control, reported);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static T Round<TMode, T>(T value) where TMode : struct, IMode where T : unmanaged
    {
        if (typeof(T) == typeof(float))
            return Unsafe.BitCast<float, T>(TMode.Round(Vector128.CreateScalarUnsafe(Unsafe.BitCast<T, float>(value))).ToScalar());
        if (typeof(T) == typeof(double))
            return Unsafe.BitCast<double, T>(TMode.Round(Vector128.CreateScalarUnsafe(Unsafe.BitCast<T, double>(value))).ToScalar());
        if (typeof(T) == typeof(Vector128<float>))
            return Unsafe.BitCast<Vector128<float>, T>(TMode.Round(Unsafe.BitCast<T, Vector128<float>>(value)));
        return Unsafe.BitCast<Vector128<double>, T>(TMode.Round(Unsafe.BitCast<T, Vector128<double>>(value)));
    }

    private interface IMode
    {
        static abstract Vector128<float> Round(Vector128<float> value);
        static abstract Vector128<double> Round(Vector128<double> value);
    }

    private readonly struct Nearest : IMode
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Round(Vector128<float> value) => Vector128.Round(value);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Round(Vector128<double> value) => Vector128.Round(value);
    }

    private readonly struct Floor : IMode
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Round(Vector128<float> value) => Vector128.Floor(value);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Round(Vector128<double> value) => Vector128.Floor(value);
    }

    private readonly struct Ceiling : IMode
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Round(Vector128<float> value) => Vector128.Ceiling(value);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Round(Vector128<double> value) => Vector128.Ceiling(value);
    }

    private readonly struct Truncate : IMode
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Round(Vector128<float> value) => Vector128.Truncate(value);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Round(Vector128<double> value) => Vector128.Truncate(value);
    }

    /// <summary>Rounds by the host's control, which the checked path has set, and reports PE to the host.</summary>
    private readonly struct Current : IArithmetic
    {
        public static Clean Clean => Clean.Rounding;
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static float Run(float a, float b)
            => Sse41.IsSupported ? Sse41.RoundCurrentDirectionScalar(Vector128.CreateScalarUnsafe(b)).ToScalar() : MathF.Round(b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b)
            => Sse41.IsSupported ? Sse41.RoundCurrentDirectionScalar(Vector128.CreateScalarUnsafe(b)).ToScalar() : Math.Round(b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<float> Run(Vector128<float> a, Vector128<float> b) => Sse41.IsSupported ? Sse41.RoundCurrentDirection(b) : Vector128.Round(b);
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<double> Run(Vector128<double> a, Vector128<double> b) => Sse41.IsSupported ? Sse41.RoundCurrentDirection(b) : Vector128.Round(b);
    }

    private readonly struct Reciprocal : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => (Sse.IsSupported ? Sse.Reciprocal(b.AsSingle()) : Vector128<float>.One / b.AsSingle()).AsByte();
    }

    private readonly struct ReciprocalRoot : IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => (Sse.IsSupported ? Sse.ReciprocalSqrt(b.AsSingle()) : Vector128<float>.One / Vector128.Sqrt(b.AsSingle())).AsByte();
    }

    /// <summary>Only the lowest element of the result replaces the destination's.</summary>
    private readonly struct Lowest<TPacked> : IPacked where TPacked : struct, IPacked
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Vector128<byte> Run(Vector128<byte> a, Vector128<byte> b, long immediate)
            => a.AsUInt32().WithElement(0, TPacked.Run(a, b, immediate).AsUInt32().ToScalar()).AsByte();
    }
}
