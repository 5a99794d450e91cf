namespace Emulator.Tests.Fuzz;

/// <summary>Cases about every device of the machine and what devices give: their ioctls with structures, reads, writes, mappings and polls, while the memory and files behind them change.</summary>
internal sealed partial class DeviceCases(FuzzWorld world, ulong seed, int count) : CaseGenerator(world, seed, count)
{
    protected override FuzzCase Next()
    {
        ulong fd = OneIn(12) ? Fd() : OneIn(8) ? (ulong)(World.FdLimit + Random.Next(6)) : (ulong)Pick(World.DeviceFds);
        return Random.Next(20) switch
        {
            < 3 => Ioctl(fd),
            < 10 => Expected(),
            10 => Call(Definition("mmap"), OneIn(2) ? 0 : ArenaAddress() & ~0xFFFUL, Size(), null, null, fd, (ulong)Random.Next(9) << 12),
            11 => Call(Definition(Pick<string>(["read", "write", "pread64", "pwrite64", "readv", "writev", "lseek"])), fd),
            12 => Call(Definition("poll"), Words(fd | ((ulong)Random.Next(0x2000) << 32), Fd() | (1UL << 32)), 2, (ulong)Random.Next(2)),
            13 => Call(Definition(Pick<string>(["fallocate", "ftruncate"])), Fd(), (ulong)Random.Next(4), (ulong)Random.Next(16) << 12, Length()),
            14 => Call(Definition(Pick<string>(["munmap", "mprotect", "madvise", "mremap"])), ArenaAddress() & ~0xFFFUL, Length()),
            15 => Call(Definition(Pick<string>(["dup", "fcntl", "close", "fstat", "fsync", "epoll_ctl", "sendfile", "splice"])), fd),
            16 when OneIn(3) => Call(Definition(Pick<string>(["fork", "vfork", "exit_group", "exit", "kill"]))),
            17 => Finish(FuzzCase.Store, [OneIn(3) ? FuzzWorld.Region + Length() : ArenaAddress(), 0, 0, 0, 0, 0]),
            18 => Finish(FuzzCase.Copy, [ArenaAddress(), ArenaAddress(), (ulong)Random.Next(9000), 0, 0, 0]),
            _ => OpenOne(),
        };
    }

    /// <summary>What the device expects, or with one thing changed.</summary>
    private FuzzCase Expected()
    {
        (ulong fd, uint command, ulong argument) = WellFormed();
        FuzzCase made = Finish(Definition("ioctl").Number, [fd, command, argument, 0, 0, 0]);
        return OneIn(3) ? Mutated(made) : made;
    }

    private FuzzCase Ioctl(ulong fd)
    {
        uint command = Pick(FuzzWorld.Ioctls);
        if (OneIn(10))
            command ^= 1u << Random.Next(32);
        int size = (int)(command >> 16 & 0x3FFF);
        ulong argument = OneIn(12) ? Pointer() : OneIn(3) ? ArenaStructure(size) : Structure(Math.Clamp((size + 7) & ~7, 8, 64));
        return Call(Definition("ioctl"), fd, command, argument);
    }

    /// <summary>A range of memory, as most devices take one: address, pointer or size first.</summary>
    private ulong ArenaStructure(int size) => OneIn(2)
        ? Words(ArenaAddress() & ~0xFFFUL, ArenaAddress(), OneIn(3) ? Length() : (ulong)Random.Next(1, 20), Fd(), Value(), Value())
        : Words(OneIn(2) ? FuzzWorld.Region + ((ulong)Random.Next(32) << 12) : (ulong)Pick(World.DeviceFds), Length(), (ulong)Random.Next(4) << 12, 3UL | 0x31UL << 32, OneIn(2) ? 0xFFFF_FFFF : Fd(), (ulong)size);

    private ulong Length() => OneIn(6) ? Size() : (ulong)Random.Next(1, 17) << 12;

    private FuzzCase OpenOne() => Call(Definition("openat"), null, Pick(World.DevicePaths), 2, 0x1B6);
}
