using System.Buffers.Binary;
using Emulator.Kernel.Syscalls;

namespace Emulator.Tests.Fuzz;

/// <summary>Makes cases from a seed: arguments by the kinds that the system-call table gives them, numbers at the edges, structures with pointers and descriptors in them.</summary>
internal class CaseGenerator(FuzzWorld world, ulong seed, int count)
{
    private const int FirstStopSignal = 19, LastStopSignal = 22;

    /// <summary>Calls that end, or may hold up, who makes them: now and then is enough.</summary>
    private static readonly HashSet<string> Rare = new(StringComparer.Ordinal)
    {
        "exit", "exit_group", "execve", "execveat", "rt_sigreturn", "fork", "vfork", "clone", "clone3", "kill", "pause", "munmap", "reboot",
    };

    /// <summary>Calls by which a stop signal would reach the guest's own supervisor.</summary>
    private static readonly HashSet<string> Senders = new(StringComparer.Ordinal) { "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal" };

    /// <summary>The first process.</summary>
    protected const int Supervisor = 2;

    private const int PidFdSendSignal = 424;

    private static readonly ulong[] Edges =
    [
        0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 100, 127, 128, 255, 256, 511, 512, 1000, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 0xFFFF, 0x1_0000, 0x1_0001,
        0x10_0000, 0x20_0000, 0x3FFF_FFFF, 0x4000_0000, 0x7FFF_F000, 0x7FFF_FFFE, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0xFFFF_F000, 0xFFFF_FFFE, 0xFFFF_FFFF, 0x1_0000_0000,
        0x1_0000_0001, 0x7FFF_FFFF_F000, 0x7FFF_FFFF_FFFF, 0x8000_0000_0000, 0x00FF_FFFF_FFFF_FFFF, 0x7FFF_FFFF_FFFF_F000, 0x7FFF_FFFF_FFFF_FFFE, 0x7FFF_FFFF_FFFF_FFFF,
        0x8000_0000_0000_0000, 0x8000_0000_0000_0001, 0xFFFF_8000_0000_0000, 0xFFFF_FFFF_8000_0000, 0xFFFF_FFFF_FFFF_F000, 0xFFFF_FFFF_FFFF_FF9C, 0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFF,
    ];

    private static readonly SyscallDefinition[] Definitions = [.. Defined().OfType<SyscallDefinition>()];
    private static readonly HashSet<int> SenderNumbers = [.. Definitions.Where(static d => Senders.Contains(d.Name)).Select(static d => d.Number)];
    private static readonly SyscallDefinition[] Common = [.. Definitions.Where(static d => !Rare.Contains(d.Name))];

    private byte[] _blob = [];
    private int _index;
    private int _blobUsed;

    protected FuzzWorld World { get; } = world;

    protected Random Random { get; } = FuzzSettings.RandomOf(seed);

    public static int KnownCalls => Definitions.Length;

    /// <summary>All cases of the batch.</summary>
    public List<FuzzCase> Make()
    {
        List<FuzzCase> cases = [];
        for (_index = 0; _index < count; _index++)
        {
            _blob = new byte[FuzzGuest.BlobSize];
            _blobUsed = 0;
            cases.Add(Next());
        }
        return cases;
    }

    protected virtual FuzzCase Next()
    {
        if (Random.Next(200) == 0)
            return Finish(Random.Next(1000), [.. Enumerable.Range(0, 6).Select(_ => Number())]);
        if (Random.Next(50) == 0)
            return Code();
        return Call(Random.Next(12) == 0 ? Pick(Definitions) : Pick(Common));
    }

    /// <summary>Random code, executed as part of the program: its faults become signals.</summary>
    private FuzzCase Code()
    {
        new CodeGenerator(Random.Next()).Next(200).CopyTo(_blob, 0);
        return Finish(FuzzCase.Execute, [BlobAddress(0), ArenaAddress(), Value(), Value(), Value(), Value()]);
    }

    protected static SyscallDefinition Definition(string name) => Array.Find(Definitions, d => d.Name.Equals(name, StringComparison.Ordinal))!;

    /// <summary>A call with arguments by their kinds.</summary>
    protected FuzzCase Call(SyscallDefinition call, params ulong?[] given)
    {
        string[] kinds = call.Arguments.Split(',', StringSplitOptions.RemoveEmptyEntries);
        ulong[] arguments = new ulong[6];
        for (int i = 0; i < 6; i++)
            arguments[i] = i < given.Length && given[i] is { } fixedValue ? fixedValue : i < kinds.Length ? Argument(kinds[i]) : Random.Next(10) == 0 ? Number() : 0;
        return Harmless(Finish(call.Number, arguments));
    }

    /// <summary>Whatever a case may do, it does not stop the supervisor, which would go on only when the machine's patience ends.</summary>
    protected static FuzzCase Harmless(FuzzCase made)
    {
        bool spares = (int)made.Arguments[0] > Supervisor && (int)made.Arguments[1] != Supervisor && made.Operation != PidFdSendSignal;
        if (spares || !SenderNumbers.Contains(made.Operation))
            return made;
        ulong[] arguments = [.. made.Arguments];
        for (int i = 1; i < 3; i++)
            arguments[i] = (uint)arguments[i] is >= FirstStopSignal and <= LastStopSignal ? 0 : arguments[i];
        return made with { Arguments = arguments };
    }

    /// <summary>One argument, or some bits of what pointers lead to, is something else.</summary>
    protected FuzzCase Mutated(FuzzCase made)
    {
        if (OneIn(2))
        {
            ulong[] arguments = [.. made.Arguments];
            int which = Random.Next(6);
            arguments[which] = OneIn(3) ? arguments[which] + (ulong)Random.Next(-1, 2) : OneIn(3) ? arguments[which] ^ (1UL << Random.Next(64)) : Number();
            return Harmless(made with { Arguments = arguments });
        }
        Span<byte> word = made.Blob.AsSpan(Random.Next(12) * 8, 8);
        ulong value = BinaryPrimitives.ReadUInt64LittleEndian(word);
        BinaryPrimitives.WriteUInt64LittleEndian(word, Random.Next(4) switch { 0 => value ^ (1UL << Random.Next(64)), 1 => value + (ulong)Random.Next(-1, 2), 2 => Pointer(), _ => Value() });
        return made;
    }

    /// <summary>A process or thread that may be there. Numbers grow while cases kill workers, and fork.</summary>
    protected ulong Worker() => (ulong)Random.Next(Supervisor + 1, Supervisor + 5 + _index / 4);

    protected FuzzCase Finish(int operation, ulong[] arguments) => new(operation, arguments, _blob);

    protected T Pick<T>(IReadOnlyList<T> list) => list[Random.Next(list.Count)];

    protected bool OneIn(int n) => Random.Next(n) == 0;

    private static IEnumerable<SyscallDefinition?> Defined()
    {
        var table = new SyscallTable();
        for (ulong i = 0; i < 1024; i++)
            yield return table[i];
    }

    private ulong Argument(string kind)
    {
        if (OneIn(25))
            return Number();
        bool output = kind.StartsWith("out:", StringComparison.Ordinal);
        return (output ? kind[4..] : kind) switch
        {
            "fd" => Fd(),
            "dirfd" => OneIn(2) ? unchecked((ulong)-100L) : Fd(),
            "path" => OneIn(20) ? Pointer() : OneIn(20) ? Structure(48) : Pick(World.PathAddresses),
            "size" => Size(),
            "mode" => Pick<ulong>([0, 0x180, 0x1FF, 0x1ED, 0x81A4, 0x11B6, 0x61B6, 0xFFFF]),
            "openflags" => Bits(0x42, 0x241, 0x400, 0x800, 0x8_0000, 0x1_0000, 0x2_0000, 0x20_0000, 0x41_0000, 1, 2),
            "prot" => (ulong)Random.Next(8),
            "mapflags" => Bits(1, 2, 3, 0x10, 0x20, 0x20, 0x100, 0x4000, 0x8000, 0x4_0000, 0x10_0000, 0x2000),
            "signal" => (ulong)Random.Next(OneIn(8) ? 256 : 66),
            "cloneflags" => Bits(0x100, 0x200, 0x400, 0x800, 0x1_0000, 0x4000, 0x8000, 0x8_0000, 0x10_0000, 0x20_0000, 0x100_0000, 17, 0x1000_0000),
            "clockid" => (ulong)Random.Next(12),
            "whence" or "sighow" => (ulong)Random.Next(6),
            "futexop" => Bits(0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0x80, 0x100),
            "fcntl" => OneIn(2) ? (ulong)Random.Next(17) : (ulong)(1024 + Random.Next(15)),
            "prctl" => (ulong)Random.Next(70),
            "archprctl" => 0x1001UL + (ulong)Random.Next(4),
            "atflags" => Bits(0, 0x100, 0x200, 0x400, 0x1000, 0x800),
            "waitflags" => Bits(1, 2, 4, 8, 0x4000_0000, 0x2000_0000, 0x100_0000),
            "iovec" => Vector(),
            "argv" => Strings(),
            "sockaddr" => SocketAddress(),
            "timespec" or "timeval" or "itimer" => OneIn(4) ? 0 : Times(),
            "buf" => OneIn(3) ? Structure(64) : Pointer(),
            "ptr" or "stat" or "sigset" or "siginfo" or "rlimit" or "sigaction" or "waitstatus" => OneIn(4) ? Pointer() : output && OneIn(2) ? ArenaAddress() : Structure(64),
            _ => Value(),
        };
    }

    /// <summary>A plain number: small, an edge, bits, a descriptor or a process.</summary>
    protected ulong Value() => Random.Next(10) switch
    {
        < 3 => (ulong)Random.Next(8),
        < 4 => (ulong)Random.Next(70),
        4 => 1UL << Random.Next(32),
        5 => Fd(),
        6 => (ulong)Random.Next(2, 12),
        7 => Bits(1, 2, 4, 8, 0x10, 0x20, 0x800, 0x8_0000),
        _ => Pick(Edges),
    };

    protected ulong Number() => Random.Next(4) switch { 0 => (ulong)Random.NextInt64(), 1 => Pointer(), 2 => (ulong)-Random.Next(1, 200), _ => Pick(Edges) };

    protected ulong Bits(params ulong[] bits)
    {
        ulong value = Pick(bits);
        while (OneIn(2))
            value |= Pick(bits);
        return value;
    }

    protected ulong Fd() => OneIn(15) ? Pick(Edges) : (ulong)Random.Next(World.FdLimit + 6);

    protected ulong Size() => Random.Next(6) switch { 0 => Pick(Edges), 1 => (ulong)Random.Next(1, 9) << 12, 2 => (ulong)Random.Next(300), 3 => (ulong)Random.Next(20_000), _ => (ulong)Random.Next(65) };

    protected ulong ArenaAddress() => FuzzGuest.Arena + ((ulong)Random.Next(FuzzGuest.ArenaPages) << 12) + (OneIn(2) ? 0 : OneIn(2) ? (ulong)Random.Next(4096) : 4096UL - (ulong)Random.Next(1, 65));

    /// <summary>Memory that is there, that ends early, that is not there, or that is nobody's.</summary>
    protected ulong Pointer() => Random.Next(12) switch
    {
        < 6 => ArenaAddress(),
        6 => FuzzGuest.Arena + (FuzzGuest.ArenaPages << 12) - (ulong)Random.Next(200),
        7 => Pick<ulong>([0, 1, 8, 0xFFF, 0x1000, 0xFFFF]),
        8 => Pick<ulong>([0x7FFF_FFFF_EFF8, 0x7FFF_FFFF_F000, 0x8000_0000_0000, 0xFFFF_7FFF_FFFF_FFFF, 0xFFFF_FFFF_FF60_0000, 0xFFFF_8880_0000_0000, ulong.MaxValue - 7]),
        9 => FuzzGuest.CodeBase + (ulong)Random.Next(0x2000),
        10 => FuzzWorld.Region + (ulong)Random.Next(0x10000),
        _ => Structure(64),
    };

    /// <summary>A structure in the case's own bytes: words that are numbers, pointers, descriptors and sizes.</summary>
    protected ulong Structure(int size)
    {
        if (_blobUsed + size > _blob.Length)
            return BlobAddress(0);
        int at = _blobUsed;
        _blobUsed += size;
        bool words = !OneIn(4);
        for (int i = 0; i < size; i += 4)
        {
            ulong value = Random.Next(5) switch { 0 => 0, 1 => Value(), 2 => Pointer(at, size), 3 => Size(), _ => OneIn(2) ? Fd() : (ulong)Random.NextInt64() };
            if (words && i % 8 == 0 && i + 8 <= size)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(_blob.AsSpan(at + i), value);
                i += 4;
            }
            else
            {
                BinaryPrimitives.WriteUInt32LittleEndian(_blob.AsSpan(at + i), (uint)value);
            }
        }
        return BlobAddress(at);
    }

    /// <summary>As <see cref="Pointer()"/>, but with nothing new: structures do not nest for ever.</summary>
    private ulong Pointer(int at, int size) => OneIn(3) ? BlobAddress(Random.Next(at + size)) : ArenaAddress();

    /// <summary>A structure of exactly these words.</summary>
    protected ulong Words(params ulong[] words)
    {
        if (_blobUsed + words.Length * 8 > _blob.Length)
            return BlobAddress(0);
        int at = _blobUsed;
        foreach (ulong word in words)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(_blob.AsSpan(_blobUsed), word);
            _blobUsed += 8;
        }
        return BlobAddress(at);
    }

    private ulong BlobAddress(int offset) => FuzzGuest.BlobOf(count, _index) + (ulong)offset;

    private ulong Vector() => Words(OneIn(6) ? Pointer() : ArenaAddress(), Size(), ArenaAddress(), Size(), Pointer(), OneIn(5) ? Pick(Edges) : 64);

    private ulong Strings() => OneIn(4) ? 0 : Words(Pick(World.PathAddresses), Pick(World.PathAddresses), OneIn(10) ? Pointer() : 0, 0);

    private ulong SocketAddress()
    {
        ulong at = Structure(24);
        if (!OneIn(5) && at != BlobAddress(0))
            BinaryPrimitives.WriteUInt32LittleEndian(_blob.AsSpan(_blobUsed - 24), OneIn(2) ? 0x6C00_0001u : 0x0000_6C_0000u | 1);
        return at;
    }

    private ulong Times() => Words(TimePart(), NanosecondPart(), TimePart(), NanosecondPart());

    private ulong TimePart() => OneIn(5) ? Pick(Edges) : (ulong)Random.Next(2);

    private ulong NanosecondPart() => OneIn(8) ? Pick(Edges) : (ulong)Random.Next(2_000_000);
}
