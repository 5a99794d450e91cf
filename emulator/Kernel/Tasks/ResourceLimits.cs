namespace Emulator.Kernel.Tasks;

/// <summary>One resource limit; <see cref="Infinity"/> means none.</summary>
public readonly record struct ResourceLimit(ulong Current, ulong Maximum)
{
    public const ulong Infinity = ulong.MaxValue;
}

/// <summary>The limits of a process (include/uapi/asm-generic/resource.h), with Debian's defaults.</summary>
public sealed class ResourceLimits
{
    public const int CPU = 0, FSIZE = 1, DATA = 2, STACK = 3, CORE = 4, RSS = 5, NPROC = 6, NOFILE = 7, MEMLOCK = 8, AS = 9, LOCKS = 10,
        SIGPENDING = 11, MSGQUEUE = 12, NICE = 13, RTPRIO = 14, RTTIME = 15, Count = 16;

    private readonly ResourceLimit[] _limits = new ResourceLimit[Count];

    public ResourceLimits()
    {
        Array.Fill(_limits, new ResourceLimit(ResourceLimit.Infinity, ResourceLimit.Infinity));
        _limits[STACK] = new(8 << 20, ResourceLimit.Infinity);
        _limits[CORE] = new(0, ResourceLimit.Infinity);
        _limits[NPROC] = new(63_000, 63_000);
        _limits[NOFILE] = new(1024, 1 << 20);
        _limits[MEMLOCK] = new(8 << 20, 8 << 20);
        _limits[SIGPENDING] = new(63_000, 63_000);
        _limits[MSGQUEUE] = new(819_200, 819_200);
        _limits[NICE] = new(0, 0);
        _limits[RTPRIO] = new(0, 0);
    }

    private ResourceLimits(ResourceLimits from) => from._limits.CopyTo(_limits, 0);

    public ResourceLimit this[int resource]
    {
        get => _limits[resource];
        set => _limits[resource] = value;
    }

    public ResourceLimits Clone() => new(this);
}
