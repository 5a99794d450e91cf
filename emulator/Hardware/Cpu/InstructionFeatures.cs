using Iced.Intel;

namespace Emulator.Hardware.Cpu;

/// <summary>Which of the extensions that <c>--cpu</c> switches an instruction belongs to.</summary>
public static class InstructionFeatures
{
    /// <summary>The extensions without which the instruction raises #UD.</summary>
    public static CpuFeatures Needed(in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            // Without their feature these two ignore the F3 prefix and are BSF and BSR, on which compilers rely (SDM vol. 2, TZCNT, LZCNT).
            case Mnemonic.Tzcnt or Mnemonic.Lzcnt:
                return CpuFeatures.None;
            // In 64-bit mode they have a bit of their own (SDM vol. 2, LAHF).
            case Mnemonic.Lahf or Mnemonic.Sahf:
                return CpuFeatures.LahfSahf;
        }
        var needed = CpuFeatures.None;
        foreach (CpuidFeature feature in instruction.CpuidFeatures)
            needed |= Of(feature);
        return needed;
    }

    private static CpuFeatures Of(CpuidFeature feature) => feature switch
    {
        CpuidFeature.SSE3 => CpuFeatures.Sse3,
        CpuidFeature.SSSE3 => CpuFeatures.Ssse3,
        CpuidFeature.SSE4_1 => CpuFeatures.Sse41,
        CpuidFeature.SSE4_2 => CpuFeatures.Sse42,
        CpuidFeature.POPCNT => CpuFeatures.Popcnt,
        CpuidFeature.CMPXCHG16B => CpuFeatures.Cx16,
        CpuidFeature.MOVBE => CpuFeatures.Movbe,
        CpuidFeature.BMI1 => CpuFeatures.Bmi1,
        CpuidFeature.BMI2 => CpuFeatures.Bmi2,
        CpuidFeature.LZCNT => CpuFeatures.Lzcnt,
        CpuidFeature.ADX => CpuFeatures.Adx,
        CpuidFeature.RDTSCP => CpuFeatures.Rdtscp,
        CpuidFeature.XSAVE or CpuidFeature.XSAVEC or CpuidFeature.XSAVEOPT => CpuFeatures.Xsave,
        CpuidFeature.FSGSBASE => CpuFeatures.Fsgsbase,
        _ => CpuFeatures.None,
    };
}
