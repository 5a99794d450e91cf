namespace Emulator.Hardware.Cpu;

/// <summary>Instruction-set extensions that a machine may be built without (<c>--cpu</c>).</summary>
[Flags]
public enum CpuFeatures : ulong
{
    None = 0,
    Sse3 = 1 << 0,
    Ssse3 = 1 << 1,
    Sse41 = 1 << 2,
    Sse42 = 1 << 3,
    Popcnt = 1 << 4,
    Cx16 = 1 << 5,
    LahfSahf = 1 << 6,
    Movbe = 1 << 7,
    Bmi1 = 1 << 8,
    Bmi2 = 1 << 9,
    Lzcnt = 1 << 10,
    Adx = 1 << 11,
    Rdtscp = 1 << 12,
    Fsgsbase = 1 << 13,
    Xsave = 1 << 14,

    /// <summary>x86-64-v1 of the psABI: SSE2, CMPXCHG8B, FXSR, MMX, CMOV.</summary>
    V1 = Rdtscp,
    /// <summary>x86-64-v2 of the psABI.</summary>
    V2 = V1 | Sse3 | Ssse3 | Sse41 | Sse42 | Popcnt | Cx16 | LahfSahf,
    /// <summary>All that is implemented.</summary>
    Max = V2 | Movbe | Bmi1 | Bmi2 | Lzcnt | Adx | Fsgsbase | Xsave,
}
