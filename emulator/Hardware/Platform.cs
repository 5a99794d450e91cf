using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;

namespace Emulator.Hardware;

/// <summary>The hardware of a machine: memory, vCPUs and the interrupts between them.</summary>
public sealed class Platform : IDisposable
{
    private readonly Vcpu[] _vcpus;
    private int _stoppingOthers;

    /// <param name="memory">The platform's from now on: disposed with it.</param>
    /// <param name="vcpus">1 to <see cref="VcpuMask.MaxVcpus"/>.</param>
    /// <param name="features">The extensions that CPUID reports and that do not raise #UD.</param>
    public Platform(PhysicalMemory memory, int vcpus, TlbGeometry geometry, CpuFeatures features = CpuFeatures.Max)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vcpus, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(vcpus, VcpuMask.MaxVcpus);
        Memory = memory;
        Geometry = geometry;
        Features = features;
        HostCode = new HostCode();
        _vcpus = new Vcpu[vcpus];
        for (int id = 0; id < vcpus; id++)
            _vcpus[id] = new Vcpu(this, id);
        AllVcpus = VcpuMask.First(vcpus);
        InterProcessor = new InterProcessor(_vcpus);
        CodeFrames = new CodeFrames(this) { Decoder = Blocks };
    }

    public PhysicalMemory Memory { get; }
    public TlbGeometry Geometry { get; }
    public IReadOnlyList<Vcpu> Vcpus => _vcpus;
    public VcpuMask AllVcpus { get; }
    public InterProcessor InterProcessor { get; }
    public CodeFrames CodeFrames { get; }
    public CpuFeatures Features { get; }
    /// <summary>Not zero while some vCPU stops the others (<see cref="StoppedOthers"/>).</summary>
    internal ref int StoppingOthers => ref _stoppingOthers;
    internal HostCode HostCode { get; }
    internal BlockCache Blocks { get; } = new();

    /// <summary>What RDTSC reads, in nanoseconds: the host's monotonic clock unless the kernel gives another.</summary>
    public Func<ulong> ReadTimestamp { get; set; } = static () => (ulong)(System.Diagnostics.Stopwatch.GetTimestamp() * (1_000_000_000 / System.Diagnostics.Stopwatch.Frequency));

    /// <summary>A counter's sum over the vCPUs. In bounds: a named counter of vCPUs that exist.</summary>
    public unsafe ulong Total(Counter counter)
    {
        ulong sum = 0;
        foreach (var vcpu in _vcpus)
            sum += vcpu.State->Tlb.Counters[counter];
        return sum;
    }

    public void Dispose()
    {
        foreach (var vcpu in _vcpus)
            vcpu.Dispose();
        Blocks.Dispose();
        HostCode.Dispose();
        Memory.Dispose();
    }
}
