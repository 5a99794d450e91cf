using Iced.Intel;

namespace Emulator.Hardware.Cpu.Simd;

/// <summary>Asks the families of vector and MMX instructions in turn.</summary>
internal static unsafe class SimdBinder
{
    public static Handler Bind(ref Binding b)
    {
        // Asking a family for the first time compiles it, so those that cannot know the instruction are not asked.
        if (!IsVector(b.Instruction.Op0Register) && !IsVector(b.Instruction.Op1Register))
            return b.Instruction.Mnemonic switch
            {
                Mnemonic.Ldmxcsr or Mnemonic.Stmxcsr => VectorMoves.Bind(ref b),
                Mnemonic.Cvtss2si or Mnemonic.Cvtsd2si or Mnemonic.Cvttss2si or Mnemonic.Cvttsd2si => FloatConvert.Bind(ref b),
                Mnemonic.Movnti => ElementMoves.Bind(ref b),
                Mnemonic.Emms => MmxMoves.Bind(ref b),
                _ => null,
            };
        Handler handler = VectorMoves.Bind(ref b);
        if (handler == null) handler = ElementMoves.Bind(ref b);
        if (handler == null) handler = PackedArithmetic.Bind(ref b);
        if (handler == null) handler = PackedShifts.Bind(ref b);
        if (handler == null) handler = Shuffles.Bind(ref b);
        if (handler == null) handler = FloatArithmetic.Bind(ref b);
        if (handler == null) handler = FloatCompare.Bind(ref b);
        if (handler == null) handler = FloatConvert.Bind(ref b);
        if (handler == null) handler = FloatRound.Bind(ref b);
        if (handler == null) handler = FloatHorizontal.Bind(ref b);
        if (handler == null) handler = StringCompare.Bind(ref b);
        if (handler == null) handler = MmxMoves.Bind(ref b);
        if (handler == null) handler = MmxConvert.Bind(ref b);
        return handler;
    }

    // In bounds: no pointers but the binding's operation.
    private static bool IsVector(Register register) => register.IsXMM() || register.IsMM();
}
