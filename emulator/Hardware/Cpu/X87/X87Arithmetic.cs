using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>An operation of two operands whose result replaces the first.</summary>
internal interface IX87Operation
{
    static abstract Float80 Apply(Float80 destination, Float80 source, ref X87Context cx);
}

/// <summary>A memory format that arithmetic and comparison read.</summary>
internal unsafe interface IX87Format
{
    static abstract Float80 Widen(byte* operand, ref X87Context cx);
}

internal readonly unsafe struct SingleReal : IX87Format
{
    public static Float80 Widen(byte* operand, ref X87Context cx) => Float80Conversion.FromSingle(*(uint*)operand, ref cx);
}

internal readonly unsafe struct DoubleReal : IX87Format
{
    public static Float80 Widen(byte* operand, ref X87Context cx) => Float80Conversion.FromDouble(*(ulong*)operand, ref cx);
}

internal readonly unsafe struct WordInteger : IX87Format
{
    public static Float80 Widen(byte* operand, ref X87Context cx) => Float80Conversion.FromInt64(*(short*)operand);
}

internal readonly unsafe struct DoublewordInteger : IX87Format
{
    public static Float80 Widen(byte* operand, ref X87Context cx) => Float80Conversion.FromInt64(*(int*)operand);
}

/// <summary>FADD, FSUB, FSUBR, FMUL, FDIV, FDIVR and the stack instructions of one or two operands, in all their forms.</summary>
internal static unsafe class X87Arithmetic
{
    internal readonly struct Add : IX87Operation
    {
        public static Float80 Apply(Float80 destination, Float80 source, ref X87Context cx) => Float80Arithmetic.Add(destination, source, ref cx);
    }

    internal readonly struct Subtract : IX87Operation
    {
        public static Float80 Apply(Float80 destination, Float80 source, ref X87Context cx) => Float80Arithmetic.Subtract(destination, source, ref cx);
    }

    internal readonly struct SubtractReversed : IX87Operation
    {
        public static Float80 Apply(Float80 destination, Float80 source, ref X87Context cx) => Float80Arithmetic.Subtract(source, destination, ref cx);
    }

    internal readonly struct Multiply : IX87Operation
    {
        public static Float80 Apply(Float80 destination, Float80 source, ref X87Context cx) => Float80Arithmetic.Multiply(destination, source, ref cx);
    }

    internal readonly struct Divide : IX87Operation
    {
        public static Float80 Apply(Float80 destination, Float80 source, ref X87Context cx) => Float80Arithmetic.Divide(destination, source, ref cx);
    }

    internal readonly struct DivideReversed : IX87Operation
    {
        public static Float80 Apply(Float80 destination, Float80 source, ref X87Context cx) => Float80Arithmetic.Divide(source, destination, ref cx);
    }

    // In bounds: registers through X87Stack; memory operands are as long as their format, which the handler was bound for. Functions are ours, named by the binder.
    /// <summary>ST(0) = ST(0) op ST(i).</summary>
    public static void ToTop<TOperation>(VcpuRegisters* r, int i) where TOperation : struct, IX87Operation
        => Registers<TOperation>(&r->X87, 0, i, pop: false);

    /// <summary>ST(i) = ST(i) op ST(0).</summary>
    public static void ToRegister<TOperation>(VcpuRegisters* r, int i) where TOperation : struct, IX87Operation
        => Registers<TOperation>(&r->X87, i, 0, pop: false);

    /// <summary>ST(i) = ST(i) op ST(0), then pop.</summary>
    public static void ToRegisterAndPop<TOperation>(VcpuRegisters* r, int i) where TOperation : struct, IX87Operation
        => Registers<TOperation>(&r->X87, i, 0, pop: true);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Registers<TOperation>(X87State* s, int destination, int source, bool pop) where TOperation : struct, IX87Operation
    {
        X87Context cx = X87Stack.Begin(s);
        Float80 result = X87Stack.Underflows(s, destination, source, ref cx)
            ? Float80.Indefinite
            : TOperation.Apply(X87Stack.Get(s, destination), X87Stack.Get(s, source), ref cx);
        Store(s, destination, result, pop, ref cx);
    }

    /// <summary>ST(0) = ST(0) op memory.</summary>
    public static void Memory<TOperation, TFormat>(X87State* s, byte* operand)
        where TOperation : struct, IX87Operation
        where TFormat : struct, IX87Format
    {
        X87Context cx = X87Stack.Begin(s);
        Float80 result = X87Stack.Underflows(s, 0, 0, ref cx)
            ? Float80.Indefinite
            : TOperation.Apply(X87Stack.Get(s, 0), TFormat.Widen(operand, ref cx), ref cx);
        Store(s, 0, result, pop: false, ref cx);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(X87State* s, int destination, Float80 result, bool pop, ref X87Context cx)
    {
        if (!cx.Suppressed)
        {
            X87Stack.Set(s, destination, result);
            if (pop)
                X87Stack.Pop(s);
        }
        X87Stack.End(s, cx);
    }

    private static void Unary(X87State* s, delegate*<Float80, ref X87Context, Float80> operation, uint conditions = X87Status.C1)
    {
        X87Context cx = X87Stack.Begin(s);
        Float80 result = X87Stack.Underflows(s, 0, 0, ref cx) ? Float80.Indefinite : operation(X87Stack.Get(s, 0), ref cx);
        // C2 says that the operand is out of range and stays.
        if (!cx.Suppressed && (cx.Raised & X87Status.C2) == 0)
            X87Stack.Set(s, 0, result);
        X87Stack.End(s, cx, conditions);
    }

    /// <summary>Replaces ST(1) by a function of ST(0) and ST(1), then pops.</summary>
    private static void BinaryAndPop(X87State* s, delegate*<Float80, Float80, ref X87Context, Float80> operation)
    {
        X87Context cx = X87Stack.Begin(s);
        Float80 result = X87Stack.Underflows(s, 0, 1, ref cx)
            ? Float80.Indefinite
            : operation(X87Stack.Get(s, 0), X87Stack.Get(s, 1), ref cx);
        Store(s, 1, result, pop: true, ref cx);
    }

    public static void Fsqrt(VcpuRegisters* r, int i) => Unary(&r->X87, &Float80Arithmetic.SquareRoot);

    public static void Frndint(VcpuRegisters* r, int i) => Unary(&r->X87, &Float80Conversion.RoundToInteger);

    public static void F2xm1(VcpuRegisters* r, int i) => Unary(&r->X87, &Float80Logarithm.PowerMinusOne);

    public static void Fsin(VcpuRegisters* r, int i) => Unary(&r->X87, &Float80Trigonometry.Sine, X87Status.C1 | X87Status.C2);

    public static void Fcos(VcpuRegisters* r, int i) => Unary(&r->X87, &Float80Trigonometry.Cosine, X87Status.C1 | X87Status.C2);

    public static void Fyl2x(VcpuRegisters* r, int i) => BinaryAndPop(&r->X87, &Float80Logarithm.LogarithmTimes);

    public static void Fyl2xp1(VcpuRegisters* r, int i) => BinaryAndPop(&r->X87, &Float80Logarithm.LogarithmPlusOneTimes);

    public static void Fpatan(VcpuRegisters* r, int i) => BinaryAndPop(&r->X87, &Float80Trigonometry.Arctangent);

    public static void Fprem(VcpuRegisters* r, int i) => Remainder(&r->X87, nearest: false);

    public static void Fprem1(VcpuRegisters* r, int i) => Remainder(&r->X87, nearest: true);

    private static void Remainder(X87State* s, bool nearest)
    {
        X87Context cx = X87Stack.Begin(s);
        Float80 result = X87Stack.Underflows(s, 0, 1, ref cx)
            ? Float80.Indefinite
            : Float80Remainder.Remainder(X87Stack.Get(s, 0), X87Stack.Get(s, 1), nearest, ref cx);
        if (!cx.Suppressed)
            X87Stack.Set(s, 0, result);
        // Without a quotient its bits stay as they were.
        X87Stack.End(s, cx, cx.Suppressed || result.IsNaN ? X87Status.C1 | X87Status.C2 : X87Status.Conditions);
    }

    public static void Fscale(VcpuRegisters* r, int i)
    {
        X87State* s = &r->X87;
        X87Context cx = X87Stack.Begin(s);
        Float80 result = X87Stack.Underflows(s, 0, 1, ref cx)
            ? Float80.Indefinite
            : Float80Remainder.Scale(X87Stack.Get(s, 0), X87Stack.Get(s, 1), ref cx);
        Store(s, 0, result, pop: false, ref cx);
    }

    public static void Fxtract(VcpuRegisters* r, int i) => Pair(&r->X87, &Float80Remainder.Extract, X87Status.C1);

    public static void Fsincos(VcpuRegisters* r, int i) => Pair(&r->X87, &Float80Trigonometry.SineAndCosine, X87Status.C1 | X87Status.C2);

    public static void Fptan(VcpuRegisters* r, int i) => Pair(&r->X87, &Float80Trigonometry.Tangent, X87Status.C1 | X87Status.C2);

    /// <summary>Replaces ST(0) by the operation's answer and pushes its second one.</summary>
    private static void Pair(X87State* s, delegate*<Float80, out Float80, ref X87Context, Float80> operation, uint conditions)
    {
        X87Context cx = X87Stack.Begin(s);
        Float80 result = Float80.Indefinite, pushed = Float80.Indefinite;
        if (!X87Stack.Underflows(s, 0, 0, ref cx) && !X87Stack.Overflows(s, ref cx))
            result = operation(X87Stack.Get(s, 0), out pushed, ref cx);
        if (!cx.Suppressed && (cx.Raised & X87Status.C2) == 0)
        {
            X87Stack.Set(s, 0, result);
            X87Stack.Push(s, pushed);
        }
        X87Stack.End(s, cx, conditions);
    }

    public static void Fchs(VcpuRegisters* r, int i) => Replace(&r->X87, X87Stack.Get(&r->X87, 0).Negated);

    public static void Fabs(VcpuRegisters* r, int i) => Replace(&r->X87, X87Stack.Get(&r->X87, 0).Magnitude);

    /// <summary>Puts the value into ST(0) unless that is empty.</summary>
    private static void Replace(X87State* s, Float80 value)
    {
        X87Context cx = X87Stack.Begin(s);
        Store(s, 0, X87Stack.Underflows(s, 0, 0, ref cx) ? Float80.Indefinite : value, pop: false, ref cx);
    }
}
