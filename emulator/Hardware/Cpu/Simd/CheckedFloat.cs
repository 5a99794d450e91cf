using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>
/// Floating-point operations with all that MXCSR asks for. On x86-64 hosts the operation is executed under the guest's own control, all exceptions
/// masked, and the flags that it raised are read from the host; whether the guest gets #XM is decided afterwards.
/// Operands, result and control words lie in the vCPU's scratch memory: that orders the operation between the two loads of the host's MXCSR.
/// </summary>
internal static unsafe class CheckedFloat
{
    // Behind the part of the scratch memory that holds an operand which crosses a page.
    // In bounds: an operand or a result has 16 bytes at most, a control word 4, and the scratch memory 128.
    private const int First = 48, Second = 64, ResultAt = 80, Control = 96;

    /// <summary>Where <see cref="Run{TFloat,TIn,TOut}(VcpuState*,TIn*,TIn*)"/> leaves the result.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Result(VcpuState* c) => c->Bounce + ResultAt;

    /// <summary>Executes the operation; false when it raises #XM, with the flags set.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool Run<TFloat, TIn, TOut>(VcpuState* c, TIn* a, TIn* b)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
        => Run<TFloat, TIn, TOut>(c, a, b, c->Registers.Mxcsr, ~0u);

    /// <param name="control">The MXCSR to execute under; its masks and flags are replaced.</param>
    /// <param name="reported">The flags that the instruction reports.</param>
    public static bool Run<TFloat, TIn, TOut>(VcpuState* c, TIn* a, TIn* b, uint control, uint reported)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        TIn first = *a, second = *b;
        control = (control & ~Mxcsr.Flags) | Preset(c, reported);
        uint raised = Execute<TFloat, TIn, TOut>(c, first, second, control) & reported;
        if (TFloat.PassesFirstNan && typeof(TIn) == typeof(TOut))
            *(TIn*)Result(c) = Ieee.FirstNan(first, *(TIn*)Result(c));
        uint unmasked = ~(c->Registers.Mxcsr >> Mxcsr.MaskShift) & Mxcsr.Flags;
        if ((raised & unmasked) == 0)
        {
            c->Registers.Mxcsr |= raised;
            return true;
        }
        // Exceptions found before the operation is carried out keep those of its result from being found, in every element.
        if ((raised & unmasked & Mxcsr.BeforeResult) != 0)
            raised &= Mxcsr.BeforeResult;
        else if ((raised & unmasked & (Mxcsr.Overflow | Mxcsr.Underflow)) != 0)
            raised = Elements<TFloat, TIn, TOut>(c, first, second, control, unmasked);
        c->Registers.Mxcsr |= raised;
        return false;
    }

    /// <summary>
    /// The flags to execute with: those whose raising would say nothing new. Processors take hundreds of cycles whenever a flag changes, by an
    /// operation or a load of MXCSR, so no flag is cleared only to be raised again.
    /// </summary>
    private static uint Preset(VcpuState* c, uint reported)
        => (c->Registers.Mxcsr & (c->Registers.Mxcsr >> Mxcsr.MaskShift) & Mxcsr.Flags) | (~reported & Mxcsr.Flags);

    /// <summary>Leaves the result in the scratch memory and returns the flags raised, with those that were set in <paramref name="control"/>.</summary>
    /// <remarks>Optimized from its first run: code that is not would call the operation, and the runtime, which compiles it then, raises flags of its own.</remarks>
    [MethodImpl(Chain.Hot)]
    private static uint Execute<TFloat, TIn, TOut>(VcpuState* c, TIn a, TIn b, uint control)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        // Results are flushed to zero only while underflow is masked; unmasked, every tiny result is an underflow, exact or not.
        bool tinyRaises = TFloat.Range != Range.Kept && (c->Registers.Mxcsr & Mxcsr.UnderflowMask) == 0;
        if (tinyRaises)
            control &= ~Mxcsr.FlushToZero;
        *(TIn*)(c->Bounce + First) = a;
        *(TIn*)(c->Bounce + Second) = b;
        uint raised;
        if (c->LoadMxcsr != null)
        {
            // The operation is inlined: nothing is called while the guest's control is loaded.
            uint* mxcsr = (uint*)(c->Bounce + Control);
            Call(c->StoreMxcsr, mxcsr);
            if (*mxcsr != (control | Mxcsr.Masks))
            {
                *mxcsr = control | Mxcsr.Masks;
                Call(c->LoadMxcsr, mxcsr);
            }
            *(TOut*)Result(c) = TFloat.Run(*(TIn*)(c->Bounce + First), *(TIn*)(c->Bounce + Second));
            Call(c->StoreMxcsr, mxcsr);
            raised = *mxcsr & Mxcsr.Flags;
            // The host gets its own control back, with the flags as they are: nobody reads them.
            if (*mxcsr != (Mxcsr.Masks | raised))
            {
                *mxcsr = Mxcsr.Masks | raised;
                Call(c->LoadMxcsr, mxcsr);
            }
        }
        else
        {
            *(TOut*)Result(c) = TFloat.Run(a, b);
            raised = Estimate<TFloat, TIn, TOut>(a, b, *(TOut*)Result(c));
        }
        if (tinyRaises && Ieee.AnyDenormal(*(TOut*)Result(c)))
            raised |= Mxcsr.Underflow;
        return raised;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Call(void* code, uint* mxcsr) => ((delegate* unmanaged[SuppressGCTransition]<uint*, void>)code)(mxcsr);

    /// <summary>For hosts whose flags cannot be read: right for ordinary numbers; rounding is to nearest (LIMITS.md).</summary>
    private static uint Estimate<TFloat, TIn, TOut>(TIn a, TIn b, TOut result)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        uint raised = TFloat.Rounds ? Mxcsr.Precision : 0;
        if (!Ieee.IsClean(TFloat.Clean & (Clean.FirstNotDenormal | Clean.SecondNotDenormal), a, b, result))
            raised |= Mxcsr.Denormal;
        if (!Ieee.IsClean(TFloat.Clean & (Clean.FirstOrdered | Clean.SecondOrdered | Clean.ResultDefinite), a, b, result))
            raised |= Mxcsr.Invalid;
        return raised;
    }

    /// <summary>
    /// The flags, when an unmasked overflow or underflow stops the operation. The processor then judges exactness as if the exponent had no
    /// bounds (SDM vol. 1, 4.9.1.4), in the elements concerned; so each element is executed alone, the others being 1.
    /// </summary>
    private static uint Elements<TFloat, TIn, TOut>(VcpuState* c, TIn first, TIn second, uint control, uint unmasked)
        where TFloat : struct, IFloat<TIn, TOut> where TIn : unmanaged where TOut : unmanaged
    {
        bool single = typeof(TIn) == typeof(float) || typeof(TIn) == typeof(Vector128<float>);
        int size = single ? 4 : 8;
        TIn ones = Ones<TIn>(single);
        uint raised = 0;
        for (int at = 0; at < sizeof(TIn); at += size)
        {
            uint flags = Execute<TFloat, TIn, TOut>(c, Only(ones, first, at, size), Only(ones, second, at, size), control);
            if ((flags & unmasked & (Mxcsr.Overflow | Mxcsr.Underflow)) != 0)
            {
                bool inexact = TFloat.Range switch
                {
                    Range.Narrowing => SignificantBits(*(ulong*)((byte*)&second + at)) > 24,
                    // A tiny sum is always exact.
                    Range.Sum when (flags & unmasked & Mxcsr.Underflow) != 0 => false,
                    _ => (Execute<TFloat, TIn, TOut>(c, Only(ones, Scaled(TFloat.Range, first, at, single), at, size),
                        Only(ones, Scaled(TFloat.Range, second, at, single), at, size), control) & Mxcsr.Precision) != 0,
                };
                flags = (flags & ~Mxcsr.Precision) | (inexact ? Mxcsr.Precision : 0);
            }
            raised |= flags;
        }
        return raised;
    }

    private static T Ones<T>(bool single) where T : unmanaged
    {
        T ones = default;
        for (int at = 0; at < sizeof(T); at += single ? 4 : 8)
        {
            if (single)
                *(float*)((byte*)&ones + at) = 1;
            else
                *(double*)((byte*)&ones + at) = 1;
        }
        return ones;
    }

    // In bounds: only formats that can overflow or underflow come here, and these are made of whole elements of that size.
    private static T Only<T>(T others, T value, int at, int size) where T : unmanaged
    {
        Buffer.MemoryCopy((byte*)&value + at, (byte*)&others + at, size, size);
        return others;
    }

    /// <summary>The element at <paramref name="at"/> with an exponent that keeps the result in range and its exactness as it is.</summary>
    private static T Scaled<T>(Range range, T value, int at, bool single) where T : unmanaged
    {
        byte* element = (byte*)&value + at;
        int fraction = single ? 23 : 52;
        ulong bits = single ? *(uint*)element : *(ulong*)element;
        ulong exponentMask = single ? 0xFFUL : 0x7FF, exponent = (bits >> fraction) & exponentMask;
        ulong significand = bits & ((1UL << fraction) - 1), sign = bits >> (single ? 31 : 63) << (single ? 31 : 63);
        if (range == Range.Product)
        {
            if (exponent == 0 && significand != 0)
                significand = significand << (BitOperations.LeadingZeroCount(significand) - (63 - fraction)) & ((1UL << fraction) - 1);
            bits = sign | (exponentMask >> 1) << fraction | significand;
        }
        else if (exponent > 2)
        {
            // An overflowing sum; a much smaller second operand only has to stay what it is, not zero.
            bits -= 2UL << fraction;
        }
        if (single)
            *(uint*)element = (uint)bits;
        else
            *(ulong*)element = bits;
        return value;
    }

    private static int SignificantBits(ulong number)
    {
        ulong significand = number & 0xF_FFFF_FFFF_FFFF;
        if ((number & 0x7FF0_0000_0000_0000) != 0)
            significand |= 1UL << 52;
        return 64 - BitOperations.LeadingZeroCount(significand) - BitOperations.TrailingZeroCount(significand);
    }
}
