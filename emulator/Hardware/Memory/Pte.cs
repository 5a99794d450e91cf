namespace Emulator.Hardware.Memory;

/// <summary>Bits of a paging-structure entry in 4-level paging (SDM vol. 3, 4.5.4); the same places at every level.</summary>
[Flags]
public enum Pte : ulong
{
    None = 0,
    Present = 1UL << 0,
    Writable = 1UL << 1,
    User = 1UL << 2,
    WriteThrough = 1UL << 3,
    CacheDisable = 1UL << 4,
    Accessed = 1UL << 5,
    Dirty = 1UL << 6,
    /// <summary>PS: in a PDPTE or PDE, the entry maps a page. In a PTE the same bit is PAT.</summary>
    PageSize = 1UL << 7,
    Global = 1UL << 8,
    /// <summary>Bits 9 to 11 and 52 to 58 are ignored by the processor: the operating system's own.</summary>
    Software1 = 1UL << 9,
    Software2 = 1UL << 10,
    Software3 = 1UL << 11,
    /// <summary>PAT of a page that is larger than 4 KiB.</summary>
    PatLarge = 1UL << 12,
    /// <summary>Bits 12 to 51: address of the next table or of the page.</summary>
    Frame = 0x000F_FFFF_FFFF_F000,
    NoExecute = 1UL << 63,
}

/// <summary>Shape of the paging structures.</summary>
public static class PageTable
{
    public const int Entries = 512;
    /// <summary>Level of the root (PML4); 2 is the page-directory-pointer table, 1 the page directory, 0 the page table.</summary>
    public const int RootLevel = 3;
    public const int AddressBits = 48;

    /// <summary>log2 of the bytes that one entry of a table at <paramref name="level"/> translates.</summary>
    public static int Shift(int level) => 12 + 9 * level;

    public static int Index(ulong address, int level) => (int)(address >> Shift(level)) & (Entries - 1);

    public static bool IsCanonical(ulong address) => (ulong)((long)(address << 16) >> 16) == address;
}

/// <summary>What an access does.</summary>
public enum Access
{
    Read,
    Write,
    Execute,
}

/// <summary>Error code of a page fault (SDM vol. 3, 4.7).</summary>
[Flags]
public enum PageFaultError : uint
{
    None = 0,
    /// <summary>P: the translation exists and forbids the access (or has a reserved bit set).</summary>
    Protection = 1,
    Write = 2,
    User = 4,
    ReservedBit = 8,
    InstructionFetch = 16,
}
