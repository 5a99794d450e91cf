using Emulator.Hardware.Cpu;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Tests.Memory;

namespace Emulator.Tests.Cpu;

/// <summary>What running guest code costs in numbers that no host changes: TLB look-ups of a program that can be counted by hand, and nothing allocated.</summary>
[Parallelizable(ParallelScope.All)]
internal sealed unsafe class HotPathTests
{
    private const ulong Code = 0x40_0000, Data = 0x80_0000;
    private const int MostPages = 4096;

    /// <summary>1: mov rax,[rsi]; add rsi,4096; dec rcx; jnz 1b; syscall.</summary>
    private static ReadOnlySpan<byte> Loop => [0x48, 0x8B, 0x06, 0x48, 0x81, 0xC6, 0x00, 0x10, 0x00, 0x00, 0x48, 0xFF, 0xC9, 0x75, 0xF1, 0x0F, 0x05];

    // The default geometry replaces in the order of fills: what does not fit a level and is gone through in circles misses it every time. In the middle case 64 pages
    // go into each set of the first level, of 4 ways, and 8 into each of the second, of 12. In the last both lose the page of the code, too, which is fetched once.
    [TestCase(48, 0, 0)]
    [TestCase(1024, 1024, 0)]
    [TestCase(MostPages, MostPages + 1, MostPages + 1)]
    public void A_pass_over_pages_misses_each_level_as_often_as_its_size_says(int pages, int level1Misses, int level2Misses)
    {
        using var tables = Prepare();
        VcpuState* c = tables.State;
        Pass(tables, pages);
        Pass(tables, pages);
        CounterValues before = c->Tlb.Counters;
        (long accesses, long instructions) = (c->Accesses, c->Instructions);
        Pass(tables, pages);
        ulong Counted(Counter counter) => tables.State->Tlb.Counters[counter] - before[counter];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(c->Accesses - accesses, Is.EqualTo(pages));
            Assert.That(c->Instructions - instructions, Is.EqualTo(4L * pages + 1));
            Assert.That(Counted(Counter.Level1Misses), Is.EqualTo(level1Misses));
            Assert.That(Counted(Counter.Level1Evictions), Is.EqualTo(level1Misses));
            Assert.That(Counted(Counter.Level2Misses), Is.EqualTo(level2Misses));
            Assert.That(Counted(Counter.Level2Evictions), Is.EqualTo(level2Misses));
            // Page directories' entries are cached, so that each walk reads one entry.
            Assert.That(Counted(Counter.Walks), Is.EqualTo(level2Misses));
            Assert.That(Counted(Counter.WalkReferences), Is.EqualTo(level2Misses));
            Assert.That(Counted(Counter.StructureCacheHitsPde), Is.EqualTo(level2Misses));
        }
        tables.Vcpu.Leave();
    }

    /// <summary>Pages of 2 MiB: each access misses the front, which is of 4 KiB, and is a hit of the first level all the same.</summary>
    [Test]
    public void A_pass_over_large_pages_misses_the_front_alone()
    {
        using var tables = Prepare(large: true);
        Pass(tables, MostPages);
        CounterValues before = tables.State->Tlb.Counters;
        Pass(tables, MostPages);
        ulong Counted(Counter counter) => tables.State->Tlb.Counters[counter] - before[counter];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Counted(Counter.FrontMisses), Is.EqualTo(MostPages));
            Assert.That(Counted(Counter.Level1Misses) + Counted(Counter.Walks), Is.Zero);
        }
        tables.Vcpu.Leave();
    }

    [Test]
    public void Running_and_missing_allocate_nothing([Values] bool large)
    {
        using var tables = Prepare(large);
        for (int i = 0; i < 4; i++)
            Pass(tables, MostPages);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Pass(tables, MostPages);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        tables.Vcpu.Leave();
    }

    private static GuestTables Prepare(bool large = false)
    {
        var tables = new GuestTables(bytes: 1UL << 26);
        tables.Vcpu.Enter();
        Pfn code = tables.NewFrame();
        Loop.CopyTo(tables.Platform.Memory.BytesOf(code));
        tables.Map(Code, code);
        for (int i = 0; large && i < MostPages; i += 512)
            tables.Map(Data + ((ulong)i << Pfn.Shift), new Pfn((ulong)(MostPages + i)), level: 1);
        for (int i = 0; !large && i < MostPages; i++)
            tables.Map(Data + ((ulong)i << Pfn.Shift), tables.NewFrame());
        return tables;
    }

    private static void Pass(GuestTables tables, int pages)
    {
        VcpuState* c = tables.State;
        c->Registers.Rip = Code;
        c->Registers.Gpr[VcpuRegisters.Rsi] = Data;
        c->Registers.Gpr[VcpuRegisters.Rcx] = (ulong)pages;
        c->Budget = long.MaxValue;
        if (tables.Vcpu.Run() != VcpuExit.Syscall)
            Assert.Fail("The loop ends with a system call.");
    }
}
