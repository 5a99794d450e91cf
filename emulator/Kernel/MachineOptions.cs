using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Kernel.Syscalls;

namespace Emulator.Kernel;

/// <summary>A host directory or file that the guest may see at a path of its own.</summary>
public sealed record Bind(string HostPath, string GuestPath, bool ReadOnly = false);

/// <summary>What a machine is made of. Everything has a default that runs an ordinary program.</summary>
public sealed record MachineOptions
{
    public const int MaxVcpus = 256;

    /// <summary>Virtual CPUs, 1 to <see cref="MaxVcpus"/>.</summary>
    public int Vcpus { get; init; } = 1;

    /// <summary>Guest-physical memory in bytes; the host pays only for what is touched.</summary>
    public ulong MemoryBytes { get; init; } = 4UL << 30;

    /// <summary>Which anonymous memory gets huge pages at first: programs may change it. Linux's own default.</summary>
    public Memory.HugePagePolicy TransparentHugePages { get; init; } = Memory.HugePagePolicy.Always;

    /// <summary>Pages of 2 MiB that are kept for hugetlb mappings.</summary>
    public long HugePages { get; init; }

    /// <summary>Size of the swap area in bytes, in host memory beside the guest's; 0: none.</summary>
    public ulong SwapBytes { get; init; }

    /// <summary>How often the memory of running programs is changed under them.</summary>
    public Memory.DisturbanceRates Disturbance { get; init; }

    /// <summary>Assignments to settings of /proc/sys, for example <c>vm.overcommit_memory=2</c>.</summary>
    public IReadOnlyList<string> Sysctls { get; init; } = [];

    /// <summary>Gets each line that the kernel says, as dmesg would show it; null: nobody listens.</summary>
    public Action<string>? KernelLog { get; init; }

    /// <summary>
    /// Gets each report of a task, of any process, as it is made; null: nobody listens. Called on the task's thread, and must not come back.
    /// A fault of the emulator is only in the <see cref="ExitStatus"/>.
    /// </summary>
    public Action<Reports.Report>? Report { get; init; }

    public TlbGeometry Tlb { get; init; } = TlbGeometry.Default;

    /// <summary>The instruction-set extensions that the vCPUs have.</summary>
    public CpuFeatures Cpu { get; init; } = CpuFeatures.Max;

    /// <summary>One permit for the whole machine and a seed that decides every choice: the same seed gives the same run.</summary>
    public bool Deterministic { get; init; }

    public ulong Seed { get; init; }

    public IReadOnlyList<Bind> Binds { get; init; } = [];

    /// <summary>A host directory that becomes the guest's root, or null for an in-memory root.</summary>
    public string? RootDirectory { get; init; }

    /// <summary>Guest path to start in; null means the host's working directory where it is granted, else <c>/</c>.</summary>
    public string? WorkingDirectory { get; init; }

    public TimeSpan? Timeout { get; init; }

    /// <summary>The machine stops when this many guest instructions have been executed.</summary>
    public long? MaxInstructions { get; init; }

    /// <summary>Stop at the first system call that is not implemented instead of answering -ENOSYS.</summary>
    public bool FailOnUnsupported { get; init; }

    /// <summary>The Linux release that is followed where releases differ.</summary>
    public KernelProfile Profile { get; init; } = KernelProfile.V6_12;

    /// <summary>Pages up to which a range is flushed page by page; 0: never (tlb_single_page_flush_ceiling).</summary>
    public ulong FlushCeiling { get; init; } = Shootdown.TlbShootdown.DefaultCeiling;

    /// <summary>Watch the order in which locks are taken and what is done while they are held; findings go to the machine's violations.</summary>
    public bool LockDep { get; init; }

    /// <summary>Check every cached translation that is used against frames, tables and the flushes since, and every table that a walk reads. Slow.</summary>
    public bool Check { get; init; }

    /// <summary>
    /// How changes of shared page tables reach the TLBs of those who share them: a name of <see cref="Shootdown.Policies.SharedFlushPolicies.All"/>. Null:
    /// the best; with <see cref="Mirrors.Mshare.MshareVariant.RfcV3"/> that of the patches as posted.
    /// </summary>
    public string? FlushPolicy { get; init; }

    /// <summary>Which mshare /sys/fs/mshare is.</summary>
    public Mirrors.Mshare.MshareVariant MshareVariant { get; init; }

    /// <summary>msharefs is mounted when the machine starts; otherwise the guest mounts it.</summary>
    public bool MountMshare { get; init; } = true;

    /// <summary>How /dev/udmabuf behaves: which design of the exporter, and its limits.</summary>
    public Mirrors.UdmabufOptions Udmabuf { get; init; } = Mirrors.UdmabufOptions.Default;

    /// <summary>Which /dev/remote-map there is.</summary>
    public Mirrors.RemoteMapVariant RemoteMapVariant { get; init; }

    /// <summary>Simulated cycles for each event, for the statistics; null: those of costs.json.</summary>
    public Hardware.Smp.CostModel? Costs { get; init; }

    public ISyscallTracer? Trace { get; init; }

    /// <summary>Host descriptors that become the guest's 0, 1 and 2.</summary>
    public int Stdin { get; init; }

    public int Stdout { get; init; } = 1;

    public int Stderr { get; init; } = 2;
}
