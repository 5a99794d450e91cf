using System.Collections.Concurrent;
using Emulator.Hardware;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Tests.Mm;

/// <summary>Address spaces without a machine around them: frames, vCPUs and shootdown only. The test's thread holds vCPU 0.</summary>
internal sealed unsafe class MemoryStand : IDisposable
{
    private readonly Platform _platform;
    private readonly ConcurrentQueue<string> _findings = new();

    /// <param name="vcpus">How many.</param>
    /// <param name="bytes">Of memory.</param>
    /// <param name="check">Check every translation that is used; what is found fails the test.</param>
    public MemoryStand(int vcpus = 1, ulong bytes = 64 << 20, bool check = true)
    {
        _platform = new Platform(new PhysicalMemory(bytes), vcpus, TlbGeometry.Default);
        System = new MemorySystem(_platform);
        // Tests count frames, entries and flushes of single pages, and ask for huge ones where they want them.
        System.HugePages.Policy = HugePagePolicy.Madvise;
        if (check)
            _ = new CoherenceChecker(System, Vcpus, (_, rule, text) => _findings.Enqueue($"{rule}: {text}"));
        Vcpu.Enter();
    }

    public MemorySystem System { get; }

    public Vcpu Vcpu => _platform.Vcpus[0];

    public IReadOnlyList<Vcpu> Vcpus => _platform.Vcpus;

    public PageAllocator Pages => System.Pages;

    public Kernel.Memory.Mm Create() => Kernel.Memory.Mm.Create(System) ?? throw new AssertionException("no memory for an address space");

    public ulong Count(Counter counter, int vcpu = 0) => _platform.Vcpus[vcpu].State->Tlb.Counters[counter];

    /// <summary>One access of a program: through the vCPU's TLB, with the fault path behind it.</summary>
    public FaultOutcome Access(Kernel.Memory.Mm mm, ulong address, bool write, out byte* host)
    {
        System.Shootdown.SwitchMm(Vcpu, mm);
        while (true)
        {
            if (Mmu.Translate(Vcpu.State, address, write ? Hardware.Memory.Access.Write : Hardware.Memory.Access.Read, user: true, out ulong physical))
            {
                host = _platform.Memory.Base + physical;
                return FaultOutcome.Done;
            }
            FaultOutcome outcome = mm.HandleFault(null, address, write ? FaultFlags.Write : FaultFlags.Read);
            if (outcome != FaultOutcome.Done)
            {
                host = null;
                return outcome;
            }
        }
    }

    public void Dispose()
    {
        IReadOnlyList<Violation> violations = System.Violations.All;
        System.Shootdown.SwitchToKernel(Vcpu);
        Vcpu.Leave();
        System.Dispose();
        _platform.Dispose();
        Assert.That(_findings, Is.Empty);
        Assert.That(violations, Is.Empty);
    }
}

/// <summary>An open file that is nothing but its pages.</summary>
internal sealed class CacheFile(PageCache cache, int flags = FileAbi.O_RDWR) : OpenFile(flags)
{
    public override PageCache? Mapping => cache;

    protected override void Release() => cache.Free();
}
