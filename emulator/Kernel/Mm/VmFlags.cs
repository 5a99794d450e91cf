namespace Emulator.Kernel.Memory;

/// <summary>Flags of a <see cref="Vma"/> (include/linux/mm.h, VM_*; the values are Linux's).</summary>
[Flags]
public enum VmFlags : ulong
{
    None = 0,
    Read = 0x1,
    Write = 0x2,
    Exec = 0x4,
    Shared = 0x8,
    MayRead = 0x10,
    MayWrite = 0x20,
    MayExec = 0x40,
    MayShare = 0x80,
    GrowsDown = 0x100,
    /// <summary>Frames without metadata, such as a device's registers: nobody takes references to them.</summary>
    PfnMap = 0x400,
    Locked = 0x2000,
    Io = 0x4000,
    SequentialRead = 0x8000,
    RandomRead = 0x10000,
    DontCopy = 0x20000,
    DontExpand = 0x40000,
    LockOnFault = 0x80000,
    /// <summary>Counted as promised memory (<see cref="Overcommit"/>).</summary>
    Account = 0x100000,
    NoReserve = 0x200000,
    HugeTlb = 0x400000,
    WipeOnFork = 0x2000000,
    DontDump = 0x4000000,
    /// <summary>Mapped since soft-dirty bits were cleared: all its pages count as written.</summary>
    SoftDirty = 0x8000000,
    /// <summary>Pages that a driver put there, beside or instead of a file's.</summary>
    MixedMap = 0x10000000,
    HugePage = 0x20000000,
    NoHugePage = 0x40000000,
    Mergeable = 0x80000000,
    /// <summary>A container: its pages are in the tables of a host address space, linked at the top (VM_SHARED_PT of the mshare patches).</summary>
    Mshare = 1UL << 41,

    Access = Read | Write | Exec,
    LockedMask = Locked | LockOnFault,
}

/// <summary>Numbers of the memory system calls (include/uapi/asm-generic/mman*.h).</summary>
public static class MmanAbi
{
    public const int PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, PROT_GROWSDOWN = 0x01000000, PROT_GROWSUP = 0x02000000;
    public const int PROT_NONE = 0, PROT_SEM = 8;

    public const int MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_SHARED_VALIDATE = 3, MAP_TYPE = 0xF;
    public const int MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20, MAP_32BIT = 0x40, MAP_ABOVE4G = 0x80, MAP_GROWSDOWN = 0x100;
    public const int MAP_DENYWRITE = 0x800, MAP_EXECUTABLE = 0x1000, MAP_LOCKED = 0x2000, MAP_NORESERVE = 0x4000, MAP_POPULATE = 0x8000;
    public const int MAP_NONBLOCK = 0x10000, MAP_STACK = 0x20000, MAP_HUGETLB = 0x40000, MAP_SYNC = 0x80000;
    public const int MAP_FIXED_NOREPLACE = 0x100000, MAP_UNINITIALIZED = 0x4000000;
    public const int MAP_HUGE_SHIFT = 26, MAP_HUGE_MASK = 0x3F;

    /// <summary>The flags that MAP_SHARED and MAP_PRIVATE ignore rather than refuse (include/linux/mman.h, LEGACY_MAP_MASK).</summary>
    public const int LegacyMapMask = MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_UNINITIALIZED
        | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_32BIT | MAP_ABOVE4G
        | MAP_HUGE_MASK << MAP_HUGE_SHIFT;

    public const int MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2, MREMAP_DONTUNMAP = 4;
    public const int MS_ASYNC = 1, MS_INVALIDATE = 2, MS_SYNC = 4;
    public const int MCL_CURRENT = 1, MCL_FUTURE = 2, MCL_ONFAULT = 4;
    public const int MLOCK_ONFAULT = 1;

    public const int MADV_NORMAL = 0, MADV_RANDOM = 1, MADV_SEQUENTIAL = 2, MADV_WILLNEED = 3, MADV_DONTNEED = 4, MADV_FREE = 8;
    public const int MADV_REMOVE = 9, MADV_DONTFORK = 10, MADV_DOFORK = 11, MADV_MERGEABLE = 12, MADV_UNMERGEABLE = 13;
    public const int MADV_HUGEPAGE = 14, MADV_NOHUGEPAGE = 15, MADV_DONTDUMP = 16, MADV_DODUMP = 17, MADV_WIPEONFORK = 18;
    public const int MADV_KEEPONFORK = 19, MADV_COLD = 20, MADV_PAGEOUT = 21, MADV_POPULATE_READ = 22, MADV_POPULATE_WRITE = 23;
    public const int MADV_DONTNEED_LOCKED = 24, MADV_COLLAPSE = 25, MADV_HWPOISON = 100, MADV_SOFT_OFFLINE = 101;
}

/// <summary>The shape of a 64-bit process's address space (arch/x86/include/asm/page_64_types.h, processor.h).</summary>
public static class Layout
{
    /// <summary>First address that user space cannot have.</summary>
    public const ulong TaskSize = 0x7fff_ffff_f000;

    public const ulong StackTop = TaskSize;

    /// <summary>vm.mmap_min_addr: the lowest address that may be mapped.</summary>
    public const ulong MinAddress = 0x10000;

    /// <summary>Unmapped room kept below a stack: 256 pages (mm/mmap.c, stack_guard_gap).</summary>
    public const ulong StackGuardGap = 256 << 12;

    /// <summary>Where position-independent programs with an interpreter are loaded (ELF_ET_DYN_BASE, two thirds of the address space).</summary>
    public const ulong DynBase = 0x5555_5555_4000;

    /// <summary>Where bottom-up placement begins: a third of the address space (TASK_UNMAPPED_BASE).</summary>
    public const ulong UnmappedBase = 0x2aaa_aaaa_a000;

    /// <summary>vm.max_map_count.</summary>
    public const int MaxMapCount = 65530;

    /// <summary>The fixed page of the three oldest virtual system calls.</summary>
    public const ulong Vsyscall = 0xffff_ffff_ff60_0000;

    public static ulong PageAlign(ulong value) => (value + 0xFFF) & ~0xFFFUL;

    public static bool IsPageAligned(ulong value) => (value & 0xFFF) == 0;
}
