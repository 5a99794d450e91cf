using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>Loads, stores, constants and moves between registers (SDM vol. 1, 8.3.3 and 8.3.4).</summary>
internal static unsafe class X87Moves
{
    public static void FldSingle(X87State* s, byte* operand)
    {
        X87Context cx = X87Stack.Begin(s);
        if (!X87Stack.Overflows(s, ref cx))
            Push(s, Float80Conversion.Loaded(Float80Conversion.FromSingle(*(uint*)operand, ref cx), ref cx), ref cx);
        else
            Push(s, Float80.Indefinite, ref cx);
    }

    public static void FldDouble(X87State* s, byte* operand)
    {
        X87Context cx = X87Stack.Begin(s);
        if (!X87Stack.Overflows(s, ref cx))
            Push(s, Float80Conversion.Loaded(Float80Conversion.FromDouble(*(ulong*)operand, ref cx), ref cx), ref cx);
        else
            Push(s, Float80.Indefinite, ref cx);
    }

    public static void FldExtended(X87State* s, byte* operand) => PushExact(s, new Float80(*(ulong*)operand, *(ushort*)(operand + 8)));

    public static void FildWord(X87State* s, byte* operand) => PushExact(s, Float80Conversion.FromInt64(*(short*)operand));

    public static void FildDoubleword(X87State* s, byte* operand) => PushExact(s, Float80Conversion.FromInt64(*(int*)operand));

    public static void FildQuadword(X87State* s, byte* operand) => PushExact(s, Float80Conversion.FromInt64(*(long*)operand));

    public static void Fbld(X87State* s, byte* operand) => PushExact(s, Float80Conversion.FromBcd(*(ulong*)operand, *(ushort*)(operand + 8)));

    /// <summary>Pushes a value whose conversion raises nothing.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PushExact(X87State* s, Float80 value)
    {
        X87Context cx = X87Stack.Begin(s);
        Push(s, X87Stack.Overflows(s, ref cx) ? Float80.Indefinite : value, ref cx);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Push(X87State* s, Float80 value, ref X87Context cx)
    {
        // Unlike elsewhere, an unmasked #D comes after the push.
        if ((cx.Raised & ~cx.Control & X87Status.Invalid) == 0)
            X87Stack.Push(s, value);
        X87Stack.End(s, cx);
    }

    public static void FldRegister(VcpuRegisters* r, int i)
    {
        X87State* s = &r->X87;
        X87Context cx = X87Stack.Begin(s);
        bool fault = X87Stack.Underflows(s, i, i, ref cx) || X87Stack.Overflows(s, ref cx);
        Push(s, fault ? Float80.Indefinite : X87Stack.Get(s, i), ref cx);
    }

    public static void Fld1(VcpuRegisters* r, int i) => PushExact(&r->X87, Float80.One);

    public static void Fldz(VcpuRegisters* r, int i) => PushExact(&r->X87, default);

    // The constants are kept to 66 bits or more and rounded as the control word says (SDM vol. 1, 8.3.4); each is given as the significand
    // cut to 64 bits and the distance to the next one.
    public static void Fldpi(VcpuRegisters* r, int i) => PushConstant(&r->X87, Float80.Bias + 1, 0xC90FDAA22168C234, up: true);

    public static void Fldl2t(VcpuRegisters* r, int i) => PushConstant(&r->X87, Float80.Bias + 1, 0xD49A784BCD1B8AFE, up: false);

    public static void Fldl2e(VcpuRegisters* r, int i) => PushConstant(&r->X87, Float80.Bias, 0xB8AA3B295C17F0BB, up: true);

    public static void Fldlg2(VcpuRegisters* r, int i) => PushConstant(&r->X87, Float80.Bias - 2, 0x9A209A84FBCFF798, up: true);

    public static void Fldln2(VcpuRegisters* r, int i) => PushConstant(&r->X87, Float80.Bias - 1, 0xB17217F7D1CF79AB, up: true);

    /// <param name="up">Whether the bits below the significand are more than half a unit.</param>
    private static void PushConstant(X87State* s, int exponent, ulong significand, bool up)
    {
        X87Rounding mode = X87Stack.Begin(s).Rounding;
        if (mode == X87Rounding.Up || (mode == X87Rounding.Nearest && up))
            significand++;
        PushExact(s, new Float80(false, exponent, significand));
    }

    public static void FstRegister(VcpuRegisters* r, int i) => MoveTop(&r->X87, i, pop: false);

    public static void FstpRegister(VcpuRegisters* r, int i) => MoveTop(&r->X87, i, pop: true);

    private static void MoveTop(X87State* s, int i, bool pop)
    {
        X87Context cx = X87Stack.Begin(s);
        Float80 value = X87Stack.Underflows(s, 0, 0, ref cx) ? Float80.Indefinite : X87Stack.Get(s, 0);
        if (!cx.Suppressed)
        {
            X87Stack.Set(s, i, value);
            if (pop)
                X87Stack.Pop(s);
        }
        X87Stack.End(s, cx);
    }

    /// <summary>FSTPNCE, undocumented: an empty ST(0) moves nothing and faults nothing.</summary>
    public static void Fstpnce(VcpuRegisters* r, int i)
    {
        X87State* s = &r->X87;
        if (!X87Stack.IsEmpty(s, 0))
            X87Stack.Set(s, i, X87Stack.Get(s, 0));
        X87Stack.Pop(s);
        X87Stack.End(s, X87Stack.Begin(s));
    }

    public static void Fxch(VcpuRegisters* r, int i)
    {
        X87State* s = &r->X87;
        X87Context cx = X87Stack.Begin(s);
        Float80 top = X87Stack.IsEmpty(s, 0) ? Float80.Indefinite : X87Stack.Get(s, 0);
        Float80 other = X87Stack.IsEmpty(s, i) ? Float80.Indefinite : X87Stack.Get(s, i);
        _ = X87Stack.Underflows(s, 0, i, ref cx);
        if (!cx.Suppressed)
        {
            X87Stack.Set(s, 0, other);
            X87Stack.Set(s, i, top);
        }
        X87Stack.End(s, cx);
    }

    /// <summary>FCMOVcc once its condition is known: a stack fault does not depend on it.</summary>
    public static void ConditionalMove(X87State* s, int i, bool condition)
    {
        X87Context cx = X87Stack.Begin(s);
        bool fault = X87Stack.Underflows(s, 0, i, ref cx);
        if ((condition || fault) && !cx.Suppressed)
            X87Stack.Set(s, 0, fault ? Float80.Indefinite : X87Stack.Get(s, i));
        X87Stack.EndKeepingC1(s, cx);
    }

    // In bounds: operands have the sizes that X87Binder names; the buffer is the bounce buffer, whatever the format.
    // The stores put their value into a buffer of the caller's and tell whether it is to be stored.
    public static bool FstSingle(X87State* s, byte* destination) => StoreSingle(s, destination, pop: false);

    public static bool FstpSingle(X87State* s, byte* destination) => StoreSingle(s, destination, pop: true);

    public static bool FstDouble(X87State* s, byte* destination) => StoreDouble(s, destination, pop: false);

    public static bool FstpDouble(X87State* s, byte* destination) => StoreDouble(s, destination, pop: true);

    private static bool StoreSingle(X87State* s, byte* destination, bool pop)
    {
        Float80 value = Top(s, out X87Context cx);
        *(uint*)destination = Float80Conversion.ToSingle(value, ref cx);
        return Stores(s, pop, ref cx);
    }

    private static bool StoreDouble(X87State* s, byte* destination, bool pop)
    {
        Float80 value = Top(s, out X87Context cx);
        *(ulong*)destination = Float80Conversion.ToDouble(value, ref cx);
        return Stores(s, pop, ref cx);
    }

    public static bool FstpExtended(X87State* s, byte* destination)
    {
        Float80 value = Top(s, out X87Context cx);
        *(ulong*)destination = value.Significand;
        *(ushort*)(destination + 8) = value.SignExponent;
        return Stores(s, pop: true, ref cx);
    }

    public static bool Fbstp(X87State* s, byte* destination)
    {
        Float80 value = Top(s, out X87Context cx);
        (*(ulong*)destination, *(ushort*)(destination + 8)) = Float80Conversion.ToBcd(value, ref cx);
        return Stores(s, pop: true, ref cx);
    }

    public static bool FistWord(X87State* s, byte* destination) => StoreInteger(s, destination, 16, pop: false, truncate: false);

    public static bool FistDoubleword(X87State* s, byte* destination) => StoreInteger(s, destination, 32, pop: false, truncate: false);

    public static bool FistpWord(X87State* s, byte* destination) => StoreInteger(s, destination, 16, pop: true, truncate: false);

    public static bool FistpDoubleword(X87State* s, byte* destination) => StoreInteger(s, destination, 32, pop: true, truncate: false);

    public static bool FistpQuadword(X87State* s, byte* destination) => StoreInteger(s, destination, 64, pop: true, truncate: false);

    public static bool FisttpWord(X87State* s, byte* destination) => StoreInteger(s, destination, 16, pop: true, truncate: true);

    public static bool FisttpDoubleword(X87State* s, byte* destination) => StoreInteger(s, destination, 32, pop: true, truncate: true);

    public static bool FisttpQuadword(X87State* s, byte* destination) => StoreInteger(s, destination, 64, pop: true, truncate: true);

    private static bool StoreInteger(X87State* s, byte* destination, int bits, bool pop, bool truncate)
    {
        Float80 value = Top(s, out X87Context cx);
        *(long*)destination = Float80Conversion.ToInteger(value, bits, truncate ? X87Rounding.TowardZero : cx.Rounding, ref cx);
        return Stores(s, pop, ref cx);
    }

    /// <summary>ST(0) for a store; the indefinite, with the stack fault noted, when it is empty.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Float80 Top(X87State* s, out X87Context cx)
    {
        cx = X87Stack.Begin(s);
        return X87Stack.Underflows(s, 0, 0, ref cx) ? Float80.Indefinite : X87Stack.Get(s, 0);
    }

    /// <summary>
    /// Ends a store; false when it must not write. Unlike for a register, an unmasked overflow or underflow stores nothing and does not
    /// pop (SDM vol. 1, 8.5.4).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Stores(X87State* s, bool pop, ref X87Context cx)
    {
        const uint suppressing = X87Status.BeforeOperation | X87Status.Overflow | X87Status.Underflow;
        bool stores = (cx.Raised & ~cx.Control & suppressing) == 0;
        if (stores && pop)
            X87Stack.Pop(s);
        X87Stack.End(s, cx);
        return stores;
    }
}
