namespace Emulator.Kernel.Tasks;

/// <summary>What clone, clone3, fork and vfork ask for (include/uapi/linux/sched.h, struct clone_args).</summary>
internal readonly record struct CloneArguments(ulong Flags)
{
    public const ulong VM = 0x100, FS = 0x200, FILES = 0x400, SIGHAND = 0x800, PIDFD = 0x1000, PTRACE = 0x2000, VFORK = 0x4000, PARENT = 0x8000,
        THREAD = 0x10000, NEWNS = 0x20000, SYSVSEM = 0x40000, SETTLS = 0x80000, PARENT_SETTID = 0x100000, CHILD_CLEARTID = 0x200000,
        DETACHED = 0x400000, UNTRACED = 0x800000, CHILD_SETTID = 0x1000000, NEWCGROUP = 0x2000000, NEWUTS = 0x4000000, NEWIPC = 0x8000000,
        NEWUSER = 0x10000000, NEWPID = 0x20000000, NEWNET = 0x40000000, IO = 0x80000000, CLEAR_SIGHAND = 0x1_0000_0000, INTO_CGROUP = 0x2_0000_0000,
        NEWTIME = 0x80;

    /// <summary>Namespaces need rights that the guest's user does not have.</summary>
    private const ulong Namespaces = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET;

    public int ExitSignal { get; init; }

    /// <summary>Where the parent finds the descriptor that <see cref="PIDFD"/> asks for.</summary>
    public ulong PidFd { get; init; }

    public ulong Stack { get; init; }

    public ulong Tls { get; init; }

    public ulong ParentTid { get; init; }

    public ulong ChildTid { get; init; }

    public bool Has(ulong flag) => (Flags & flag) != 0;

    /// <summary>Combinations that Linux refuses (kernel/fork.c:copy_process).</summary>
    public long Validate()
    {
        if (Has(THREAD) && !Has(SIGHAND))
            return -Errno.EINVAL;
        if (Has(SIGHAND) && !Has(VM))
            return -Errno.EINVAL;
        if (Has(NEWNS) && Has(FS))
            return -Errno.EINVAL;
        if (Has(CLEAR_SIGHAND) && Has(SIGHAND))
            return -Errno.EINVAL;
        // A pidfd names a process here, never a thread.
        if (Has(PIDFD) && (Has(DETACHED) || Has(THREAD)))
            return -Errno.EINVAL;
        return Has(Namespaces) ? -Errno.EPERM : 0;
    }
}
