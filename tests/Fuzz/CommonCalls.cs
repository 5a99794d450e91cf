namespace Emulator.Tests.Fuzz;

/// <summary>
/// The commonest system calls with arguments that make sense, so that they come far into the kernel, and then often one thing about them that does not: a value, a word of a structure, an end
/// of a buffer. The rest of the cases are any calls.
/// </summary>
internal sealed class CommonCalls(FuzzWorld world, ulong seed, int count) : CaseGenerator(world, seed, count)
{
    private const ulong Cwd = unchecked((ulong)-100L), Self = 0;
    private const int SIGCHLD = 17, SIGUSR1 = 10;

    protected override FuzzCase Next()
    {
        if (OneIn(3))
            return base.Next();
        int area = Random.Next(20);
        FuzzCase made = area switch
        {
            < 5 => Transfer(),
            < 8 => Names(),
            < 11 => Memory(),
            < 14 => Processes(),
            < 16 => Signals(),
            < 18 => Sockets(),
            _ => Waiting(),
        };
        return OneIn(3) ? Mutated(made) : made;
    }

    private FuzzCase Transfer()
    {
        ulong fd = Readable(), size = Size(), position = (ulong)Random.Next(5) * 4000;
        return Random.Next(22) switch
        {
            0 => Do("read", fd, Buffer(size), size),
            1 => Do("write", fd, Buffer(size), size),
            2 => Do("pread64", fd, Buffer(size), size, position),
            3 => Do("pwrite64", fd, Buffer(size), size, position),
            4 => Do("readv", fd, Vector(out ulong n), n),
            5 => Do("writev", fd, Vector(out ulong n), n),
            6 => Do("preadv2", fd, Vector(out ulong n), n, position, 0, Bits(0, 1, 2, 4, 8, 16)),
            7 => Do("pwritev2", fd, Vector(out ulong n), n, position, 0, Bits(0, 1, 2, 4, 8, 16)),
            8 => Do("lseek", fd, position, (ulong)Random.Next(5)),
            9 => Do("sendfile", Readable(), Readable(), OneIn(2) ? 0 : Words(position), size),
            10 => Do("splice", Pipe(), 0, Readable(), OneIn(2) ? 0 : Words(position), size, Bits(0, 1, 2, 4, 8)),
            11 => Do("splice", Readable(), OneIn(2) ? 0 : Words(position), Pipe(), 0, size, Bits(0, 1, 2, 4, 8)),
            12 => Do("tee", Pipe(), Pipe(), size, 2),
            13 => Do("vmsplice", Pipe(), Vector(out ulong n), n, Bits(0, 2, 8)),
            14 => Do("copy_file_range", Readable(), Words(position), Readable(), Words((ulong)Random.Next(5) * 4000), size, 0),
            15 => Do("ftruncate", OneIn(2) ? Memory(Random.Next(3)) : Pick<ulong>([fd, (ulong)World.Files[^2]]), Pick<ulong>([0, 100, 4096, 0x8000, 0x1_0000, 0x10_0000, 0x8000_0000])),
            16 => Do("fallocate", OneIn(2) ? Memory(Random.Next(4)) : fd, Pick<ulong>([0, 1, 3, 3, 8, 0x10, 0x20]), (ulong)Random.Next(16) << 12, (ulong)Random.Next(1, 17) << 12),
            17 => Do("fcntl", fd, Pick<ulong>([0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032, 1033, 1034]), OneIn(2) ? (ulong)Random.Next(80) : Words((ulong)(uint)Random.Next(3) | (ulong)(uint)Random.Next(3) << 16, position, size, 0)),
            18 => Do("dup2", fd, (ulong)(World.FdLimit + Random.Next(8))),
            19 => Do(Pick<string>(["close", "fsync", "fdatasync", "dup"]), OneIn(3) ? fd : (ulong)(World.FdLimit + Random.Next(8))),
            20 => Do("getdents64", (ulong)Pick(World.Directories), Buffer(size), size),
            _ => Do("close_range", (ulong)(World.FdLimit + Random.Next(8)), (ulong)(World.FdLimit + Random.Next(16)), Pick<ulong>([0, 4])),
        };
    }

    private FuzzCase Names()
    {
        ulong path = Pick(World.PathAddresses), other = Pick(World.PathAddresses), fd = OneIn(2) ? Cwd : (ulong)Pick(World.Directories);
        return Random.Next(14) switch
        {
            0 or 1 => Do("openat", fd, path, Pick<ulong>([0, 1, 2, 0x42, 0xC2, 0x241, 0x442, 0x1_0000, 0x41_0002, 0x20_0000, 0x2_0000]), 0x1B6),
            2 => Do("openat2", fd, path, Words(Pick<ulong>([0, 2, 0x42, 0x20_0000]), 0, (ulong)Random.Next(0x40)), 24),
            3 => Do("newfstatat", fd, path, Buffer(144), Pick<ulong>([0, 0x100, 0x1000])),
            4 => Do("statx", fd, path, Pick<ulong>([0, 0x100, 0x1000]), 0xFFF, Buffer(256)),
            5 => Do("renameat2", fd, path, Cwd, other, Pick<ulong>([0, 1, 2])),
            6 => Do("linkat", fd, path, Cwd, other, Pick<ulong>([0, 0x400])),
            7 => Do("symlinkat", path, fd, other),
            8 => Do("unlinkat", fd, path, Pick<ulong>([0, 0x200])),
            9 => Do("mkdirat", fd, path, 0x1FF),
            10 => Do("readlinkat", fd, path, Buffer(100), 100),
            11 => Do("utimensat", fd, path, OneIn(3) ? 0 : Words(1, 2, 3, Pick<ulong>([4, 0x3FFF_FFFF, 0x3FFF_FFFE])), 0),
            12 => Do(Pick<string>(["chdir", "stat", "lstat", "truncate", "rmdir", "unlink"]), path, Buffer(144)),
            13 when OneIn(2) => Do("fchmodat", fd, path, Pick<ulong>([0x1FF, 0x1B6, 0x180, 0x124])),
            _ => Do("fsetxattr", (ulong)Pick(World.Files), path, Buffer(40), 40, (ulong)Random.Next(3)),
        };
    }

    /// <summary>Much of it, too: small machines are to have none left.</summary>
    private FuzzCase Memory()
    {
        ulong address = ArenaAddress() & ~0xFFFUL, length = (ulong)Random.Next(1, 9) << 12, much = (ulong)Random.Next(1, 8) << 20;
        ulong file = Memory(Random.Next(4));
        return Random.Next(20) switch
        {
            0 => Do("mmap", address, length, 3, 0x32, ulong.MaxValue),
            1 => Do("mmap", address, length, (ulong)Random.Next(1, 8), 0x11, file, (ulong)Random.Next(8) << 12),
            2 => Do("mmap", address, length, 3, 0x12, OneIn(2) ? file : (ulong)Pick(World.Files), (ulong)Random.Next(3) << 12),
            3 or 4 => Do("mmap", 0, much, 3, Pick<ulong>([0x8022, 0x8021, 0x22, 0x4022, 0x2022]), ulong.MaxValue),
            5 => Do("mmap", 0, 0x20_0000, 3, 0x4_0022, ulong.MaxValue),
            6 => Do("munmap", address, length),
            7 => Do("mprotect", address, length, (ulong)Random.Next(8)),
            8 => Do("mremap", address, length, (ulong)Random.Next(1, 12) << 12, (ulong)Random.Next(8), ArenaAddress() & ~0xFFFUL),
            9 or 10 => Do("madvise", address, length, Pick<ulong>([0, 3, 4, 8, 9, 10, 12, 14, 15, 16, 17, 18, 20, 21, 22, 23, 25])),
            11 => Do("mlock2", address, OneIn(4) ? much : length, (ulong)Random.Next(2)),
            12 => Do(Pick<string>(["munlock", "msync", "mincore"]), address, length, Pick<ulong>([1, 2, 4, ArenaAddress()])),
            13 => Do("fallocate", file, 0, 0, much),
            14 => Do("pwrite64", Memory(Random.Next(3)), Buffer(length), length, (ulong)Random.Next(2000) << 12),
            15 => Do("process_vm_readv", Worker(), Vector(out ulong n), n, Vector(out ulong m), m, 0),
            16 => Do("process_vm_writev", Worker(), Vector(out ulong n), n, Vector(out ulong m), m, 0),
            17 => OneIn(4) ? Do("shmdt", address) : Do("shmat", (ulong)Random.Next(2), OneIn(2) ? 0 : address, Pick<ulong>([0, 0x1000, 0x4000])),
            18 => Finish(FuzzCase.Store, [ArenaAddress(), 0, 0, 0, 0, 0]),
            _ => Finish(FuzzCase.Copy, [ArenaAddress(), ArenaAddress(), (ulong)Random.Next(12_000), 0, 0, 0]),
        };
    }

    private FuzzCase Processes()
    {
        const ulong Vm = 0x100, Fs = 0x200, Files = 0x400, Handlers = 0x800, PidFd = 0x1000, VFork = 0x4000, Thread = 0x1_0000, SysvSem = 0x4_0000, Tls = 0x8_0000, SetParent = 0x10_0000, Clear = 0x20_0000, SetChild = 0x100_0000;
        const ulong Threads = Vm | Fs | Files | Handlers | Thread | SysvSem;
        ulong flags = Random.Next(6) switch { 0 or 1 => Threads, 2 => Vm | VFork | SIGCHLD, 3 => Vm | Handlers | SIGCHLD, 4 => PidFd | SIGCHLD, _ => SIGCHLD } | (OneIn(2) ? 0 : Bits(SetParent, Clear, SetChild, Files, Fs, Tls));
        ulong stack = (flags & Vm) != 0 ? ArenaAddress() | 0xFF0 : 0, word = ArenaAddress() & ~7UL;
        return Random.Next(16) switch
        {
            < 3 => Do("clone", flags, stack, word, word, FuzzGuest.DataBase),
            3 => Do("clone3", Words(flags & ~0xFFUL, word, word, word, flags & 0xFF, stack & ~0xFFFUL, stack == 0 ? 0UL : 0xF00, FuzzGuest.DataBase), 64),
            4 or 5 => Do("fork"),
            6 => Do("vfork"),
            7 => Do("exit"),
            8 => Do("exit_group", 1),
            9 => Do("execve", OneIn(3) ? Pick(World.PathAddresses) : World.Program, Words(World.PathAddresses[0], World.PathAddresses[5], 0), Words(0)),
            10 => Do("execveat", Cwd, OneIn(3) ? Pick(World.PathAddresses) : World.Program, Words(World.PathAddresses[0], 0), 0, 0),
            11 => Do("wait4", Pick<ulong>([ulong.MaxValue, 0, Worker()]), OneIn(2) ? 0 : Buffer(4), Pick<ulong>([1, 3, 9, 0x4000_0001, 0]), OneIn(2) ? 0 : Buffer(144)),
            12 => Do("waitid", (ulong)Random.Next(4), Worker(), Buffer(128), Pick<ulong>([5, 4, 0x0100_0005, 15]), 0),
            13 => Do("unshare", Pick<ulong>([Fs, Files, SysvSem, Fs | Files])),
            14 => Do("prctl", Pick<ulong>([1, 2, 4, 15, 16, 36, 38]), (ulong)Random.Next(20)),
            _ => Do("setrlimit", (ulong)Random.Next(16), Words(Size(), Pick<ulong>([ulong.MaxValue, 0x10_0000]))),
        };
    }

    private FuzzCase Signals()
    {
        ulong signal = OneIn(3) ? (ulong)Random.Next(256) : Pick<ulong>([0, 1, 2, 6, 9, 11, SIGUSR1, 12, 13, 14, 15, SIGCHLD, 18, 19, 20, 23, 31, 34, 40, 64]), worker = Worker();
        ulong info = Words(signal, unchecked((ulong)-1L), worker, (ulong)Random.NextInt64());
        return Random.Next(14) switch
        {
            0 or 1 => Do("kill", OneIn(4) ? Self : OneIn(8) ? Pick<ulong>([ulong.MaxValue, unchecked(0 - worker)]) : worker, signal),
            2 or 3 => Do("tkill", worker, signal),
            4 => Do("tgkill", worker, worker + (ulong)Random.Next(4), signal),
            5 => Do("rt_sigqueueinfo", worker, signal, info),
            6 => Do("rt_tgsigqueueinfo", worker, worker + (ulong)Random.Next(4), signal, info),
            7 => Do("rt_sigaction", signal, Words(Pick<ulong>([0, 1, FuzzGuest.CodeBase + 0x1000, FuzzGuest.Arena]), Bits(0, 1, 2, 4, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x4000_0000, 0x8000_0000), FuzzGuest.CodeBase, 0), OneIn(2) ? 0 : Buffer(32), 8),
            8 => Do("rt_sigprocmask", (ulong)Random.Next(4), Words((ulong)Random.NextInt64()), OneIn(2) ? 0 : Buffer(8), 8),
            9 => Do("rt_sigtimedwait", Words((ulong)Random.NextInt64()), Buffer(128), Words(0, 100_000), 8),
            10 => Do("sigaltstack", OneIn(4) ? 0 : Words(ArenaAddress(), (ulong)Random.Next(3), Pick<ulong>([0x400, 0x800, 0x2000, 0x8000])), OneIn(2) ? 0 : Buffer(24)),
            11 => Do("timer_create", (ulong)Random.Next(4), Words((ulong)Random.NextInt64(), signal | (ulong)Random.Next(5) << 32, worker), ArenaAddress() & ~7UL),
            12 => Do("timer_settime", (ulong)Random.Next(4), 0, Words(0, (ulong)Random.Next(100_000), 0, (ulong)Random.Next(100_000)), OneIn(2) ? 0 : Buffer(32)),
            _ => Do("rt_sigsuspend", Words((ulong)Random.NextInt64()), 8),
        };
    }

    private FuzzCase Sockets()
    {
        ulong fd = OneIn(10) ? Stream() : (ulong)Pick(World.Sockets), size = (ulong)Random.Next(300), flags = Bits(0x40, 0x40, 0x4000, 1, 2, 0x20, 0x80, 0x100);
        ulong address = Words(0x6C00_0001UL, 0);
        return Random.Next(14) switch
        {
            0 => Do("socketpair", 1, Pick<ulong>([1, 2, 5, 0x801]), 0, ArenaAddress() & ~7UL),
            1 => Do("socket", 1, Pick<ulong>([1, 2, 5, 0x801, 0x8_0001]), 0),
            2 => Do("connect", fd, address, OneIn(4) ? 16UL : 4),
            3 => Do("bind", fd, address, 4),
            4 => Do("accept4", fd, OneIn(2) ? 0 : Buffer(16), OneIn(2) ? 0 : Words(16), Pick<ulong>([0, 0x800])),
            5 => Do("listen", fd, (ulong)Random.Next(4)),
            6 => Do("sendto", fd, Buffer(size), size, flags, OneIn(2) ? 0 : address, 4),
            7 => Do("recvfrom", fd, Buffer(size), size, flags, OneIn(2) ? 0 : Buffer(16), OneIn(2) ? 0 : Words(16)),
            8 or 9 => Do("sendmsg", fd, Message(rights: OneIn(2)), flags),
            10 => Do("recvmsg", fd, Message(rights: true), flags),
            11 => Do("setsockopt", fd, 1, (ulong)Random.Next(30), Words((ulong)Random.Next(100_000), 0), Pick<ulong>([4, 8, 16])),
            12 => Do("getsockopt", fd, 1, (ulong)Random.Next(30), Buffer(16), Words(16)),
            _ => Do(Pick<string>(["shutdown", "getsockname", "getpeername"]), fd, OneIn(2) ? (ulong)Random.Next(3) : Buffer(16), Words(16)),
        };
    }

    private FuzzCase Waiting()
    {
        ulong word = FuzzGuest.Arena + ((ulong)Random.Next(4) << 3), epoll = (ulong)Pick(World.Epolls), key = (ulong)Random.Next(4), soon = Words(0, (ulong)Random.Next(200_000));
        return Random.Next(18) switch
        {
            0 or 1 => Do("futex", word, Pick<ulong>([0, 0x80, 9, 0x89]), 0, soon, 0, uint.MaxValue),
            2 => Do("futex", word, Pick<ulong>([1, 0x81, 10]), (ulong)Random.Next(4), 0, 0, uint.MaxValue),
            3 => Do("futex", word, Pick<ulong>([3, 4, 0x83, 0x84]), 1, 1, word ^ 8, 0),
            4 => Do("futex", word, 5, 1, 1, word ^ 8, (ulong)Random.NextInt64()),
            5 => Do("futex", word, Pick<ulong>([6, 7, 8, 11, 12, 13]), 0, soon, word ^ 8, 0),
            6 => Do("futex_waitv", Words(0, word, 2, 0, word ^ 8, 2), 2, 0, 0, 1),
            7 => Do("epoll_ctl", epoll, (ulong)Random.Next(1, 4), OneIn(3) ? (ulong)Pick(World.Epolls) : Stream(), Words(Bits(1, 4, 0x2000, 1UL << 31, 1UL << 30, 1UL << 28), 0)),
            8 => Do("epoll_pwait2", epoll, Buffer(60), 5, soon, 0, 8),
            9 => Do("ppoll", Words(Stream() | 5UL << 32, Stream() | 1UL << 32, Readable() | 1UL << 32), 3, soon, 0, 8),
            10 => Do("pselect6", 64, Words((ulong)Random.NextInt64()), Words((ulong)Random.NextInt64()), 0, soon, 0),
            11 => Do("timerfd_settime", (ulong)World.Timer, 0, Words(0, (ulong)Random.Next(100_000), 0, (ulong)Random.Next(100_000)), 0),
            12 => Do("msgsnd", key, Words(1, 2, 3, 4), (ulong)Random.Next(24), 0x800),
            13 => Do("msgrcv", key, Buffer(64), 56, (ulong)Random.Next(3), 0x800),
            14 => Do("semtimedop", key, Words((ulong)(uint)Random.Next(4) | (ulong)(ushort)Random.Next(-2, 3) << 16 | Pick<ulong>([0, 0x800, 0x1000, 0x1800]) << 32), 1, soon),
            15 => Do(Pick<string>(["semget", "shmget", "msgget"]), (ulong)Random.Next(4), (ulong)Random.Next(0x3FF), 0x3FF),
            16 => Do(Pick<string>(["semctl", "msgctl", "shmctl"]), key, OneIn(2) ? 0 : (ulong)Random.Next(4), (ulong)Random.Next(20), Buffer(112)),
            _ => Do("clock_nanosleep", (ulong)Random.Next(2), (ulong)Random.Next(2), soon, 0),
        };
    }

    private FuzzCase Do(string name, params ReadOnlySpan<ulong> arguments)
    {
        ulong[] all = new ulong[6];
        arguments.CopyTo(all);
        return Harmless(Finish(Definition(name).Number, all));
    }

    private ulong Stream() => (ulong)Pick(World.Streams);

    private ulong Pipe() => OneIn(10) ? Stream() : (ulong)Pick(World.Pipes);

    private ulong Memory(int which) => (ulong)World.Memories[which];

    private ulong Readable() => Random.Next(4) switch { 0 => Stream(), 1 => Memory(Random.Next(3)), 2 => (ulong)Pick(World.Files), _ => (ulong)Random.Next(World.FdLimit) };

    /// <summary>Room for so much, often with a page behind it that is not there, is read-only, or is a file's.</summary>
    private ulong Buffer(ulong size)
    {
        ulong edge = FuzzGuest.Arena + (Pick<ulong>([16, 24, 30, 31, 32, FuzzGuest.ArenaPages]) << 12);
        return OneIn(2) ? ArenaAddress() & ~7UL : edge - Math.Min(size, 0x8000) + (OneIn(3) ? (ulong)Random.Next(1, 9) : 0);
    }

    private ulong Vector(out ulong parts)
    {
        parts = (ulong)Random.Next(1, 4);
        ulong[] words = new ulong[parts * 2];
        for (int i = 0; i < words.Length; i += 2)
            (words[i], words[i + 1]) = (Buffer(64), Size());
        return Words(words);
    }

    /// <summary>struct msghdr, with a descriptor or more on its way, or with room for some.</summary>
    private ulong Message(bool rights)
    {
        const ulong ScmRights = 1UL | 1UL << 32;
        ulong control = rights ? Words(16UL + 4 * (ulong)Random.Next(1, 5), ScmRights, Readable() | Stream() << 32, Stream() | Stream() << 32) : 0;
        ulong vector = Vector(out ulong parts);
        return Words(0, 0, vector, parts, control, rights ? Pick<ulong>([20, 24, 32]) : 0, 0);
    }
}
