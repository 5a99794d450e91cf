namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Bits of MXCSR (SDM vol. 1, 10.2.3).</summary>
internal static class Mxcsr
{
    public const uint Invalid = 1 << 0, Denormal = 1 << 1, DivideByZero = 1 << 2, Overflow = 1 << 3, Underflow = 1 << 4, Precision = 1 << 5;
    public const uint Flags = 0x3F;
    /// <summary>The exceptions that are found before an operation is carried out.</summary>
    public const uint BeforeResult = Invalid | Denormal | DivideByZero;
    public const uint DenormalsAreZeros = 1 << 6;
    /// <summary>From the flags to their masks.</summary>
    public const int MaskShift = 7;
    public const uint Masks = Flags << MaskShift;
    public const uint UnderflowMask = Underflow << MaskShift, PrecisionMask = Precision << MaskShift;
    public const int RoundingShift = 13;
    public const uint Rounding = 3 << RoundingShift;
    public const uint FlushToZero = 1 << 15;
    public const uint Defined = 0xFFFF;
}
