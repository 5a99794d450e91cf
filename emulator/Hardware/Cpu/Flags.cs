using System.Numerics;
using System.Runtime.CompilerServices;

namespace Emulator.Hardware.Cpu;

/// <summary>
/// RFLAGS in a lazy form of two words that most operations write without branches. <c>FlagResult</c> is the sign-extended
/// result: ZF is result == 0, SF its sign, PF the parity of its low byte. <c>FlagCarries</c> holds the carries out of bit positions, moved so
/// that bit 63 is CF, bit 62 the carry into the sign bit (OF is their difference) and bit 3 AF; bits 1 and 0 flip SF and PF, for flag values that no result gives. The other
/// bits mean nothing.
/// </summary>
public static unsafe class Flags
{
    // In bounds: nothing here but two fields of the state.
    public const ulong Carry = 1 << 0, Parity = 1 << 2, Adjust = 1 << 4, Zero = 1 << 6, Sign = 1 << 7,
        Trap = 1 << 8, Interrupt = 1 << 9, Direction = 1 << 10, Overflow = 1 << 11, NestedTask = 1 << 14, Resume = 1 << 16,
        AlignmentCheck = 1 << 18, Identification = 1 << 21;
    public const ulong Arithmetic = Carry | Parity | Adjust | Zero | Sign | Overflow;

    /// <summary>What POPF and IRET change in user mode, by operand size: neither IF nor IOPL. Both clear RF as well.</summary>
    internal static ulong WritableByUser(int operandSize)
        => Arithmetic | Trap | Direction | NestedTask | (operandSize == 2 ? 0 : AlignmentCheck | Identification);

    internal const ulong CarryBit = 1UL << 63, IntoSignBit = 1UL << 62, AdjustBit = 1 << 3, SignFlip = 1 << 1, ParityFlip = 1;

    public static ulong Read(long result, ulong carries)
    {
        ulong flags = carries >> 63;
        flags |= (((ulong)BitOperations.PopCount((uint)(byte)result) ^ carries) & 1 ^ 1) << 2;
        flags |= (carries & AdjustBit) << 1;
        flags |= result == 0 ? Zero : 0;
        flags |= (((ulong)result ^ (carries << 62)) >> 63) << 7;
        flags |= ((carries ^ (carries << 1)) >> 63) << 11;
        return flags;
    }

    public static void Write(out long result, out ulong carries, ulong flags)
    {
        ulong cf = flags & Carry, of = (flags >> 11) & 1, pf = (flags >> 2) & 1, sf = (flags >> 7) & 1;
        ulong zero = (flags >> 6) & 1;
        result = (long)(zero ^ 1);
        carries = (cf << 63) | ((cf ^ of) << 62) | ((flags & Adjust) >> 1) | (sf << 1) | (pf ^ zero);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ulong Get(VcpuState* c) => Read(c->Registers.FlagResult, c->Registers.FlagCarries);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Set(VcpuState* c, ulong flags) => Write(out c->Registers.FlagResult, out c->Registers.FlagCarries, flags);

    /// <summary>Replaces the flags in <paramref name="mask"/>, keeping the others.</summary>
    public static void Merge(VcpuState* c, ulong flags, ulong mask) => Set(c, (Get(c) & ~mask) | (flags & mask));

    /// <summary>Flags of an addition (also with carry): the carry vector is the majority of both operands and the inverted sum. Numbers are <see cref="Wide"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void SetAdd(VcpuState* c, ulong a, ulong b, ulong sum, int size) => SetCarries(c, sum, (a & b) | ((a | b) & ~sum), size);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetAdd<T>(VcpuState* c, T a, T b, T sum) where T : unmanaged => SetAdd(c, Wide.Of(a), Wide.Of(b), Wide.Of(sum), sizeof(T));

    /// <summary>Flags of a subtraction <c>a - b</c> (also with borrow); CF is the borrow.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void SetSub(VcpuState* c, ulong a, ulong b, ulong difference, int size) => SetCarries(c, difference, (~a & b) | ((~a | b) & difference), size);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetSub<T>(VcpuState* c, T a, T b, T difference) where T : unmanaged
        => SetSub(c, Wide.Of(a), Wide.Of(b), Wide.Of(difference), sizeof(T));

    /// <summary>Flags of AND, OR, XOR, TEST: CF and OF clear; AF, undefined, clear as processors do.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void SetLogic(VcpuState* c, ulong result, int size)
    {
        c->Registers.FlagResult = Wide.SignExtend(result, size);
        c->Registers.FlagCarries = 0;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetLogic<T>(VcpuState* c, T result) where T : unmanaged => SetLogic(c, Wide.Of(result), sizeof(T));

    /// <summary>COMIS and its like: ZF when equal, CF when less, the others clear.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SetOrder(VcpuState* c, bool less, bool equal)
    {
        c->Registers.FlagResult = equal ? 0 : 1;
        c->Registers.FlagCarries = (less ? CarryBit | IntoSignBit : 0) | (equal ? ParityFlip : 0);
    }

    // Bits that nobody reads keep what the vector has there: cutting them off would cost more than a constant of one byte.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SetCarries(VcpuState* c, ulong result, ulong vector, int size)
    {
        c->Registers.FlagResult = Wide.SignExtend(result, size);
        c->Registers.FlagCarries = size == 8 ? vector & ~(SignFlip | ParityFlip) : (vector << (64 - size * 8)) | (vector & AdjustBit);
    }

    /// <summary>INC and DEC: like the addition or subtraction of 1 but CF stays.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void KeepCarry(VcpuState* c, ulong before)
    {
        ulong now = c->Registers.FlagCarries;
        // Both top bits flip when CF does, so that OF, their difference, stays.
        ulong flip = (ulong)((long)((now ^ before) & CarryBit) >> 1) & (CarryBit | IntoSignBit);
        c->Registers.FlagCarries = now ^ flip;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long SignExtend<T>(T value) where T : unmanaged => Wide.SignExtend(Wide.Of(value), sizeof(T));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool GetCarry(VcpuState* c) => (long)c->Registers.FlagCarries < 0;
}
