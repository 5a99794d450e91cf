using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>HADD, HSUB and the dot products: rearrangements followed by additions, each with its own exceptions.</summary>
internal static unsafe class FloatHorizontal
{
    // Scratch for the operands between the steps, apart from what CheckedFloat uses.
    // In bounds: two places of 16 bytes before CheckedFloat's. Immediates are bit masks.
    private const int First = 16, Second = 32;

    public static Handler Bind(ref Binding b)
    {
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Haddps:
                return Bind<PairsOfSingles<FloatArithmetic.Add>>(ref b);
            case Mnemonic.Hsubps:
                return Bind<PairsOfSingles<FloatArithmetic.Subtract>>(ref b);
            case Mnemonic.Haddpd:
                return Bind<PairsOfDoubles<FloatArithmetic.Add>>(ref b);
            case Mnemonic.Hsubpd:
                return Bind<PairsOfDoubles<FloatArithmetic.Subtract>>(ref b);
            case Mnemonic.Dpps:
                b.Form(2);
                return Bind<DotProductOfSingles>(ref b);
            case Mnemonic.Dppd:
                b.Form(2);
                return Bind<DotProductOfDoubles>(ref b);
            default:
                return null;
        }
    }

    private static Handler Bind<TSteps>(ref Binding b) where TSteps : struct, ISteps
    {
        b.Dst(0);
        return b.Source(1) == OperandForm.Register ? &Run<TSteps, XmmSource> : &Run<TSteps, Aligned<AnyAddress>>;
    }

    /// <summary>Operations in a row; false when one raises #XM.</summary>
    private interface ISteps
    {
        static abstract bool Run(VcpuState* c, Vector128<byte> a, Vector128<byte> b, int immediate, byte* result);
    }

    [MethodImpl(Chain.Hot)]
    private static nint Run<TSteps, TSource>(VcpuState* c, Op* op) where TSteps : struct, ISteps where TSource : struct, ISource
    {
        ulong place = TSource.Place(c, op, sizeof(Vector128<byte>));
        if (!TSource.IsThere(c, place, sizeof(Vector128<byte>)))
            return TSource.Missed(c, op, sizeof(Vector128<byte>));
        Vector128<byte>* source = (Vector128<byte>*)TSource.At(c, place);
        return Run<TSteps>(c, op, source) ? op[1].Fn(c, op + 1) : Chain.Raise(c, op, Vector.SimdFloatingPoint);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static bool Run<TSteps>(VcpuState* c, Op* op, Vector128<byte>* source) where TSteps : struct, ISteps
    {
        byte* target = Xmm.Destination(c, op);
        return TSteps.Run(c, Xmm.Read(target), *source, (int)op->Imm, target);
    }

    /// <summary>One operation, the fast way if it may.</summary>
    private static bool Step<TFloat, T>(VcpuState* c, T a, T b, byte* result) where TFloat : struct, IFloat<T, T> where T : unmanaged
    {
        if (Float.IsPlain(c))
        {
            T r = TFloat.Run(a, b);
            if (Ieee.IsClean(TFloat.Clean, a, b, r))
            {
                *(T*)result = r;
                return true;
            }
        }
        *(T*)(c->Bounce + First) = a;
        *(T*)(c->Bounce + Second) = b;
        if (!CheckedFloat.Run<TFloat, T, T>(c, (T*)(c->Bounce + First), (T*)(c->Bounce + Second)))
            return false;
        *(T*)result = *(T*)CheckedFloat.Result(c);
        return true;
    }

    private readonly struct PairsOfSingles<TFloat> : ISteps where TFloat : struct, IFloat<Vector128<float>, Vector128<float>>
    {
        public static bool Run(VcpuState* c, Vector128<byte> a, Vector128<byte> b, int immediate, byte* result)
        {
            Vector128<float> x = a.AsSingle(), y = b.AsSingle();
            return Step<TFloat, Vector128<float>>(c,
                Vector128.Create(x.GetElement(0), x.GetElement(2), y.GetElement(0), y.GetElement(2)),
                Vector128.Create(x.GetElement(1), x.GetElement(3), y.GetElement(1), y.GetElement(3)), result);
        }
    }

    private readonly struct PairsOfDoubles<TFloat> : ISteps where TFloat : struct, IFloat<Vector128<double>, Vector128<double>>
    {
        public static bool Run(VcpuState* c, Vector128<byte> a, Vector128<byte> b, int immediate, byte* result)
        {
            Vector128<double> x = a.AsDouble(), y = b.AsDouble();
            return Step<TFloat, Vector128<double>>(c,
                Vector128.Create(x.GetElement(0), y.GetElement(0)), Vector128.Create(x.GetElement(1), y.GetElement(1)), result);
        }
    }

    /// <summary>
    /// DPPS: products chosen by the immediate's high half, added in pairs, the sum put where the low half says. Each element adds in its own
    /// order, which shows when several products are NaNs.
    /// </summary>
    private readonly struct DotProductOfSingles : ISteps
    {
        public static bool Run(VcpuState* c, Vector128<byte> a, Vector128<byte> b, int immediate, byte* result)
        {
            Vector128<float> chosen = Bits(immediate >> 4), kept = Bits(immediate);
            var scratch = (Vector128<float>*)(c->Bounce + First);
            if (!Step<FloatArithmetic.Multiply, Vector128<float>>(c, a.AsSingle() & chosen, b.AsSingle() & chosen, (byte*)scratch))
                return false;
            // What was not chosen is +0, also where the operands' signs differ.
            Vector128<float> p = *scratch & chosen;
            if (!Step<FloatArithmetic.Add, Vector128<float>>(c, Vector128.Shuffle(p, Vector128.Create(1, 0, 3, 2)), p, (byte*)scratch))
                return false;
            Vector128<float> s = *scratch;
            if (!Step<FloatArithmetic.Add, Vector128<float>>(c, s, Vector128.Shuffle(s, Vector128.Create(2, 3, 0, 1)), (byte*)scratch))
                return false;
            *(Vector128<float>*)result = *scratch & kept;
            return true;
        }

        private static Vector128<float> Bits(int mask)
        {
            Vector128<int> bits = Vector128.Create(1, 2, 4, 8);
            return Vector128.Equals(Vector128.Create(mask) & bits, bits).AsSingle();
        }
    }

    private readonly struct DotProductOfDoubles : ISteps
    {
        public static bool Run(VcpuState* c, Vector128<byte> a, Vector128<byte> b, int immediate, byte* result)
        {
            Vector128<double> chosen = Bits(immediate >> 4), kept = Bits(immediate);
            var scratch = (Vector128<double>*)(c->Bounce + First);
            if (!Step<FloatArithmetic.Multiply, Vector128<double>>(c, a.AsDouble() & chosen, b.AsDouble() & chosen, (byte*)scratch))
                return false;
            Vector128<double> p = *scratch & chosen;
            if (!Step<FloatArithmetic.Add, Vector128<double>>(c, p, Vector128.Shuffle(p, Vector128.Create(1L, 0)), (byte*)scratch))
                return false;
            *(Vector128<double>*)result = *scratch & kept;
            return true;
        }

        private static Vector128<double> Bits(int mask)
        {
            Vector128<long> bits = Vector128.Create(1L, 2);
            return Vector128.Equals(Vector128.Create((long)mask) & bits, bits).AsDouble();
        }
    }
}
