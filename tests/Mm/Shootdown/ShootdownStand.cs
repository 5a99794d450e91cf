using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Checker;
using Emulator.Kernel.Shootdown;
using static Emulator.Kernel.Memory.MmanAbi;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>vCPUs that load address spaces, access pages and go idle at the test's word. Only vCPU 0 is held by the test's thread.</summary>
internal sealed unsafe class ShootdownStand : IDisposable
{
    public const ulong Base = 0x2000_0000;

    private readonly MemoryStand _stand;

    public ShootdownStand(int vcpus = 1, bool check = false)
    {
        _stand = new MemoryStand(vcpus, check: false);
        if (check)
            _ = new CoherenceChecker(_stand.System, _stand.Vcpus, (_, rule, text) =>
            {
                lock (Findings)
                    Findings.Add((rule, text));
            });
    }

    /// <summary>What the checker has reported.</summary>
    public List<(string Rule, string Text)> Findings { get; } = [];

    public string Rules => string.Join(", ", Findings.Select(f => f.Rule));

    public Kernel.Memory.MemorySystem System => _stand.System;

    public TlbShootdown Tlb => _stand.System.Shootdown;

    public Vcpu Self => _stand.Vcpu;

    public Kernel.Memory.PageAllocator Pages => _stand.Pages;

    /// <summary>An address space with writable anonymous memory at <see cref="Base"/>.</summary>
    public AddressSpace Create(int pages = 64)
    {
        AddressSpace mm = _stand.Create();
        Assert.That(mm.Mmap(null, Base, (ulong)pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0), Is.EqualTo((long)Base));
        for (int i = 0; i < pages; i++)
            Assert.That(mm.WriteMemory(null, Base + ((ulong)i << 12), [1]), Is.EqualTo(1));
        return mm;
    }

    public static ulong Page(int i) => Base + ((ulong)i << 12);

    /// <summary>Does something as a vCPU, holding it meanwhile.</summary>
    public void On(int vcpu, Action<Vcpu> act)
    {
        Vcpu target = _stand.Vcpus[vcpu];
        if (vcpu == 0)
        {
            act(target);
            return;
        }
        target.Enter();
        act(target);
        target.Leave();
    }

    public void Load(int vcpu, AddressSpace mm) => On(vcpu, v => Tlb.SwitchMm(v, mm));

    public void Idle(int vcpu, AddressSpace mm) => On(vcpu, v =>
    {
        Tlb.SwitchMm(v, mm);
        Tlb.EnterLazy(v);
    });

    /// <summary>One read by a program on that vCPU, or a speculative one; true: translated.</summary>
    public bool Read(int vcpu, ulong address)
    {
        bool translated = false;
        On(vcpu, v => translated = Mmu.Translate(v.State, address, Hardware.Memory.Access.Read, user: true, out _));
        return translated;
    }

    /// <summary>One store by a program on vCPU 0, with the fault it may take.</summary>
    public void Write(AddressSpace mm, ulong address) => Assert.That(_stand.Access(mm, address, write: true, out _), Is.EqualTo(Kernel.Memory.FaultOutcome.Done));

    public void ReadPages(int vcpu, int count)
    {
        for (int i = 0; i < count; i++)
            Assert.That(Read(vcpu, Page(i)), $"page {i}");
    }

    public ulong Count(ShootdownCounter counter) => Tlb.Total(counter);

    public ulong Count(ShootdownCounter counter, int vcpu) => Tlb.Count(counter, vcpu);

    /// <summary>INVLPGs of a vCPU, and flushes of everything including global entries.</summary>
    public ulong PageFlushesOf(int vcpu) => _stand.Count(Counter.FlushPage, vcpu);

    public ulong FlushesOfAll(int vcpu) => _stand.Count(Counter.FlushAll, vcpu);

    /// <summary>1 if a read finds nothing in the TLB, else 0.</summary>
    public ulong MissesOfRead(int vcpu, ulong address)
    {
        ulong before = _stand.Count(Counter.Walks, vcpu);
        Read(vcpu, address);
        return _stand.Count(Counter.Walks, vcpu) - before;
    }

    /// <summary>How far a counter moves while something happens.</summary>
    public ulong During(ShootdownCounter counter, Action act)
    {
        ulong before = Count(counter);
        act();
        return Count(counter) - before;
    }

    public void Dispose()
    {
        foreach (Vcpu vcpu in _stand.Vcpus)
        {
            if (vcpu != Self)
                On(vcpu.Id, Tlb.SwitchToKernel);
        }
        _stand.Dispose();
    }
}
