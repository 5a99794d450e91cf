namespace Emulator.Tests.Fuzz;

/// <summary>Cases that change one small range of addresses again and again: mappings of every kind, rights, advice, forks, and accesses between them.</summary>
internal sealed class MemoryCases(FuzzWorld world, ulong seed, int count) : CaseGenerator(world, seed, count)
{
    /// <summary>So many pages, around a boundary of 2 MiB.</summary>
    private const int Pages = 1024;

    private const ulong Start = FuzzGuest.Arena + 0x40_0000;

    private const ulong PopulateRead = 22, LastAdvice = 26;

    protected override FuzzCase Next()
    {
        ulong address = Address(), length = Length();
        return Random.Next(24) switch
        {
            < 5 => Call(Definition("mmap"), OneIn(8) ? 0 : address, length, null, MapFlags(), OneIn(2) ? ulong.MaxValue : null, (ulong)Random.Next(8) << 12),
            5 => Call(Definition("munmap"), address, length),
            6 or 7 => Call(Definition("mprotect"), address, length, null),
            8 => Call(Definition("mremap"), address, length, Length(), (ulong)Random.Next(8), Address()),
            9 or 10 => Call(Definition("madvise"), address, length, OneIn(3) ? PopulateRead + (ulong)Random.Next((int)(LastAdvice - PopulateRead)) : (ulong)Random.Next(26)),
            11 => Call(Definition(Pick<string>(["mlock", "mlock2", "munlock", "msync", "mincore", "mbind", "brk", "munlockall", "mlockall"])), address, length),
            12 => Call(Definition(Pick<string>(["process_vm_readv", "process_vm_writev"])), (ulong)Random.Next(2, 9), Words(Address(), Length()), 1, Words(Address(), Length()), 1, 0),
            13 => Call(Definition(Pick<string>(["fallocate", "ftruncate", "pread64", "pwrite64", "lseek"]))),
            14 => Call(Definition(Pick<string>(["shmat", "shmdt", "shmget", "shmctl", "memfd_create", "membarrier"]))),
            15 when OneIn(6) => Call(Definition(Pick<string>(["fork", "clone", "vfork", "exit_group"]))),
            < 19 => Finish(FuzzCase.Store, [address, 0, 0, 0, 0, 0]),
            < 22 => Finish(FuzzCase.Load, [address, 0, 0, 0, 0, 0]),
            _ => Finish(FuzzCase.Copy, [address, Address(), OneIn(4) ? length : (ulong)Random.Next(9000), 0, 0, 0]),
        };
    }

    private ulong Address() => OneIn(40) ? Pointer() : Start + ((ulong)Random.Next(OneIn(2) ? 24 : Pages) << 12) + (OneIn(10) ? (ulong)Random.Next(4096) : 0);

    private ulong Length() => Random.Next(12) switch { 0 => Size(), 1 => 0x20_0000, 2 => (ulong)Random.Next(Pages) << 12, _ => (ulong)Random.Next(1, 16) << 12 };

    private ulong MapFlags()
    {
        const ulong Fixed = 0x10, Anonymous = 0x20, Populate = 0x8000, FixedNoReplace = 0x10_0000, GrowsDown = 0x100, Huge = 0x4_0000;
        ulong flags = OneIn(3) ? 1UL : 2;
        flags |= OneIn(10) ? FixedNoReplace : OneIn(6) ? 0 : Fixed;
        flags |= OneIn(4) ? 0 : Anonymous;
        flags |= OneIn(6) ? Populate : 0;
        flags |= OneIn(20) ? GrowsDown : 0;
        return flags | (OneIn(20) ? Huge : 0);
    }
}
