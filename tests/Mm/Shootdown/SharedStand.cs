using Emulator.Hardware.Memory;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Shootdown.Policies;
using static Emulator.Kernel.Memory.MmanAbi;
using Access = Emulator.Hardware.Memory.Access;
using AddressSpace = Emulator.Kernel.Memory.Mm;

namespace Emulator.Tests.Mm.Shootdown;

/// <summary>Shared tables without a file system: a host with written pages at <see cref="Base"/>, and sharers that have touched them all.</summary>
internal sealed unsafe class SharedStand : IDisposable
{
    /// <summary>What a top-level entry translates.</summary>
    public const ulong Unit = 1UL << 39;

    /// <summary>Where the region is, in the host and in most sharers.</summary>
    public const ulong Base = 4 * Unit;

    private readonly ShootdownStand _stand;
    private readonly List<AddressSpace> _sharers = [];
    private readonly List<RegionFile> _regions = [];
    private readonly int _pages;

    public SharedStand(SharedFlushPolicy policy, int vcpus = 2, int pages = 8, bool check = true)
    {
        _stand = new ShootdownStand(vcpus, check);
        _pages = pages;
        _stand.Tlb.SharedPolicy = policy;
        Host = CreateRegion();
        Other = _stand.Create(pages: 1);
    }

    public AddressSpace Host { get; }

    /// <summary>Shares nothing.</summary>
    public AddressSpace Other { get; }

    public ShootdownStand Vcpus => _stand;

    public TlbShootdown Tlb => _stand.Tlb;

    public static ulong Page(int i) => Base + ((ulong)i << 12);

    /// <summary>A host with pages that have been written.</summary>
    public AddressSpace CreateRegion()
    {
        AddressSpace host = AddressSpace.CreateHost(_stand.System, leaky: false) ?? throw new AssertionException("no memory for a host");
        _regions.Add(new RegionFile(host.Sharing!));
        Assert.That(host.Mmap(null, Base, (ulong)_pages << 12, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, null, 0), Is.EqualTo((long)Base));
        for (int i = 0; i < _pages; i++)
            Assert.That(host.WriteMemory(null, Page(i), [(byte)i]), Is.EqualTo(1));
        return host;
    }

    /// <summary>An address space that has mapped the region at each of some addresses, and is linked there.</summary>
    public AddressSpace Attach(params ulong[] addresses) => Attach(0, addresses);

    /// <summary>As <see cref="Attach(ulong[])"/>, when the pages before one are gone already.</summary>
    public AddressSpace Attach(int firstPage, params ulong[] addresses)
    {
        AddressSpace sharer = AddressSpace.Create(_stand.System) ?? throw new AssertionException("no memory for an address space");
        _sharers.Add(sharer);
        foreach (ulong address in addresses.Length == 0 ? [Base] : addresses)
            Attach(sharer, Host, address, firstPage);
        return sharer;
    }

    public void Attach(AddressSpace sharer, AddressSpace host, ulong address, int firstPage = 0)
    {
        RegionFile region = _regions.Single(r => r.Tables.Host == host);
        Assert.That(sharer.Mmap(null, address, Unit, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, region, 0), Is.EqualTo((long)address));
        for (int i = firstPage; i < _pages; i++)
            Assert.That(sharer.HandleFault(null, address + ((ulong)i << 12), FaultFlags.Write), Is.EqualTo(FaultOutcome.Done));
    }

    /// <summary>An access on a vCPU; true: something translated it.</summary>
    public bool Touch(int vcpu, ulong address, Access access = Access.Read)
    {
        bool translated = false;
        _stand.On(vcpu, v => translated = Mmu.Translate(v.State, address, access, user: true, out _));
        return translated;
    }

    /// <summary>An access of the sharer that a vCPU runs, with the fault that it may take: what is still mapped can be used.</summary>
    public void Use(int vcpu, ulong address)
    {
        if (Touch(vcpu, address))
            return;
        Assert.That(Tlb.StateOf(vcpu).LoadedMm!.HandleFault(null, address, FaultFlags.Read), Is.EqualTo(FaultOutcome.Done));
        Assert.That(Touch(vcpu, address));
    }

    /// <summary>A vCPU runs a sharer and has its pages in its TLB, for writing.</summary>
    public void Run(int vcpu, AddressSpace sharer, params ulong[] addresses)
    {
        _stand.Load(vcpu, sharer);
        foreach (ulong address in addresses.Length == 0 ? [Base] : addresses)
        {
            for (int i = 0; i < _pages; i++)
                Assert.That(Touch(vcpu, address + ((ulong)i << 12), Access.Write), $"vCPU {vcpu}, page {i} at {address:x}");
        }
    }

    /// <summary>It runs the sharer, and then something else: the slot is kept.</summary>
    public void Leave(int vcpu, AddressSpace sharer, params ulong[] addresses)
    {
        Run(vcpu, sharer, addresses);
        _stand.Load(vcpu, Other);
    }

    /// <summary>It runs the sharer, and then nothing.</summary>
    public void Idle(int vcpu, AddressSpace sharer)
    {
        Run(vcpu, sharer);
        _stand.On(vcpu, Tlb.EnterLazy);
    }

    public void Load(int vcpu, AddressSpace mm) => _stand.Load(vcpu, mm);

    /// <summary>Pages of the host go, and what they were in.</summary>
    public void Unmap(int first, int count = 1) => Assert.That(Host.Munmap(null, Page(first), (ulong)count << 12), Is.Zero);

    public ulong Count(ShootdownCounter counter) => Tlb.Total(counter);

    public void Dispose()
    {
        foreach (AddressSpace sharer in _sharers)
            sharer.Put(null);
        Other.Put(null);
        foreach (RegionFile region in _regions)
            region.Tables.Host.Put(null);
        _stand.Dispose();
    }
}

/// <summary>A file whose mappings show a host from <see cref="SharedStand.Base"/> on.</summary>
internal sealed class RegionFile(SharedTables tables) : OpenFile(FileAbi.O_RDWR), ISharedRegion
{
    public SharedTables Tables => tables;

    public long CheckContainer(ulong address, ulong length, ulong offset, int mapFlags, out ulong hostAddress)
    {
        hostAddress = SharedStand.Base;
        return 0;
    }

    public bool TryChoosePlace(ulong hint, ulong offset, out ulong address, out ulong alignment)
    {
        (address, alignment) = (0, 0);
        return false;
    }
}
