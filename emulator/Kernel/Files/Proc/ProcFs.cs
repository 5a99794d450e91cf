using System.Globalization;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;

namespace Emulator.Kernel.Files.Proc;

/// <summary>/proc: what the kernel tells of itself and its processes.</summary>
internal sealed class ProcFs : Filesystem
{
    public ProcFs(Machine machine, uint minor)
        : base(machine, minor)
    {
        var system = new SystemFiles(machine);
        List<ProcEntry> entries =
        [
            Link("self", static t => t.Process.Pid.ToString(CultureInfo.InvariantCulture)),
            Link("thread-self", static t => string.Create(CultureInfo.InvariantCulture, $"{t.Process.Pid}/task/{t.Tid}")),
            Link("mounts", static _ => "self/mounts"),
            Text("cpuinfo", system.CpuInfo),
            Text("meminfo", system.MemInfo),
            Text("stat", system.Stat),
            Text("interrupts", system.Interrupts),
            Text("uptime", system.Uptime),
            Text("loadavg", system.LoadAverage),
            Text("version", system.Version),
            Text("filesystems", static _ => "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tpipefs\nnodev\tsockfs\nnodev\tmsharefs\n\thostfs\n"),
            Text("cmdline", static _ => "\n"),
            Text("devices", static _ => "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/ptmx\n136 pts\n\nBlock devices:\n"),
            Text("swaps", system.Swaps),
            Text("partitions", static _ => "major minor  #blocks  name\n\n"),
            Text("vmstat", system.VmStat),
            Directory("sys", Sys(machine)),
        ];
        var root = new ProcDirectory(this, 0, 0, entries)
        {
            Numbers = t => [.. Array.ConvertAll(machine.Processes.Snapshot(), static p => p.Pid)],
            ByNumber = (_, pid) => machine.Processes.FindProcess(pid) is { } p ? new ProcessFiles(this, p).Directory() : null,
        };
        Root = new Dentry(this, null, "", root);
    }

    public override string TypeName => "proc";

    public override ulong Magic => 0x9FA0;

    public ProcEntry Text(string name, Func<Task, string> text) => new(name, S_IFREG, () => new ProcText(this, 0x124, 0, 0, text));

    /// <summary>A setting that is one number from 0 to a maximum (proc_doulongvec_minmax).</summary>
    private ProcEntry Number(string name, Func<long> get, Action<long> set, long maximum = long.MaxValue) => new(name, S_IFREG, () =>
        new ProcText(this, 0x1B6, 0, 0, _ => get().ToString(CultureInfo.InvariantCulture) + "\n") { Store = (_, text) => StoreNumber(text, set, maximum) });

    /// <summary>Reads a number from what a program writes into a setting; 0 or -EINVAL.</summary>
    internal static long StoreNumber(string text, Action<long> set, long maximum)
    {
        if (!long.TryParse(text.AsSpan().Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long value) || value > maximum)
            return -Errno.EINVAL;
        set(value);
        return 0;
    }

    private static Memory.HugeTlbPool HugeTlb(Machine machine) => machine.MemorySystem.HugeTlb.Default;

    private ProcEntry Link(string name, Func<Task, string?> target) => new(name, S_IFLNK, () => new ProcLink(this, 0, 0, target));

    private ProcEntry Directory(string name, IReadOnlyList<ProcEntry> entries) => new(name, S_IFDIR, () => new ProcDirectory(this, 0, 0, entries));

    private List<ProcEntry> Sys(Machine machine) =>
    [
        Directory("kernel",
        [
            Text("ostype", static _ => Machine.SystemName + "\n"),
            Text("osrelease", static task => task.Machine.Release + "\n"),
            Text("version", static _ => Machine.Version + "\n"),
            Text("hostname", static _ => Machine.HostName + "\n"),
            Text("domainname", static _ => "(none)\n"),
            Text("pid_max", static _ => ProcessTable.PidMax.ToString(CultureInfo.InvariantCulture) + "\n"),
            Text("threads-max", static _ => "30000\n"),
            Text("cap_last_cap", static _ => "40\n"),
            Text("ngroups_max", static _ => "65536\n"),
            Text("randomize_va_space", static _ => "0\n"),
            Text("shmmax", static _ => "18446744073692774399\n"),
            Text("shmall", static _ => "18446744073692774399\n"),
            Text("shmmni", static _ => "4096\n"),
            Text("msgmax", static _ => "8192\n"),
            Text("sem", static _ => "32000\t1024000000\t500\t32000\n"),
            Directory("random",
            [
                Text("uuid", _ => NewUuid(machine)),
                Text("boot_id", static _ => "6d6d7500-0000-4000-8000-000000000001\n"),
                Text("entropy_avail", static _ => "256\n"),
                Text("poolsize", static _ => "256\n"),
            ]),
        ]),
        Directory("vm",
        [
            // Linux lets nobody but root write to it; here any guest may shake the memory it uses.
            new("compact_memory", S_IFREG, () => new ProcText(this, 0x92, 0, 0, static _ => "") { Store = Compact }),
            .. Memory.VmSysctls.All.Select(sysctl =>
                Text(sysctl.Name, _ => sysctl.Get(machine.MemorySystem.Sysctls).ToString(CultureInfo.InvariantCulture) + "\n")),
            Text("max_map_count", static _ => Memory.Layout.MaxMapCount.ToString(CultureInfo.InvariantCulture) + "\n"),
            Text("mmap_min_addr", static _ => Memory.Layout.MinAddress.ToString(CultureInfo.InvariantCulture) + "\n"),
            Number("nr_hugepages", () => HugeTlb(machine).Total, count => HugeTlb(machine).Resize(count)),
            Number("nr_overcommit_hugepages", () => HugeTlb(machine).MaxSurplus, count => HugeTlb(machine).MaxSurplus = count),
            Number("memfd_noexec", () => machine.MemorySystem.MemfdNoExec, value => machine.MemorySystem.MemfdNoExec = (int)value, maximum: 2),
        ]),
        Directory("fs",
        [
            Text("file-max", static _ => "9223372036854775807\n"),
            Text("nr_open", static _ => FdTable.HardLimit.ToString(CultureInfo.InvariantCulture) + "\n"),
            Text("pipe-max-size", static _ => "1048576\n"),
            Directory("inotify", [Text("max_user_watches", static _ => "65536\n"), Text("max_user_instances", static _ => "128\n")]),
        ]),
        Directory("net", [Directory("core", [Text("somaxconn", static _ => "4096\n"), Text("rmem_max", static _ => "212992\n"), Text("wmem_max", static _ => "212992\n")])]),
    ];

    /// <summary>sysctl_compaction_handler.</summary>
    private static long Compact(Task writer, string text)
    {
        if (text.Trim() != "1")
            return -Errno.EINVAL;
        writer.Mm.System.Migration.Compact(writer);
        return 0;
    }

    private static string NewUuid(Machine machine)
    {
        Span<byte> bytes = stackalloc byte[16];
        machine.Random.Fill(bytes);
        bytes[6] = (byte)((bytes[6] & 0x0F) | 0x40);
        bytes[8] = (byte)((bytes[8] & 0x3F) | 0x80);
        string hex = Convert.ToHexStringLower(bytes);
        return $"{hex[..8]}-{hex[8..12]}-{hex[12..16]}-{hex[16..20]}-{hex[20..]}\n";
    }
}
