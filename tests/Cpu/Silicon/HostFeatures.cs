using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>What the host's processor can run natively.</summary>
internal static class HostFeatures
{
    public static bool Has(CpuidFeature feature) => feature switch
    {
        CpuidFeature.SSE3 => Sse3.IsSupported,
        CpuidFeature.SSSE3 => Ssse3.IsSupported,
        CpuidFeature.SSE4_1 => Sse41.IsSupported,
        CpuidFeature.SSE4_2 => Sse42.IsSupported,
        CpuidFeature.POPCNT => Popcnt.IsSupported,
        CpuidFeature.BMI1 => Bmi1.IsSupported,
        CpuidFeature.BMI2 => Bmi2.IsSupported,
        CpuidFeature.LZCNT => Lzcnt.IsSupported,
        CpuidFeature.MOVBE => Bit(Leaf(1, 0).Ecx, 22),
        CpuidFeature.ADX => Bit(Leaf(7, 0).Ebx, 19),
        CpuidFeature.FSGSBASE => Bit(Leaf(7, 0).Ebx, 0),
        CpuidFeature.CMPXCHG16B => Bit(Leaf(1, 0).Ecx, 13),
        CpuidFeature.AVX => Avx.IsSupported,
        CpuidFeature.AVX2 => Avx2.IsSupported,
        _ => true,
    };

    private static bool Bit(int word, int bit) => (word >> bit & 1) != 0;

    private static (int Eax, int Ebx, int Ecx, int Edx) Leaf(int leaf, int sub) => X86Base.CpuId(leaf, sub);
}
