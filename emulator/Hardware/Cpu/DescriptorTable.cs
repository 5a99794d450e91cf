namespace Emulator.Hardware.Cpu;

/// <summary>A segment descriptor in its 8 bytes (SDM vol. 3, 3.4.5); 0 is a selector that names none.</summary>
internal readonly struct SegmentDescriptor(ulong raw)
{
    private const ulong ReadableOrWritable = 1UL << 41, Code = 1UL << 43, Long = 1UL << 53, Granularity = 1UL << 55;

    public bool Exists => raw != 0;
    public bool IsCode => (raw & Code) != 0;
    /// <summary>64-bit code; other code runs in compatibility mode.</summary>
    public bool IsLong => (raw & Long) != 0;
    public bool IsReadable => Exists && (raw & (Code | ReadableOrWritable)) != Code;
    public bool IsWritable => (raw & (Code | ReadableOrWritable)) == ReadableOrWritable;

    /// <summary>What LAR gives: processors keep the limit's bits in the middle, which the manual leaves undefined.</summary>
    public uint AccessRights => (uint)(raw >> 32) & 0x00FF_FF00;

    /// <summary>What LSL gives: the last byte's offset.</summary>
    public uint Limit
    {
        get
        {
            uint limit = (uint)(raw & 0xFFFF | raw >> 32 & 0xF_0000);
            return (raw & Granularity) != 0 ? limit << 12 | 0xFFF : limit;
        }
    }
}

/// <summary>
/// The global descriptor table as user mode sees Linux's (arch/x86/kernel/cpu/common.c:gdt_page). Descriptors of privilege 0 are left
/// out: user mode gets the same answer for them as for none, and there is no local table. All bases are 0.
/// </summary>
internal static class DescriptorTable
{
    public const ushort UserCode = 0x33, UserData = 0x2B;

    private const ulong Code32 = 0x00CF_FB00_0000_FFFF, Data = 0x00CF_F300_0000_FFFF, Code64 = 0x00AF_FB00_0000_FFFF, Processor = 0x0040_F500_0000_0000;

    /// <param name="cpu">The processor that asks: its number is the limit of a segment made for that (arch/x86/include/asm/segment.h:vdso_encode_cpunode).</param>
    public static SegmentDescriptor Find(ushort selector, int cpu) => new((selector & ~3) switch
    {
        0x20 => Code32,
        0x28 => Data,
        0x30 => Code64,
        0x78 => Processor | (uint)cpu,
        _ => 0,
    });

    /// <summary>The error code of a fault that a selector causes (SDM vol. 3, 6.13).</summary>
    public static uint ErrorCode(ushort selector) => (uint)(selector & ~3);
}
