using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu.X87;

/// <summary>The register stack (SDM vol. 1, 8.1.2) and the way an instruction ends.</summary>
internal static unsafe class X87Stack
{
    /// <summary>Number of the physical register that ST(<paramref name="i"/>) is.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    // In bounds wherever it is an index: masked, of eight registers.
    public static int Physical(X87State* s, int i) => ((s->Status >> X87Status.TopShift) + i) & 7;

    /// <summary>ST(<paramref name="i"/>), whether it is empty or not.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Float80 Get(X87State* s, int i)
    {
        // By halves, as it is written: a load of all 16 bytes would wait for both stores to reach the cache.
        ulong* slot = s->Registers + (2 * Physical(s, i));
        return new Float80(slot[0], (ushort)slot[1]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsEmpty(X87State* s, int i) => ((s->Valid >> Physical(s, i)) & 1) == 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static X87Context Begin(X87State* s) => new(s->Control);

    /// <summary>Notes a stack underflow if one of the registers is empty; an unmasked one suppresses the operation.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Underflows(X87State* s, int i, int j, ref X87Context cx)
    {
        if (!IsEmpty(s, i) && !IsEmpty(s, j))
            return false;
        cx.Raised |= X87Status.Invalid | X87Status.StackFault;
        return true;
    }

    /// <summary>Notes a stack overflow if there is no room for a push.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Overflows(X87State* s, ref X87Context cx)
    {
        if (IsEmpty(s, 7))
            return false;
        cx.Raised |= X87Status.Invalid | X87Status.StackFault | X87Status.C1;
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Set(X87State* s, int i, Float80 value)
    {
        Put(s, i, value);
        s->Valid |= (byte)(1 << Physical(s, i));
    }

    /// <summary>Writes a register without making it valid.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put(X87State* s, int i, Float80 value)
    {
        ulong* slot = s->Registers + (2 * Physical(s, i));
        slot[0] = value.Significand;
        slot[1] = value.SignExponent;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Push(X87State* s, Float80 value)
    {
        s->Status = (ushort)((s->Status & ~X87Status.Top) | ((s->Status - (1u << X87Status.TopShift)) & X87Status.Top));
        Set(s, 0, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Pop(X87State* s)
    {
        s->Valid &= (byte)~(1 << Physical(s, 0));
        s->Status = (ushort)((s->Status & ~X87Status.Top) | ((s->Status + (1u << X87Status.TopShift)) & X87Status.Top));
    }

    /// <summary>Merges what the operation raised into the status word; <paramref name="cleared"/> names the condition codes that it defines.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void End(X87State* s, in X87Context cx, uint cleared = X87Status.C1)
    {
        uint raised = cx.Raised;
        if ((raised & ~cx.Control & X87Status.Exceptions) != 0)
        {
            // What was not done did not round either; only a stack overflow has set C1.
            if (cx.Suppressed)
                raised &= X87Status.BeforeOperation | X87Status.StackFault | ((raised & X87Status.StackFault) != 0 ? X87Status.C1 : 0);
            raised |= X87Status.ErrorSummary | X87Status.Busy;
        }
        s->Status = (ushort)((s->Status & ~cleared) | raised);
    }

    /// <summary>The end of FCOMI and FCMOVcc, which clear C1 for a stack underflow only.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void EndKeepingC1(X87State* s, in X87Context cx)
        => End(s, cx, (cx.Raised & X87Status.StackFault) != 0 ? X87Status.C1 : 0);

    /// <summary>Recomputes ES and B after the control word or the flags were loaded (SDM vol. 1, 8.1.3.3).</summary>
    public static void Summarize(X87State* s)
    {
        const ushort summary = (ushort)(X87Status.ErrorSummary | X87Status.Busy);
        if ((s->Status & ~s->Control & X87Status.Exceptions) != 0)
            s->Status |= summary;
        else
            s->Status &= unchecked((ushort)~summary);
    }
}
