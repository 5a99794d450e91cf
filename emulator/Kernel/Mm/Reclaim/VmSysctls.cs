using System.Collections.Immutable;
using System.Globalization;

namespace Emulator.Kernel.Memory;

/// <summary>One file of /proc/sys/vm: its name and the range of its value.</summary>
internal readonly record struct VmSysctl(string Name, long Minimum, long Maximum, Func<VmSysctls, long> Get, Action<VmSysctls, long> Set);

/// <summary>
/// The settings of /proc/sys/vm that change something here (Documentation/admin-guide/sysctl/vm.rst). Guests are nobody special and read
/// them; the machine's maker sets them.
/// </summary>
public sealed class VmSysctls
{
    private long _overcommitKbytes;
    private long _overcommitRatio = 50;

    /// <summary>0: refuse what is plainly too much; 1: never refuse; 2: never promise more than the commit limit.</summary>
    public long OvercommitMemory { get; private set; }

    public long OvercommitRatio
    {
        get => _overcommitRatio;
        private set => (_overcommitRatio, _overcommitKbytes) = (value, 0);
    }

    /// <summary>The commit limit without swap; 0: <see cref="OvercommitRatio"/> counts.</summary>
    public long OvercommitKbytes
    {
        get => _overcommitKbytes;
        private set => (_overcommitKbytes, _overcommitRatio) = (value, value == 0 ? 50 : 0);
    }

    /// <summary>How much reclaim prefers files' pages to swapping: 0 to 200, 0 swaps only when there is nothing else.</summary>
    public long Swappiness { get; private set; } = 60;

    /// <summary>Free memory that starts direct reclaim; 0: chosen by the machine's size.</summary>
    public long MinFreeKbytes { get; private set; }

    public long AdminReserveKbytes { get; private set; } = 8192;

    public long UserReserveKbytes { get; private set; } = 131072;

    public long OomKillAllocatingTask { get; private set; }

    public long OomDumpTasks { get; private set; } = 1;

    /// <summary>Not 0: the machine stops instead of killing a process.</summary>
    public long PanicOnOom { get; private set; }

    internal static ImmutableArray<VmSysctl> All { get; } =
    [
        new("overcommit_memory", 0, 2, static s => s.OvercommitMemory, static (s, v) => s.OvercommitMemory = v),
        new("overcommit_ratio", 0, int.MaxValue, static s => s.OvercommitRatio, static (s, v) => s.OvercommitRatio = v),
        new("overcommit_kbytes", 0, long.MaxValue >> 10, static s => s.OvercommitKbytes, static (s, v) => s.OvercommitKbytes = v),
        new("swappiness", 0, 200, static s => s.Swappiness, static (s, v) => s.Swappiness = v),
        new("min_free_kbytes", 0, int.MaxValue, static s => s.MinFreeKbytes, static (s, v) => s.MinFreeKbytes = v),
        new("admin_reserve_kbytes", 0, long.MaxValue >> 10, static s => s.AdminReserveKbytes, static (s, v) => s.AdminReserveKbytes = v),
        new("user_reserve_kbytes", 0, long.MaxValue >> 10, static s => s.UserReserveKbytes, static (s, v) => s.UserReserveKbytes = v),
        new("oom_kill_allocating_task", 0, 1, static s => s.OomKillAllocatingTask, static (s, v) => s.OomKillAllocatingTask = v),
        new("oom_dump_tasks", 0, 1, static s => s.OomDumpTasks, static (s, v) => s.OomDumpTasks = v),
        new("panic_on_oom", 0, 2, static s => s.PanicOnOom, static (s, v) => s.PanicOnOom = v),
    ];

    /// <summary>Carries out an assignment such as <c>vm.overcommit_memory=2</c>.</summary>
    /// <returns>Null, or what is wrong with it.</returns>
    public string? TrySet(string assignment)
    {
        int sign = assignment.IndexOf('=', StringComparison.Ordinal);
        if (sign <= 0)
            return "write NAME=VALUE, for example vm.overcommit_memory=2";
        ReadOnlySpan<char> name = assignment.AsSpan(0, sign).Trim();
        foreach (VmSysctl sysctl in All)
        {
            if (!name.StartsWith("vm.", StringComparison.Ordinal) || !name[3..].SequenceEqual(sysctl.Name))
                continue;
            if (!long.TryParse(assignment.AsSpan(sign + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value)
                || value < sysctl.Minimum || value > sysctl.Maximum)
                return string.Create(CultureInfo.InvariantCulture, $"vm.{sysctl.Name} is a number from {sysctl.Minimum} to {sysctl.Maximum}");
            sysctl.Set(this, value);
            return null;
        }
        return $"there is no {name}; settable are vm.{string.Join(", vm.", All.Select(static s => s.Name))}";
    }
}
