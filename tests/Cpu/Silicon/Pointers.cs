using static Emulator.Tests.Cpu.Silicon.SiliconLayout;

namespace Emulator.Tests.Cpu.Silicon;

/// <summary>Addresses for operands: mostly usable ones, and each way in which an address can be bad.</summary>
internal static class Pointers
{
    /// <summary>Segment bases of every case, so that a displacement fixed in the instruction can allow for them.</summary>
    public const ulong FsBase = 0x0812_3440, GsBase = DataBase + 0x2348;

    /// <summary>An address for an operand of <paramref name="size"/> bytes.</summary>
    public static ulong Pick(SeededRandom random, int size)
    {
        size = Math.Max(size, 1);
        var crossing = size < 2 ? 0 : (ulong)(1 + random.Below(size - 1));
        return random.Below(40) switch
        {
            < 22 => Writable(random, size) & ~(ulong)(Math.Min(16, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)size)) - 1),
            < 28 => Writable(random, size),
            28 or 29 => Boundary(2) - crossing,
            30 => DataBase + (ulong)random.Below(PageSize - size),
            31 => Boundary(1) - crossing,
            32 => Boundary(3) - crossing,
            33 => Boundary(6) - crossing,
            34 => Boundary(4) - crossing,
            35 => Boundary(4) + (ulong)random.Below(PageSize),
            36 => Boundary(5) - crossing,
            37 => Boundary(0) - crossing,
            38 => (random.Next() & 0x3FFF_FFFF_FFFF_FFFF) | 0x4000_0000_0000_0000,
            _ => random.Pick<ulong>([0, 1, 0x7FF8, 0x7000_0000_0000]),
        };
    }

    /// <summary>An address inside the mapped pages, for operands whose address is part of the instruction.</summary>
    public static ulong PickMapped(SeededRandom random) => Writable(random, 64) & (random.Chance(60) ? ~15UL : ~0UL);

    private static ulong Boundary(int page) => DataBase + (ulong)(page * PageSize);

    private static ulong Writable(SeededRandom random, int size)
        => Boundary(random.Pick<int>([1, 1, 1, 2, 2, 2, 5])) + (ulong)random.Below(Math.Max(1, PageSize - size));
}
