using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Syscalls;

namespace Emulator.Tests.Fuzz;

/// <summary>
/// What a fuzzing guest finds: descriptors of every kind, names of files, memory. Devices are those of the machine's own list, so a new one comes along by itself;
/// so do its ioctls, which are taken from the kernel's enumerations of them.
/// </summary>
internal sealed class FuzzWorld
{
    private const int Open = 257, Cwd = -100;

    private readonly List<byte> _strings = [];
    private readonly List<FuzzCase> _setup = [];
    private int _nextFd;

    public FuzzWorld()
    {
        foreach (string name in Names)
            Path(name);
        foreach ((string name, _, _, _) in Nodes)
        {
            DeviceFds.Add(OpenFile("/dev/" + name, 2));
            DevicePaths.Add(PathAddresses[^1]);
        }
        foreach (string name in (string[])["/proc/self/maps", "/proc/self/mem", "/proc/self/pagemap", "/proc/meminfo", "/proc/self/status", "/sys", "/proc", "/proc/self/fd", "/dev", "/", "/ro", "/ro/file", "/rw"])
        {
            int fd = OpenFile(name, name.EndsWith("/mem", StringComparison.Ordinal) ? 2 : 0);
            (name is "/sys" or "/proc" or "/proc/self/fd" or "/dev" or "/" or "/ro" or "/rw" ? Directories : Files).Add(fd);
        }
        Files.AddRange([OpenFile("/rw/file", 2), OpenFile("/tmp/file", 0x42), OpenFile("/tmp", 0x41_0002)]); // O_TMPFILE
        Directories.Add(OpenFile("/tmp", 0x20_0000)); // O_PATH
        ulong name0 = Path("memory");
        int memory = Descriptor(319, name0, 2), second = Descriptor(319, name0, 0), third = Descriptor(319, name0, 3);
        foreach (int fd in (int[])[memory, second, third])
            Do(77, (ulong)fd, 0x1_0000);
        Do(9, FuzzGuest.Arena, FuzzGuest.ArenaPages << 12, 3, 0x32, ulong.MaxValue, 0);
        Do(9, FuzzGuest.Arena + (16 << 12), 8 << 12, 3, 0x11, (ulong)memory, 0);
        Do(72, (ulong)memory, 1033, 2); // F_ADD_SEALS F_SEAL_SHRINK
        Memories = [memory, second, third];
        Memories.Add(Descriptor(319, name0, 4)); // huge pages
        ulong pair = StringRoom(8);
        Pairs(293, pair, 0x800);
        Pairs(22, pair);
        Pipes.AddRange(Enumerable.Range(_nextFd - 4, 4));
        Pairs(53, 1, 1, 0, pair);
        Pairs(53, 1, 0x802, 0, pair);
        Pairs(53, 1, 5, 0, pair);
        Sockets.AddRange(Enumerable.Range(_nextFd - 6, 6));
        int listener = Descriptor(41, 1, 0x801, 0);
        Do(49, (ulong)listener, Bytes([1, 0, 0, (byte)'l']), 4);
        Do(50, (ulong)listener, 5);
        Sockets.AddRange([listener, Descriptor(41, 1, 2, 0), Descriptor(41, 1, 1, 0), Descriptor(41, 1, 0x801, 0)]);
        Streams = [.. Pipes, .. Sockets];
        int epoll = Descriptor(291, 0);
        Do(233, (ulong)epoll, 1, (ulong)listener, Bytes(new byte[12]));
        Epolls = [epoll, Descriptor(291, 0)];
        Streams.Add(Descriptor(290, 5, 0x800));
        Timer = Descriptor(283, 1, 0x800);
        Streams.AddRange([Timer, Descriptor(289, ulong.MaxValue, Bytes([0xFF, 0, 0, 0, 0, 0, 0, 0]), 8, 0x800)]);
        Descriptor(434, 2, 0);
        int region = OpenFile("/sys/fs/mshare/region", 0x42);
        RegionFd = region;
        Do(16, (ulong)region, 0x4010_7801, Bytes([.. BitConverter.GetBytes(Region), .. BitConverter.GetBytes(RegionSize)]));
        DeviceFds.Add(region);
        int udmabuf = DeviceFds[Array.FindIndex(Nodes, static node => node.Name.Equals("udmabuf", StringComparison.Ordinal))];
        int buffer = Descriptor(16, (ulong)udmabuf, 0x4018_7542, Bytes([.. BitConverter.GetBytes(memory), 0, 0, 0, 0, .. new byte[8], .. BitConverter.GetBytes(0x8000L)]));
        Buffer = buffer;
        DeviceFds.Add(buffer);
        for (int i = 0; i < Nodes.Length; i++)
        {
            if (Nodes[i].Name.StartsWith("dmabuf_importer", StringComparison.Ordinal))
                Do(16, (ulong)DeviceFds[i], 0xC018_DB00, Bytes([.. BitConverter.GetBytes(buffer), .. new byte[20]]));
        }
        Do(10, FuzzGuest.Arena + (30 << 12), 4096, 1);
        Do(10, FuzzGuest.Arena + (31 << 12), 4096, 0);
        Do(29, 0, 0x4000, 0x3B6);
        Do(64, 0, 4, 0x3B6);
        Do(68, 0, 0x3B6);
        OomScore = Path("/proc/self/oom_score_adj");
        Program = PathAddresses[Array.IndexOf(Names, "/proc/self/exe")];
    }

    /// <summary>The name of a program that may be executed.</summary>
    public ulong Program { get; }

    /// <summary>The name of the file by which a process says how soon it is to be killed.</summary>
    public ulong OomScore { get; }

    /// <summary>Where the msharefs region lies.</summary>
    public const ulong Region = 0x200_0000_0000, RegionSize = 0x80_0000_0000;

    public byte[] Strings => [.. _strings];

    /// <summary>The calls that prepare all this.</summary>
    public IReadOnlyList<FuzzCase> Setup => _setup;

    /// <summary>One more than the last descriptor.</summary>
    public int FdLimit => _nextFd;

    /// <summary>Descriptors of devices and of what devices give.</summary>
    public List<int> DeviceFds { get; } = [];

    /// <summary>Regular files and those of /proc; directories; files in memory, the last one of huge pages; pipes, sockets and what else can be read and written; epoll instances.</summary>
    public List<int> Files { get; } = [];
    public List<int> Directories { get; } = [];
    public List<int> Memories { get; }
    public List<int> Pipes { get; } = [];
    public List<int> Sockets { get; } = [];
    public List<int> Streams { get; }
    public List<int> Epolls { get; }
    public int Timer { get; }

    /// <summary>The msharefs region, and a dma-buf of the first file in memory.</summary>
    public int RegionFd { get; }
    public int Buffer { get; }

    /// <summary>Descriptors of the devices whose names begin so.</summary>
    public IReadOnlyList<int> DevicesOf(string name) => [.. Enumerable.Range(0, Nodes.Length).Where(i => Nodes[i].Name.StartsWith(name, StringComparison.Ordinal)).Select(i => DeviceFds[i])];

    /// <summary>Addresses of the names of devices.</summary>
    public List<ulong> DevicePaths { get; } = [];

    /// <summary>Addresses of names of files, most of which are there.</summary>
    public List<ulong> PathAddresses { get; } = [];

    /// <summary>Every ioctl number that the kernel's devices name, and those of terminals, sockets and files.</summary>
    public static readonly uint[] Ioctls =
    [
        .. typeof(SyscallTable).Assembly.GetTypes().Where(static type => type.IsEnum && type.Name.EndsWith("Ioctl", StringComparison.Ordinal))
            .SelectMany(static type => Enum.GetValuesAsUnderlyingType(type).Cast<object>()).Select(static value => Convert.ToUInt32(value, System.Globalization.CultureInfo.InvariantCulture)),
        0x5401, 0x5402, 0x540E, 0x540F, 0x5410, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x5452, 0x8004_5200, 0x8901, 0x8905,
    ];

    /// <summary>All but the terminal, which no fuzzing guest has.</summary>
    private static readonly (string Name, uint Major, uint Minor, uint Mode)[] Nodes = [.. Devices.Nodes.Where(static node => !node.Name.Equals("tty", StringComparison.Ordinal))];

    private static readonly string[] Names =
    [
        "/", ".", "..", "", "/tmp/file", "/tmp/x", "/tmp/y/z", "/tmp", "/ro/file", "/ro", "/ro/new", "/rw/file", "/rw/new", "/rw", "/rw/../ro/file", "/rw/link", "/rw/out", "/rw/up/secret",
        "/proc/self", "/proc/self/exe", "/proc/self/fd/3", "/proc/self/fd/20", "/proc/self/root", "/proc/self/cwd/tmp", "/proc/self/mem", "/proc/self/task", "/proc/2/maps", "/proc/1/root/etc/passwd",
        "/proc/self/fd/30/../..", "/proc/thread-self/smaps", "/proc/sys/vm/nr_hugepages", "/dev/fd/0", "/dev/null", "/dev/shm/s", "/dev/tty", "/dev/pts/0", "/sys/fs/mshare/region", "/sys/fs/mshare/b",
        "/etc/passwd", "/etc/shadow", "/nothing", "//tmp//file", "/tmp/file/", "/tmp/.", "/tmp/..", "relative", "a", "../../../../etc/hostname", "mshare", "/bin", "lib\u00E9", "/rw/\u00FF\u00FE",
        "/tmp/1", "/tmp/2", "/tmp/3", "/rw/1", "/rw/2", "/tmp/x/1",
    ];

    private ulong Path(string text)
    {
        PathAddresses.Add(Bytes([.. Encoding.Latin1.GetBytes(text), 0]));
        return PathAddresses[^1];
    }

    private ulong StringRoom(int bytes) => Bytes(new byte[bytes]);

    private ulong Bytes(byte[] bytes)
    {
        while (_strings.Count % 8 != 0)
            _strings.Add(0);
        ulong at = FuzzGuest.StringAt(_strings.Count);
        _strings.AddRange(bytes);
        return at;
    }

    private void Do(int number, params ulong[] arguments) => _setup.Add(new FuzzCase(number, [.. arguments, .. new ulong[6 - arguments.Length]], []));

    /// <summary>A call that gives the next descriptor.</summary>
    private int Descriptor(int number, params ulong[] arguments)
    {
        Do(number, arguments);
        return _nextFd++;
    }

    private void Pairs(int number, params ulong[] arguments)
    {
        Do(number, arguments);
        _nextFd += 2;
    }

    private int OpenFile(string name, int flags) => Descriptor(Open, unchecked((ulong)Cwd), Path(name), (ulong)flags, 0x1B6);
}
