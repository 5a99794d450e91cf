using BenchmarkDotNet.Attributes;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using static Emulator.Kernel.Memory.MmanAbi;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Bench;

/// <summary>What announcing one change costs: nothing to speak of without subscribers, and linear in those that listen to everything.</summary>
[BenchmarkCategory("Quick")]
public class NotifierDispatchBenchmarks : IDisposable
{
    private const int Changes = 1 << 14;

    private Machine? _machine;
    private KernelMm? _mm;

    [Params(0, 1, 16, 1024)]
    public int Subscribers { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _machine = new Machine(new MachineOptions { MemoryBytes = 64 << 20 });
        _mm = new KernelMm(_machine);
        _mm.Run(task =>
        {
            for (int i = 0; i < Subscribers; i++)
                new Listener().Register(task, task.Mm);
        });
    }

    [Benchmark(OperationsPerInvoke = Changes)]
    public void StartAndEnd() => _mm!.Run(static task =>
    {
        var range = new MmuNotifierRange(task.Mm, 0x10000, 0x20000, MmuNotifyEvent.Clear);
        for (int i = 0; i < Changes; i++)
        {
            task.Mm.InvalidateRangeStart(task, range);
            task.Mm.InvalidateRangeEnd(task, range);
        }
    });

    [GlobalCleanup]
    public void Dispose()
    {
        _machine?.Dispose();
        GC.SuppressFinalize(this);
    }

    private sealed class Listener : MmuNotifier
    {
        public override MmuNotifierOps Ops => MmuNotifierOps.InvalidateRangeStart | MmuNotifierOps.InvalidateRangeEnd;
    }
}

/// <summary>A change that one of many interval notifiers mirrors, and one that none does: logarithmic in their number.</summary>
public class IntervalTreeBenchmarks : IDisposable
{
    private const int Changes = 1 << 14;

    private Machine? _machine;
    private KernelMm? _mm;

    [Params(10, 1000, 100_000, 1_000_000)]
    public int Ranges { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _machine = new Machine(new MachineOptions { MemoryBytes = 64 << 20 });
        _mm = new KernelMm(_machine);
        _mm.Run(task =>
        {
            for (int i = 0; i < Ranges; i++)
                new Mirror().Insert(task, task.Mm, (ulong)i << 13, 0x1000);
        });
    }

    [Benchmark(OperationsPerInvoke = Changes)]
    public void MirroredByOne() => _mm!.Run(task => Change(task, 0));

    [Benchmark(OperationsPerInvoke = Changes)]
    public void MirroredByNone() => _mm!.Run(task => Change(task, 0x1000));

    private void Change(Task task, ulong offset)
    {
        for (int i = 0; i < Changes; i++)
        {
            ulong at = ((ulong)((long)i * 7919 % Ranges) << 13) + offset;
            var range = new MmuNotifierRange(task.Mm, at, at + 0x1000, MmuNotifyEvent.Clear);
            task.Mm.InvalidateRangeStart(task, range);
            task.Mm.InvalidateRangeEnd(task, range);
        }
    }

    [GlobalCleanup]
    public void Dispose()
    {
        _machine?.Dispose();
        GC.SuppressFinalize(this);
    }

    private sealed class Mirror : MmuIntervalNotifier
    {
        public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
        {
            SetSequence(sequence);
            return true;
        }
    }
}

/// <summary>hmm_range_fault over pages that are there: the cost of a page does not depend on how many are asked for, and nothing is allocated for it.</summary>
[MemoryDiagnoser]
public class HmmBenchmarks : IDisposable
{
    private const int Most = 1 << 14;

    private Machine? _machine;
    private KernelMm? _mm;
    private readonly ulong[] _pfns = new ulong[Most];
    private ulong _at;

    [Params(16, 512, Most)]
    public int Pages { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _machine = new Machine(new MachineOptions { MemoryBytes = 256 << 20, TransparentHugePages = HugePagePolicy.Madvise });
        _mm = new KernelMm(_machine);
        _mm.Run(task => _at = (ulong)task.Mm.Mmap(task, 0, Most << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, null, 0));
    }

    [Benchmark(OperationsPerInvoke = Most)]
    public void PerPage() => _mm!.Run(task =>
    {
        var range = new HmmRange(task.Mm, _at, _at + ((ulong)Pages << 12), _pfns) { DefaultFlags = HmmPfn.ReqFault };
        using (task.Mm.EnterRead(task))
        {
            for (int i = 0; i < Most / Pages; i++)
                Hmm.RangeFault(task, range);
        }
    });

    [GlobalCleanup]
    public void Dispose()
    {
        _machine?.Dispose();
        GC.SuppressFinalize(this);
    }
}

/// <summary>One address space of a machine that outlives the tasks that use it, each for one measurement.</summary>
internal sealed class KernelMm(Machine machine)
{
    private readonly Mm _mm = Mm.Create(machine.MemorySystem)!;

    public void Run(Action<Task> body) => machine.Run(outer => machine.Spawn(body, _mm).Join(outer));
}
