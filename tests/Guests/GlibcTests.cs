using System.Collections.Concurrent;
using Emulator.Kernel;
using Emulator.Kernel.Syscalls;

namespace Emulator.Tests.Guests;

/// <summary>Small C programs, compiled here against the C libraries that are installed, run as they do on the host.</summary>
public sealed class GlibcTests
{
    private static readonly string Sources = Path.Combine(GuestPrograms.Root, "tests", "Guests", "c");

    /// <summary>What a dynamic program reads besides itself and its interpreter, which need no grant.</summary>
    private static readonly Bind[] Libraries =
        [.. "/lib /lib64 /usr/lib /usr/lib64 /etc/ld.so.cache".Split(' ').Where(path => File.Exists(path) || Directory.Exists(path)).Select(path => new Bind(path, path, ReadOnly: true))];

    private static readonly int[] ManyVcpus = [1, 2, 4, 16], TwoVcpus = [2];

    private static readonly ConcurrentDictionary<(string, Toolchain), Lazy<string>> Built = new();
    private static string _folder = "";

    public enum Toolchain { StaticGlibc, StaticPieGlibc, DynamicGlibc, StaticMusl, DynamicMusl, Dietlibc }

    private static IEnumerable<string> Programs => Directory.EnumerateFiles(Sources, "*.c").Select(path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal);

    /// <summary>Dietlibc's threads are its own affair, its math.h lacks the C99 macros, and its headers the newer mappings.</summary>
    private static bool BeyondDietlibc(string program) => program.StartsWith("pthread", StringComparison.Ordinal) || program.StartsWith("mappings", StringComparison.Ordinal) || program is "numbers";

    public static IEnumerable<TestCaseData> Runs() =>
        from program in Programs
        from toolchain in Enum.GetValues<Toolchain>()
        where toolchain != Toolchain.Dietlibc || !BeyondDietlibc(program)
        from vcpus in program.StartsWith("pthread", StringComparison.Ordinal) && toolchain == Toolchain.StaticGlibc ? ManyVcpus : TwoVcpus
        select new TestCaseData(program, toolchain, vcpus).SetArgDisplayNames(program, toolchain.ToString(), $"{vcpus}_vcpus");

    [OneTimeSetUp]
    public static void Make_the_folder() => _folder = Directory.CreateTempSubdirectory("glibc-").FullName;

    [OneTimeTearDown]
    public static void Remove_the_folder() => Directory.Delete(_folder, recursive: true);

    [TestCaseSource(nameof(Runs))]
    public void A_compiled_program_gives_what_it_gives_on_the_host(string program, Toolchain toolchain, int vcpus)
    {
        GuestRun run = new(Build(program, toolchain), "one", "two") { Input = "first line\nsecond 42 3.5\n" };
        MachineOptions options = new() { Vcpus = vcpus, Binds = toolchain is Toolchain.DynamicGlibc or Toolchain.DynamicMusl ? Libraries : [] };
        Outcome native = NativeHost.Reference(run);
        Assume.That(native.Status, Is.Not.EqualTo(Outcome.TimedOut));
        EmulatedHost.Run(run, options).AssertIs(native);
    }

    [Test]
    public void Clocks_are_read_without_a_system_call([Values(Toolchain.StaticGlibc, Toolchain.StaticMusl)] Toolchain toolchain)
    {
        CallCounter calls = new();
        Outcome outcome = EmulatedHost.Run(new(Build("clocks", toolchain)), new() { Vcpus = 2, Trace = calls });
        using (Assert.EnterMultipleScope())
        {
            Assert.That(outcome.Status, Is.Zero, outcome.ToString());
            Assert.That(calls.Names, Has.None.AnyOf("clock_gettime", "gettimeofday", "time"));
        }
    }

    /// <summary>Hosts seldom have a pool, so the file beside the program says what Linux's rules make it print.</summary>
    [Test]
    public void A_hugetlb_pool_is_reserved_used_and_given_back([Values(1, 2, 4)] int vcpus, [Values] bool deterministic)
    {
        string expected = File.ReadAllText(Path.Combine(Sources, "mappings_hugetlb.pool.txt"));
        Outcome outcome = EmulatedHost.Run(new(Build("mappings_hugetlb", Toolchain.StaticGlibc)), new() { Vcpus = vcpus, HugePages = 16, Deterministic = deterministic, Seed = 7 });
        outcome.AssertIs(new Outcome(expected, "", 0));
    }

    private string Build(string program, Toolchain toolchain) => Built.GetOrAdd((program, toolchain), key => new(() => Compile(key.Item1, key.Item2))).Value;

    private string Compile(string program, Toolchain toolchain)
    {
        string output = Path.Combine(_folder, $"{program}-{toolchain}");
        string source = Path.Combine(Sources, program + ".c");
        string[] common = ["-O2", "-o", output, source];
        string compiler = toolchain switch { Toolchain.StaticMusl or Toolchain.DynamicMusl => "musl-gcc", Toolchain.Dietlibc => "diet", _ => "gcc" };
        string[] arguments = toolchain switch
        {
            Toolchain.StaticGlibc => [.. common, "-static", "-pthread", "-lm"],
            Toolchain.StaticPieGlibc => [.. common, "-static-pie", "-pthread", "-lm"],
            Toolchain.DynamicGlibc => [.. common, "-pthread", "-lm"],
            Toolchain.StaticMusl => [.. common, "-static", "-pthread"],
            Toolchain.DynamicMusl => [.. common, "-pthread"],
            _ => ["gcc", .. common, "-lm"],
        };
        if (!NativeHost.IsLinux64 || NativeHost.Find(compiler) is not { } path)
        {
            Assert.Ignore($"no {compiler} here");
            return "";
        }
        Outcome built = NativeHost.Run(new GuestRun("") { Environment = [$"PATH={Environment.GetEnvironmentVariable("PATH")}"] }, path, arguments);
        Assert.That(built.Status, Is.Zero, built.ToString());
        return output;
    }

    private sealed class CallCounter : ISyscallTracer
    {
        public ConcurrentBag<string> Names { get; } = [];

        public void Enter(Emulator.Kernel.Tasks.Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args) => Names.Add(SyscallNames.Of(number));

        public void Leave(Emulator.Kernel.Tasks.Task task, ulong number, SyscallDefinition? definition, in SyscallArgs args, long result)
        {
        }
    }
}
