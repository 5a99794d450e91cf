using BenchmarkDotNet.Attributes;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Files;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Bench;

/// <summary>A machine with one address space, in which each benchmark runs as a task.</summary>
public abstract class MemoryBenchmark : IDisposable
{
    private protected const ulong At = 0x1_0000_0000;
    private protected const int Writable = PROT_READ | PROT_WRITE, Private = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;

    private protected Machine Machine { get; private set; } = null!;

    private protected KernelMm Space { get; private set; } = null!;

    [GlobalSetup]
    public void Setup()
    {
        // What is measured is the cost of a page.
        Machine = new Machine(new MachineOptions { MemoryBytes = 4UL << 30, TransparentHugePages = HugePagePolicy.Madvise });
        Space = new KernelMm(Machine);
        Space.Run(Prepare);
    }

    private protected virtual void Prepare(Task task)
    {
    }

    private protected static void Map(Task task, int pages, int flags, OpenFile? file = null) =>
        task.Mm.Mmap(task, At, (ulong)pages << Pfn.Shift, Writable, flags, file, 0);

    private protected static void Unmap(Task task, int pages) => task.Mm.Munmap(task, At, (ulong)pages << Pfn.Shift);

    private protected static void Write(Task task, int pages)
    {
        for (int i = 0; i < pages; i++)
            task.TryWrite(At + ((ulong)i << Pfn.Shift), (byte)1);
    }

    private protected static void Read(Task task, int pages)
    {
        for (int i = 0; i < pages; i++)
            task.TryRead(At + ((ulong)i << Pfn.Shift), out byte _);
    }

    [GlobalCleanup]
    public void Dispose()
    {
        Machine.Dispose();
        GC.SuppressFinalize(this);
    }
}

/// <summary>What the first access to a page costs, by what answers it; its share of mmap and munmap included.</summary>
[BenchmarkCategory("Quick")]
public class FaultBenchmarks : MemoryBenchmark
{
    private const int Pages = 4096;
    private OpenFile? _file;

    private protected override void Prepare(Task task)
    {
        _file = Machine.CreateMemoryFile(task, Pages << Pfn.Shift);
        Map(task, Pages, MAP_SHARED | MAP_FIXED, _file);
        Write(task, Pages);
        Unmap(task, Pages);
    }

    /// <summary>The page of zeroes.</summary>
    [Benchmark(OperationsPerInvoke = Pages)]
    public void AnonymousRead() => Space.Run(static task => Touch(task, Private, null, write: false));

    [Benchmark(OperationsPerInvoke = Pages)]
    public void AnonymousWrite() => Space.Run(static task => Touch(task, Private, null, write: true));

    /// <summary>One fault in sixteen: the others are mapped around it.</summary>
    [Benchmark(OperationsPerInvoke = Pages)]
    public void FileRead() => Space.Run(task => Touch(task, MAP_SHARED | MAP_FIXED, _file, write: false));

    [Benchmark(OperationsPerInvoke = Pages)]
    public void FileWrite() => Space.Run(task => Touch(task, MAP_SHARED | MAP_FIXED, _file, write: true));

    [Benchmark(OperationsPerInvoke = Pages)]
    public void FileCopy() => Space.Run(task => Touch(task, MAP_PRIVATE | MAP_FIXED, _file, write: true));

    /// <summary>After a fork; its share of that included.</summary>
    [Benchmark(OperationsPerInvoke = Pages)]
    public void CopyOnWrite() => Space.Run(static task =>
    {
        Map(task, Pages, Private | MAP_POPULATE);
        Mm child = task.Mm.Fork(task)!;
        Write(task, Pages);
        child.Put(task);
        Unmap(task, Pages);
    });

    private static void Touch(Task task, int flags, OpenFile? file, bool write)
    {
        Map(task, Pages, flags, file);
        if (write)
            Write(task, Pages);
        else
            Read(task, Pages);
        Unmap(task, Pages);
    }
}

/// <summary>Mapping and unmapping: does not depend on the size of what nobody touches, and is linear in pages otherwise.</summary>
public class MappingBenchmarks : MemoryBenchmark
{
    private const int Rounds = 16;

    [Params(1, 1 << 6, 1 << 12, 1 << 18)]
    public int Pages { get; set; }

    [Benchmark(OperationsPerInvoke = Rounds)]
    public void Untouched() => Repeat(Private);

    [Benchmark(OperationsPerInvoke = Rounds)]
    public void Populated() => Repeat(Private | MAP_POPULATE);

    private void Repeat(int flags) => Space.Run(task =>
    {
        for (int i = 0; i < Rounds; i++)
        {
            Map(task, Pages, flags);
            Unmap(task, Pages);
        }
    });
}

/// <summary>A mapping of 300 GiB that nobody has touched, made and removed.</summary>
[BenchmarkCategory("Quick")]
public class SparseBenchmarks : MemoryBenchmark
{
    private const int Pages = 300 << 18;

    [Benchmark]
    public void MapAndUnmap() => Space.Run(static task =>
    {
        Map(task, Pages, Private | MAP_NORESERVE);
        Unmap(task, Pages);
    });
}

/// <summary>fork of an address space with so many pages, and the end of the child that has touched none.</summary>
public class ForkBenchmarks : MemoryBenchmark
{
    [Params(1 << 12, 1 << 18)]
    public int Pages { get; set; }

    private protected override void Prepare(Task task) => Map(task, Pages, Private | MAP_POPULATE);

    [Benchmark]
    public void ForkAndExit() => Space.Run(static task => task.Mm.Fork(task)!.Put(task));
}

/// <summary>Punching holes into a mapped file: a page, with its refilling.</summary>
[BenchmarkCategory("Quick")]
public class PunchBenchmarks : MemoryBenchmark
{
    private const int Pages = 4096;
    private OpenFile? _file;

    [Params(1, 64, Pages)]
    public int PagesAHole { get; set; }

    private protected override void Prepare(Task task)
    {
        _file = Machine.CreateMemoryFile(task, Pages << Pfn.Shift);
        Map(task, Pages, MAP_SHARED | MAP_FIXED, _file);
    }

    [Benchmark(OperationsPerInvoke = Pages)]
    public void FillAndPunch() => Space.Run(task =>
    {
        Write(task, Pages);
        for (int i = 0; i < Pages; i += PagesAHole)
            _file!.Allocate(task, FileAbi.FALLOC_FL_PUNCH_HOLE | FileAbi.FALLOC_FL_KEEP_SIZE, (long)i << Pfn.Shift, (long)PagesAHole << Pfn.Shift);
    });
}

/// <summary>Moving pages that one, or two, address spaces map.</summary>
public class MigrationBenchmarks : MemoryBenchmark
{
    private const int Pages = 4096;
    private Mm? _child;

    [Params(1, 2)]
    public int Mappings { get; set; }

    private protected override void Prepare(Task task)
    {
        Map(task, Pages, Private | MAP_POPULATE);
        if (Mappings == 2)
            _child = task.Mm.Fork(task);
    }

    [Benchmark(OperationsPerInvoke = Pages)]
    public void MovePage() => Space.Run(task => Machine.MemorySystem.Migration.Compact(task));
}
