using System.Globalization;
using System.Text;
using Emulator.Cli.Host;
using Emulator.Cli.Options;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Mirrors.Mshare;
using Emulator.Kernel.Shootdown;

namespace Emulator.Cli.Commands;

/// <summary>The options that describe a machine and how its program starts, shared by the verbs that run one.</summary>
/// <param name="comparesUdmabuf">--udmabuf takes several designs, for one machine after the other.</param>
internal sealed class MachineSettings(bool comparesUdmabuf = false)
{
    private readonly Option<string> _memory = new("--memory") { Description = "guest memory, for example 512M or 1T; the host pays for what is touched", HelpName = "SIZE", DefaultValueFactory = _ => "4G" };
    private readonly Option<string> _swap = new("--swap") { Description = "swap area in host memory, for example 1G; 0 for none, as by default", HelpName = "SIZE", DefaultValueFactory = _ => "0" };
    private readonly Option<string> _thp = new("--thp") { Description = "which anonymous memory gets huge pages by itself: always, madvise (what asks for them), or never; programs may change it", HelpName = "WHICH", DefaultValueFactory = _ => "always" };
    private readonly Option<string?> _hugePages = new("--hugepages") { Description = "huge pages kept for hugetlb mappings, for example 2M=64", HelpName = "SIZE=COUNT" };
    private readonly Option<string[]> _sysctl = new("--sysctl") { Description = "set a file of /proc/sys/vm, for example vm.overcommit_memory=2", HelpName = "NAME=VALUE" };
    private readonly Option<string?> _disturb = new("--disturb") { Description = "shake the memory of running programs: events of each kind in a million instructions, for example migrate=100,reclaim=50,split=5,fill=200", HelpName = "KIND=RATE,..." };
    private readonly Option<string> _tlb = new("--tlb") { Description = "TLB geometry of each vCPU", HelpName = "ENTRIESxWAYS[,ENTRIESxWAYS]", DefaultValueFactory = _ => TlbGeometry.Default.ToString() };
    private readonly Option<string> _cpu = new("--cpu") { Description = "instruction set: x86-64, x86-64-v2, or max", HelpName = "LEVEL", DefaultValueFactory = _ => "max" };
    private readonly Option<ulong> _seed = new("--seed") { Description = "seed of everything random", HelpName = "S" };
    private readonly Option<string[]> _bind = new("--bind") { Description = "show a host file or directory to the guest; /:/ shows the host's tree", HelpName = "HOST:GUEST[:ro]" };
    private readonly Option<string?> _root = new("--root") { Description = "a host directory that becomes the guest's root", HelpName = "DIR" };
    private readonly Option<string[]> _set = new("-E") { Description = "set an environment variable", HelpName = "VAR=VAL" };
    private readonly Option<string[]> _unset = new("-U") { Description = "remove an environment variable", HelpName = "VAR" };
    private readonly Option<string?> _name = new("-0") { Description = "the program's argv[0]", HelpName = "NAME" };
    private readonly Option<string?> _directory = new("-C") { Description = "guest directory to start in", HelpName = "DIR" };
    private readonly Option<double?> _timeout = new("--timeout") { Description = "stop after this many seconds (status 124)", HelpName = "SECONDS" };
    private readonly Option<long?> _maxInstructions = new("--max-instructions") { Description = "stop after this many guest instructions (status 124)", HelpName = "N" };
    private readonly Option<string> _profile = new("--kernel-profile") { Description = "the Linux release to follow where releases differ: 6.1 or 6.12", HelpName = "RELEASE", DefaultValueFactory = _ => "6.12" };
    private readonly Option<ulong> _ceiling = new("--flush-ceiling") { Description = "flush ranges of up to this many pages page by page; 0: never", HelpName = "N", DefaultValueFactory = _ => TlbShootdown.DefaultCeiling };
    private readonly Option<string?> _mshareVariant = new("--mshare-variant") { Description = "rfc-v3: mshare as it was posted in September 2024, defects included", HelpName = "NAME" };
    private readonly Option<bool> _noMshare = new("--no-mshare") { Description = "do not mount msharefs on /sys/fs/mshare; programs may mount it" };
    private readonly Option<string?> _costs = new("--costs") { Description = "file with simulated cycles for events, in the form of costs.json; for --stats", HelpName = "FILE" };
    private readonly Option<string> _udmabuf = new("--udmabuf")
    {
        Describe = () => $"{(comparesUdmabuf ? "compare these designs of /dev/udmabuf, or all" : "design of /dev/udmabuf")}; {UdmabufText}",
        HelpName = comparesUdmabuf ? "MODE,..." : "MODE",
        DefaultValueFactory = _ => UdmabufOptions.Default.Mode.Name,
    };
    private readonly Option<string?> _remoteMap = new("--remote-map-variant") { Description = "rfc-v6: /dev/remote-map as it was posted in August 2019, defects included", HelpName = "NAME" };
    private readonly Option<bool> _lockdep = new("--lockdep") { Description = "watch the kernel's locks: order, sleeping in atomic context, locks held at exit" };
    private readonly Option<bool> _check = new("--check") { Description = "check every cached translation used and every table walked: never freed, never stale (slow)" };

    private static string UdmabufText =>
        $"{string.Join("; ", UdmabufModes.All.GroupBy(static m => m.Soundness).OrderBy(static g => g.Key).Select(static g => $"{g.Key.Text()}: {string.Join(", ", g.Select(static m => m.Name))}"))}; with list_limit=N and size_limit_mb=N behind commas";

    public IReadOnlyList<Option> Options =>
    [
        _memory, _swap, _thp, _hugePages, _sysctl, _disturb, _tlb, _cpu, _seed, _bind, _root, _set, _unset, _name,
        _directory, _timeout, _maxInstructions, _profile, _ceiling, _mshareVariant, _noMshare, _costs, _udmabuf, _remoteMap, _lockdep, _check,
    ];

    /// <summary>The program's arguments and environment.</summary>
    /// <param name="args">All our arguments, the last <paramref name="operands"/> of them the program and its own.</param>
    public bool TryReadProgram(ParseResult parsed, string[] args, int operands, out List<byte[]> argv, out List<byte[]> environment, out string error)
    {
        error = "";
        argv = HostArguments.Last(args, operands);
        if (parsed.GetValue(_name) is { } name)
            argv[0] = Encoding.UTF8.GetBytes(name);
        environment = HostArguments.Environment();
        foreach (string removed in parsed.GetValue(_unset) ?? [])
            HostArguments.Remove(environment, removed);
        foreach (string assignment in parsed.GetValue(_set) ?? [])
        {
            if (assignment.IndexOf('=', StringComparison.Ordinal) <= 0)
                return Wrong(out error, $"-E {assignment} is no assignment; write -E VAR=VALUE");
            HostArguments.Set(environment, assignment);
        }
        return true;
    }

    /// <summary>The machine that the options describe; vCPUs, scheduler and streams are the verb's.</summary>
    public bool TryRead(ParseResult parsed, out MachineOptions options, out string error)
    {
        options = new MachineOptions();
        error = "";
        if (!Size.TryParse(parsed.GetValue(_memory)!, out ulong memory) || memory < 1 << 20 || memory > 1UL << 46)
            return Wrong(out error, $"--memory {parsed.GetValue(_memory)}: give a size from 1M to 64T, for example 512M");
        if (!HugePagePolicies.TryParse(parsed.GetValue(_thp)!, out HugePagePolicy thp))
            return Wrong(out error, $"--thp {parsed.GetValue(_thp)}: give always, madvise or never");
        if (!TryParseHugePages(parsed.GetValue(_hugePages), memory, out long hugePages))
            return Wrong(out error, $"--hugepages {parsed.GetValue(_hugePages)}: give a count of 2 MiB pages that fits in half of the memory, for example 2M=64");
        if (!Size.TryParse(parsed.GetValue(_swap)!, out ulong swap) || swap > 1UL << 42)
            return Wrong(out error, $"--swap {parsed.GetValue(_swap)}: give a size from 0 to 4T, for example 1G");
        string[] sysctls = parsed.GetValue(_sysctl) ?? [];
        foreach (string assignment in sysctls)
        {
            if (new VmSysctls().TrySet(assignment) is { } wrongSysctl)
                return Wrong(out error, $"--sysctl {assignment}: {wrongSysctl}");
        }
        DisturbanceRates disturb = default;
        if (parsed.GetValue(_disturb) is { } rates && !DisturbanceRates.TryParse(rates, out disturb, out string disturbError))
            return Wrong(out error, $"--disturb {rates}: {disturbError}");
        // Pages of programs have nowhere to go without swap; an area that is not used costs nothing.
        if (disturb.Reclaim > 0 && !parsed.IsGiven(_swap))
            swap = Math.Min(memory, 1UL << 42);
        if (!TlbGeometry.TryParse(parsed.GetValue(_tlb)!, out TlbGeometry tlb, out string tlbError))
            return Wrong(out error, $"--tlb: {tlbError}");
        CpuFeatures? features = CpuLevel.Parse(parsed.GetValue(_cpu)!);
        if (features is null)
            return Wrong(out error, $"--cpu {parsed.GetValue(_cpu)}: the levels are x86-64, x86-64-v2 and max");
        double? timeout = parsed.GetValue(_timeout);
        if (timeout is <= 0 or > 1e9 or double.NaN)
            return Wrong(out error, "--timeout: give a number of seconds above 0");
        long? limit = parsed.GetValue(_maxInstructions);
        if (limit is <= 0)
            return Wrong(out error, "--max-instructions: give a number above 0");
        if (!KernelProfiles.TryParse(parsed.GetValue(_profile)!, out KernelProfile profile))
            return Wrong(out error, $"--kernel-profile {parsed.GetValue(_profile)}: the profiles are 6.1 and 6.12");
        if (parsed.GetValue(_mshareVariant) is not (null or "rfc-v3"))
            return Wrong(out error, $"--mshare-variant {parsed.GetValue(_mshareVariant)}: the one variant is rfc-v3");
        if (parsed.GetValue(_remoteMap) is not (null or "rfc-v6"))
            return Wrong(out error, $"--remote-map-variant {parsed.GetValue(_remoteMap)}: the one variant is rfc-v6");
        if (!TryReadCosts(parsed.GetValue(_costs), out CostModel? costs, out error))
            return false;
        if (!TryReadUdmabuf(parsed, out IReadOnlyList<UdmabufOptions> udmabuf, out _, out error))
            return false;
        var binds = new List<Bind>();
        foreach (string bind in parsed.GetValue(_bind) ?? [])
        {
            if (!TryReadBind(bind, out Bind? parsedBind, out string bindError))
                return Wrong(out error, bindError);
            binds.Add(parsedBind!);
        }
        string? root = parsed.GetValue(_root);
        if (root is not null && !Directory.Exists(root))
            return Wrong(out error, $"--root {root}: no such directory");
        options = new MachineOptions
        {
            MemoryBytes = memory & ~4095UL,
            TransparentHugePages = thp,
            HugePages = hugePages,
            SwapBytes = swap & ~4095UL,
            Sysctls = sysctls,
            Disturbance = disturb,
            Tlb = tlb,
            Cpu = features.Value,
            Seed = parsed.GetValue(_seed),
            Binds = binds,
            RootDirectory = root is null ? null : Path.GetFullPath(root),
            WorkingDirectory = parsed.GetValue(_directory),
            Timeout = timeout is { } seconds ? TimeSpan.FromSeconds(seconds) : null,
            MaxInstructions = limit,
            Profile = profile,
            Costs = costs,
            FlushCeiling = parsed.GetValue(_ceiling),
            MshareVariant = parsed.GetValue(_mshareVariant) is null ? MshareVariant.Corrected : MshareVariant.RfcV3,
            MountMshare = !parsed.GetValue(_noMshare),
            Udmabuf = udmabuf[0],
            RemoteMapVariant = parsed.GetValue(_remoteMap) is null ? RemoteMapVariant.Corrected : RemoteMapVariant.RfcV6,
            LockDep = parsed.GetValue(_lockdep),
            Check = parsed.GetValue(_check),
        };
        return true;
    }

    /// <summary>The designs of /dev/udmabuf: one, unless they are compared.</summary>
    /// <param name="given">The option is there.</param>
    public bool TryReadUdmabuf(ParseResult parsed, out IReadOnlyList<UdmabufOptions> designs, out bool given, out string error)
    {
        string text = parsed.GetValue(_udmabuf)!;
        given = parsed.IsGiven(_udmabuf);
        if (comparesUdmabuf)
            return UdmabufOptions.TryParseList(text, out designs, out error) || Wrong(out error, $"--udmabuf {text}: {error}");
        bool good = UdmabufOptions.TryParse(text, out UdmabufOptions one, out error);
        designs = [one];
        return good || Wrong(out error, $"--udmabuf {text}: {error}");
    }

    private static bool TryReadCosts(string? path, out CostModel? costs, out string error)
    {
        costs = null;
        error = "";
        if (path is null)
            return true;
        if (path.Length == 0)
            return Wrong(out error, "--costs: give the name of a file");
        try
        {
            return CostModel.Default.TryOverride(File.ReadAllText(path), out costs, out string reason) || Wrong(out error, $"--costs {path}: {reason}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Wrong(out error, $"--costs {path}: {HostFiles.Reason(e)}");
        }
    }

    private static bool TryReadBind(string text, out Bind? bind, out string error)
    {
        bind = null;
        error = "";
        string[] parts = text.Split(':');
        bool readOnly = parts.Length == 3 && parts[2].Equals("ro", StringComparison.Ordinal);
        if (parts.Length is < 2 or > 3 || parts.Length == 3 && !readOnly && !parts[2].Equals("rw", StringComparison.Ordinal) || parts[0].Length == 0 || !parts[1].StartsWith('/'))
            return Wrong(out error, $"--bind {text}: write HOST:GUEST or HOST:GUEST:ro, with GUEST an absolute path");
        if (!Path.Exists(parts[0]))
            return Wrong(out error, $"--bind {text}: there is no '{parts[0]}' on the host");
        bind = new Bind(Path.GetFullPath(parts[0]), parts[1], readOnly);
        return true;
    }

    /// <summary>2M=COUNT; at most half of the memory, for the rest is what programs run in.</summary>
    private static bool TryParseHugePages(string? text, ulong memory, out long count)
    {
        count = 0;
        return text is null
            || (text.StartsWith("2M=", StringComparison.OrdinalIgnoreCase)
                && long.TryParse(text.AsSpan(3), NumberStyles.None, CultureInfo.InvariantCulture, out count)
                && (ulong)count <= memory >> 22);
    }

    internal static bool Wrong(out string error, string message)
    {
        error = string.Create(CultureInfo.InvariantCulture, $"{message}");
        return false;
    }
}
