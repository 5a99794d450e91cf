namespace Emulator.Hardware.Cpu.X87;

/// <summary>Comparisons and classification (SDM vol. 1, 8.3.6).</summary>
internal static unsafe class X87Compare
{
    private const uint Codes = X87Status.C0 | X87Status.C2 | X87Status.C3;

    public static void Fcom(VcpuRegisters* r, int i) => ToConditions(&r->X87, i, quiet: false, pops: 0);

    public static void Fcomp(VcpuRegisters* r, int i) => ToConditions(&r->X87, i, quiet: false, pops: 1);

    public static void Fcompp(VcpuRegisters* r, int i) => ToConditions(&r->X87, 1, quiet: false, pops: 2);

    public static void Fucom(VcpuRegisters* r, int i) => ToConditions(&r->X87, i, quiet: true, pops: 0);

    public static void Fucomp(VcpuRegisters* r, int i) => ToConditions(&r->X87, i, quiet: true, pops: 1);

    public static void Fucompp(VcpuRegisters* r, int i) => ToConditions(&r->X87, 1, quiet: true, pops: 2);

    public static void Fcomi(VcpuRegisters* r, int i) => ToFlags(r, i, quiet: false, pop: false);

    public static void Fcomip(VcpuRegisters* r, int i) => ToFlags(r, i, quiet: false, pop: true);

    public static void Fucomi(VcpuRegisters* r, int i) => ToFlags(r, i, quiet: true, pop: false);

    public static void Fucomip(VcpuRegisters* r, int i) => ToFlags(r, i, quiet: true, pop: true);

    public static void FcomMemory<TFormat>(X87State* s, byte* operand) where TFormat : struct, IX87Format
        => WithMemory<TFormat>(s, operand, pop: false);

    public static void FcompMemory<TFormat>(X87State* s, byte* operand) where TFormat : struct, IX87Format
        => WithMemory<TFormat>(s, operand, pop: true);

    public static void Ftst(VcpuRegisters* r, int i)
    {
        X87State* s = &r->X87;
        X87Context cx = X87Stack.Begin(s);
        Float80Order order = X87Stack.Underflows(s, 0, 0, ref cx)
            ? Float80Order.Unordered
            : Float80Arithmetic.Compare(X87Stack.Get(s, 0), default, quiet: false, ref cx);
        End(s, order, 0, ref cx);
    }

    // In bounds: as in X87Arithmetic.
    private static void WithMemory<TFormat>(X87State* s, byte* operand, bool pop) where TFormat : struct, IX87Format
    {
        X87Context cx = X87Stack.Begin(s);
        Float80Order order = X87Stack.Underflows(s, 0, 0, ref cx)
            ? Float80Order.Unordered
            : Float80Arithmetic.Compare(X87Stack.Get(s, 0), TFormat.Widen(operand, ref cx), quiet: false, ref cx);
        End(s, order, pop ? 1 : 0, ref cx);
    }

    private static void ToConditions(X87State* s, int i, bool quiet, int pops)
    {
        Float80Order order = Compare(s, i, quiet, out X87Context cx);
        End(s, order, pops, ref cx);
    }

    private static Float80Order Compare(X87State* s, int i, bool quiet, out X87Context cx)
    {
        cx = X87Stack.Begin(s);
        return X87Stack.Underflows(s, 0, i, ref cx)
            ? Float80Order.Unordered
            : Float80Arithmetic.Compare(X87Stack.Get(s, 0), X87Stack.Get(s, i), quiet, ref cx);
    }

    private static void End(X87State* s, Float80Order order, int pops, ref X87Context cx)
    {
        // An unmasked exception leaves the stack but not the condition codes.
        s->Status = (ushort)((s->Status & ~X87Status.Conditions) | (uint)order);
        for (; pops > 0 && !cx.Suppressed; pops--)
            X87Stack.Pop(s);
        X87Stack.End(s, cx);
    }

    /// <summary>FCOMI: the relation goes to ZF, PF and CF; OF, SF and AF are cleared.</summary>
    private static void ToFlags(VcpuRegisters* r, int i, bool quiet, bool pop)
    {
        X87State* s = &r->X87;
        Float80Order order = Compare(s, i, quiet, out X87Context cx);
        ulong flags = order switch
        {
            Float80Order.Greater => 0,
            Float80Order.Less => Flags.Carry,
            Float80Order.Equal => Flags.Zero,
            _ => Flags.Carry | Flags.Parity | Flags.Zero,
        };
        r->Rflags = (r->Rflags & ~Flags.Arithmetic) | flags;
        if (pop && !cx.Suppressed)
            X87Stack.Pop(s);
        X87Stack.EndKeepingC1(s, cx);
    }

    public static void Fxam(VcpuRegisters* r, int i)
    {
        X87State* s = &r->X87;
        Float80 value = X87Stack.Get(s, 0);
        uint codes = X87Stack.IsEmpty(s, 0) ? X87Status.C3 | X87Status.C0
            : value.IsUnsupported ? 0
            : value.IsNaN ? X87Status.C0
            : value.IsInfinity ? X87Status.C2 | X87Status.C0
            : value.IsZero ? X87Status.C3
            : value.IsDenormal ? X87Status.C3 | X87Status.C2
            : X87Status.C2;
        if (value.Sign)
            codes |= X87Status.C1;
        s->Status = (ushort)((s->Status & ~X87Status.Conditions) | codes);
    }
}
