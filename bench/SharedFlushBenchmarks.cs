using BenchmarkDotNet.Attributes;
using Emulator.Hardware;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Shootdown.Policies;
using static Emulator.Kernel.Memory.MmanAbi;

namespace Emulator.Bench;

/// <summary>
/// One change of shared page tables under each policy, and the refill of who lost what he uses, in host time: the twin of what <c>emulator compare</c> counts.
/// Of seven vCPUs beside the caller's, four run sharers, two ran one before, and one has nothing to run.
/// </summary>
[BenchmarkCategory("Quick")]
public unsafe class SharedFlushBenchmarks : IDisposable
{
    private const ulong Base = 4UL << 39;
    private const int Vcpus = 8, Most = 512, Running = 4;

    private Platform _platform = null!;
    private MemorySystem _system = null!;
    private Mm _host = null!;
    private Mm _other = null!;
    private Mm[] _sharers = null!;

    [Params(1, 64, 2000)]
    public int Sharers { get; set; }

    [Params(1, Most)]
    public int Pages { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _platform = new Platform(new PhysicalMemory(256UL << 20), Vcpus, TlbGeometry.Default);
        _system = new MemorySystem(_platform);
        _platform.Vcpus[0].Enter();
        _host = Mm.CreateHost(_system, leaky: false)!;
        _other = Mm.Create(_system)!;
        _host.Mmap(null, Base, (ulong)Most << 12, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, null, 0);
        var region = new Region(_host.Sharing!);
        _sharers = new Mm[Sharers];
        for (int i = 0; i < Sharers; i++)
        {
            _sharers[i] = Mm.Create(_system)!;
            _sharers[i].Mmap(null, Base, 1UL << 39, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, region, 0);
        }
        for (int page = 0; page < Most; page++)
            _sharers[0].HandleFault(null, Base + ((ulong)page << 12), FaultFlags.Write);
    }

    [Benchmark(Baseline = true)]
    public void FlushAll() => Change("flush-all");

    [Benchmark]
    public void NotifierFlushAll() => Change("notifier-flush-all");

    [Benchmark]
    public void PerSharer() => Change("per-sharer");

    [Benchmark]
    public void UnionMask() => Change("union-mask");

    [Benchmark]
    public void HostCpumask() => Change("host-cpumask");

    [Benchmark]
    public void Batched() => Change("batched");

    [Benchmark]
    public void RangeUnlink() => Change("range-unlink");

    [Benchmark]
    public void Broadcast() => Change("broadcast");

    [Benchmark]
    public void ExactSharers() => Change("exact-sharers");

    private void Change(string policy)
    {
        TlbShootdown shootdown = _system.Shootdown;
        if (!shootdown.SharedPolicy.Name.Equals(policy, StringComparison.Ordinal))
            Place(SharedFlushPolicies.Find(policy)!);
        // Rights to and fro: two announced changes with their flushes.
        _host.Mprotect(null, Base, (ulong)Pages << 12, PROT_READ);
        _host.Mprotect(null, Base, (ulong)Pages << 12, PROT_READ | PROT_WRITE);
        for (int i = 1; i <= Running; i++)
            Use(i, Running);
    }

    /// <summary>Changes the policy and puts every vCPU where it belongs.</summary>
    private void Place(SharedFlushPolicy policy)
    {
        _system.Shootdown.SharedPolicy = policy;
        for (int i = 1; i < Vcpus; i++)
        {
            Vcpu vcpu = _platform.Vcpus[i];
            vcpu.Enter();
            _system.Shootdown.SwitchMm(vcpu, _other);
            _system.Shootdown.SwitchMm(vcpu, _sharers[i % Sharers]);
            vcpu.Leave();
            Use(i, Most);
            vcpu.Enter();
            if (i == Vcpus - 1)
                _system.Shootdown.EnterLazy(vcpu);
            else if (i > Running)
                _system.Shootdown.SwitchMm(vcpu, _other);
            vcpu.Leave();
        }
    }

    /// <summary>A vCPU's program reads some pages.</summary>
    private void Use(int id, int pages)
    {
        Vcpu vcpu = _platform.Vcpus[id];
        vcpu.Enter();
        for (int page = 0; page < pages; page++)
        {
            ulong address = Base + ((ulong)page << 12);
            if (!Mmu.Translate(vcpu.State, address, Access.Read, user: true, out _))
                _sharers[id % Sharers].HandleFault(null, address, FaultFlags.Read);
        }
        vcpu.Leave();
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _platform.Vcpus[0].Leave();
        _system.Dispose();
        _platform.Dispose();
        GC.SuppressFinalize(this);
    }

    private sealed class Region(SharedTables tables) : OpenFile(FileAbi.O_RDWR), ISharedRegion
    {
        public SharedTables Tables => tables;

        public long CheckContainer(ulong address, ulong length, ulong offset, int mapFlags, out ulong hostAddress)
        {
            hostAddress = Base;
            return 0;
        }

        public bool TryChoosePlace(ulong hint, ulong offset, out ulong address, out ulong alignment)
        {
            (address, alignment) = (0, 0);
            return false;
        }
    }
}
