using Emulator.Kernel;

namespace Emulator.Tests.Guests;

/// <summary>The guests of the repository, with the arguments that the suite gives them.</summary>
public static class GuestPrograms
{
    private static readonly string[] CrashWays = ["null", "write", "divide", "ud2", "stack", "noexec", "protection", "trap", "abort", "syscall"];

    /// <summary>The repository's root: the folder above this assembly that holds the solution.</summary>
    public static string Root { get; } = FindRoot();

    public static string Built { get; } = Path.Combine(Root, "guests", "bin");

    /// <summary>Guests whose threads or processes make the number of vCPUs matter.</summary>
    public static IReadOnlyList<GuestRun> Concurrent { get; } =
    [
        Guest("threads", "2"), Guest("threads", "6"), Guest("futex"), Guest("atomics", "4", "2000"), Guest("litmus", "20000"),
        Guest("signals"), Guest("fork", "60"), Guest("pipes"), Guest("exec"), Guest("selfmod", "100"), Guest("tlb", "4", "200"), Guest("tables"),
        Guest("polling"), Guest("sockets"), Guest("process"), Guest("sysv"), Guest("time"),
    ];

    public static IReadOnlyList<GuestRun> Sequential { get; } =
    [
        Guest("hello"), Guest("echo"), Guest("echo", "plain", "", "two words", "--help", "-g", "--", "tab\tnew\nline \"quoted\""),
        Guest("primes", "20000"), Guest("sorting", "600"), Guest("hashing", "8"), Guest("integers"), Guest("floating"), Guest("faults"), Guest("mmap"),
        Guest("files"), Guest("sparse", "32"), Guest("sparse", "32", "private"), Guest("sparse", "32", "faults"), .. CrashWays.Select(way => Guest("crash", way)),
    ];

    /// <summary>Everything that ends by itself.</summary>
    public static IEnumerable<GuestRun> All => Sequential.Concat(Concurrent);

    /// <summary>The files of the repository that a clean build must give again.</summary>
    public static IEnumerable<string> Names => Directory.EnumerateFiles(Path.Combine(Root, "guests", "programs"), "*.c").Select(path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal);

    public static GuestRun Guest(string name, params string[] arguments) => new(Path.Combine(Built, name + ".elf"), arguments);

    public static MachineOptions Parallel(int vcpus) => new() { Vcpus = vcpus };

    public static MachineOptions Deterministic(int vcpus, ulong seed) => new() { Vcpus = vcpus, Deterministic = true, Seed = seed };

    private static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Emulator.sln")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new DirectoryNotFoundException("The tests run inside the repository: no Emulator.sln above " + AppContext.BaseDirectory);
    }
}
