using System.Text;

namespace Emulator.Hardware.Cpu;

/// <summary>CPUID: reports exactly what is implemented and enabled (SDM vol. 2, CPUID).</summary>
internal static unsafe class Cpuid
{
    /// <summary>XCR0: x87 and SSE state.</summary>
    public const uint XCr0 = 3;

    private const uint MaxLeaf = 0xD, MaxExtendedLeaf = 0x80000008;

    public static void Execute(VcpuState* c)
    {
        ulong* gpr = c->Registers.Gpr;
        Smp.Vcpu vcpu = Smp.Vcpu.Of(c);
        (uint a, uint b, uint cx, uint d) = Leaf((uint)gpr[VcpuRegisters.Rax], (uint)gpr[VcpuRegisters.Rcx], vcpu.Platform.Features, vcpu.Id, vcpu.Platform.Vcpus.Count);
        gpr[VcpuRegisters.Rax] = a;
        gpr[VcpuRegisters.Rbx] = b;
        gpr[VcpuRegisters.Rcx] = cx;
        gpr[VcpuRegisters.Rdx] = d;
    }

    public static (uint A, uint B, uint C, uint D) Leaf(uint leaf, uint subleaf, CpuFeatures f, int cpu, int cpus)
    {
        // In bounds: leaf and subleaf are compared, and index nothing but the brand string, whose three leaves are its 48 characters.
        uint Bit(CpuFeatures feature, int bit) => f.HasFlag(feature) ? 1u << bit : 0;
        // Beyond the last leaf Intel processors answer as for the last basic one.
        if (leaf is > MaxLeaf and < 0x80000000 or > MaxExtendedLeaf)
            return (0, 0, 0, 0);
        switch (leaf)
        {
            case 0:
                return (f.HasFlag(CpuFeatures.Xsave) ? MaxLeaf : 7, Word("Genu"), Word("ntel"), Word("ineI"));
            case 1:
                // Family 6, model 94, stepping 3; CLFLUSH line 64 bytes.
                return (0x000506E3, (uint)cpu << 24 | (uint)Math.Min(cpus, 255) << 16 | 8 << 8,
                    Bit(CpuFeatures.Sse3, 0) | Bit(CpuFeatures.Ssse3, 9) | Bit(CpuFeatures.Cx16, 13) | Bit(CpuFeatures.Sse41, 19) | Bit(CpuFeatures.Sse42, 20)
                        | Bit(CpuFeatures.Movbe, 22) | Bit(CpuFeatures.Popcnt, 23) | Bit(CpuFeatures.Xsave, 26) | Bit(CpuFeatures.Xsave, 27) | 1u << 31,
                    // FPU TSC CX8 CMOV PGE CLFSH MMX FXSR SSE SSE2 HTT
                    1u << 0 | 1u << 4 | 1u << 8 | 1u << 13 | 1u << 15 | 1u << 19 | 1u << 23 | 1u << 24 | 1u << 25 | 1u << 26 | (cpus > 1 ? 1u << 28 : 0));
            case 7 when subleaf == 0:
                // FDP_EXCPTN_ONLY, ERMS, deprecated FCS/FDS; BMI and the like as enabled.
                return (0, Bit(CpuFeatures.Fsgsbase, 0) | Bit(CpuFeatures.Bmi1, 3) | 1u << 6 | Bit(CpuFeatures.Bmi2, 8) | 1u << 9 | 1u << 13
                    | Bit(CpuFeatures.Adx, 19), 0, 0);
            case 0xD when f.HasFlag(CpuFeatures.Xsave):
                // Subleaf 1: XSAVEOPT and XSAVEC.
                return subleaf switch { 0 => (XCr0, 576, 576, 0), 1 => (3, 576, 0, 0), _ => (0, 0, 0, 0) };
            case 0x80000000:
                return (MaxExtendedLeaf, 0, 0, 0);
            case 0x80000001:
                // SYSCALL, NX, 1 GiB pages, RDTSCP, long mode; LAHF, LZCNT, PREFETCHW.
                return (0, 0, Bit(CpuFeatures.LahfSahf, 0) | Bit(CpuFeatures.Lzcnt, 5) | 1u << 8,
                    1u << 11 | 1u << 20 | 1u << 26 | Bit(CpuFeatures.Rdtscp, 27) | 1u << 29);
            case >= 0x80000002 and <= 0x80000004:
                return Brand((int)(leaf - 0x80000002) * 16);
            case 0x80000007:
                // Invariant TSC.
                return (0, 0, 0, 1u << 8);
            case 0x80000008:
                // 46 physical and 48 linear address bits.
                return (46 | 48 << 8, 0, 0, 0);
            default:
                return (0, 0, 0, 0);
        }
    }

    private static (uint, uint, uint, uint) Brand(int offset)
    {
        string brand = "Emulated x86-64 processor".PadRight(48, '\0').Substring(offset, 16);
        return (Word(brand[..4]), Word(brand[4..8]), Word(brand[8..12]), Word(brand[12..]));
    }

    private static uint Word(string four) => BitConverter.ToUInt32(Encoding.ASCII.GetBytes(four));
}
