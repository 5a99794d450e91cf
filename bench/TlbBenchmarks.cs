using BenchmarkDotNet.Attributes;
using Emulator.Hardware;
using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;

namespace Emulator.Bench;

/// <summary>What a data access costs, by where its translation is found, and what dropping translations costs.</summary>
[BenchmarkCategory("Quick")]
public unsafe class TlbBenchmarks : IDisposable
{
    private const int Accesses = 1 << 14;
    private const ulong Start = 0x10_0000_0000;
    private Platform _platform = null!;
    private VcpuState* _c;
    private ulong _nextFrame;

    [GlobalSetup]
    public void Map()
    {
        _platform = new Platform(new PhysicalMemory(1UL << 30), 4, TlbGeometry.Default);
        var root = new Pfn(0);
        _nextFrame = 1;
        for (ulong page = 0; page < 1 << 15; page++)
        {
            var table = (ulong*)_platform.Memory.Pointer(root);
            for (int level = PageTable.RootLevel; level > 0; level--)
            {
                ref ulong entry = ref table[PageTable.Index(Start + page * Pfn.Size, level)];
                if (entry == 0)
                    entry = new Pfn(_nextFrame++).Address | (ulong)(Pte.Present | Pte.Writable | Pte.User);
                table = (ulong*)(_platform.Memory.Base + (entry & (ulong)Pte.Frame));
            }
            table[PageTable.Index(Start + page * Pfn.Size, 0)] = new Pfn(_nextFrame++).Address | (ulong)(Pte.Present | Pte.Writable | Pte.User);
        }
        _platform.Vcpus[0].Enter();
        _c = _platform.Vcpus[0].State;
        Mmu.LoadCr3(_c, root, 0, noFlush: false);
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _platform.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>16 pages in turn: the front answers.</summary>
    [Benchmark(OperationsPerInvoke = Accesses)]
    public ulong FrontHit() => Read(16, Pfn.Size);

    /// <summary>Two pages in the same slot of the front.</summary>
    [Benchmark(OperationsPerInvoke = Accesses)]
    public ulong Level1Hit() => Read(2, FrontEntry.Count * Pfn.Size);

    /// <summary>1,024 pages in turn: sixteen times the first level.</summary>
    [Benchmark(OperationsPerInvoke = Accesses)]
    public ulong Level2Hit() => Read(1024, Pfn.Size);

    /// <summary>8,192 pages in turn: each access walks, from the page table on.</summary>
    [Benchmark(OperationsPerInvoke = Accesses)]
    public ulong Walk() => Read(8192, Pfn.Size);

    [Benchmark]
    public ulong FillAndInvalidatePage()
    {
        Mmu.InvalidatePage(_c, Start);
        return Load(Start);
    }

    [Benchmark]
    public ulong FillAndLoadCr3()
    {
        Mmu.LoadCr3(_c, new Pfn(0), 0, noFlush: false);
        return Load(Start);
    }

    /// <summary>An interrupt to three vCPUs that nobody runs.</summary>
    [Benchmark]
    public void InterruptIdle() => _platform.InterProcessor.Call(_platform.Vcpus[0], _platform.AllVcpus, Nothing.Instance);

    private ulong Read(ulong pages, ulong stride)
    {
        ulong sum = 0, page = 0;
        for (int i = 0; i < Accesses; i++)
        {
            sum += Load(Start + page * stride + ((ulong)i & 0x1F8));
            if (++page == pages)
                page = 0;
        }
        return sum;
    }

    /// <summary>As a handler of the interpreter does it.</summary>
    private ulong Load(ulong address)
    {
        var entry = _c->Front + ((address >> Pfn.Shift) & (FrontEntry.Count - 1));
        if (((address + 7) & ~(Pfn.Size - 1)) == entry->Tag)
            return *(ulong*)(entry->Addend + (nint)address);
        return *(ulong*)Mmu.ReadSlow(_c, address, 8);
    }

    private sealed class Nothing : Emulator.Hardware.Smp.IpiRequest
    {
        public static readonly Nothing Instance = new();

        public override void Serve(Emulator.Hardware.Smp.Vcpu target)
        {
        }
    }
}
