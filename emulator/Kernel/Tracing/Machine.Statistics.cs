using System.Collections.Immutable;
using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Mirrors;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tracing;

namespace Emulator.Kernel;

public sealed partial class Machine
{
    private MeasuredParts? _parts;

    /// <summary>All figures of the run so far. Exact once the run has ended.</summary>
    /// <param name="hostSeconds">Wall-clock time that the run took.</param>
    public Statistics Statistics(string program, ExitStatus status, double hostSeconds) => new()
    {
        Program = program,
        Exit = status,
        Vcpus = Options.Vcpus,
        Tlb = Options.Tlb,
        Seed = Options.Seed,
        Deterministic = Options.Deterministic,
        HostSeconds = hostSeconds,
        Figures = [.. Counts(), .. MemoryFigures(), .. CycleFigures()],
        Measured = Parts.Figures,
    };

    /// <summary>What the program marks to be measured.</summary>
    internal MeasuredParts Parts => _parts ??= new MeasuredParts(() => [.. Counts(), .. CycleFigures()]);

    /// <summary>What only grows.</summary>
    private IEnumerable<Figure> Counts() =>
        [.. CpuFigures(), .. CounterList.All.Select(HardwareFigure), .. ShootdownCounterList.All.Select(ShootdownFigure), .. KernelFigures()];

    private unsafe IEnumerable<Figure> CpuFigures()
    {
        ImmutableArray<ulong> instructions = PerVcpu(static vcpu => (ulong)vcpu.State->Instructions);
        ImmutableArray<ulong> accesses = PerVcpu(static vcpu => (ulong)vcpu.State->Accesses);
        return
        [
            new Figure("cpu.instructions", "instructions", "guest instructions executed", Sum(instructions), instructions),
            new Figure("tlb.accesses", "accesses", "memory accesses of guest instructions through the TLB", Sum(accesses), accesses),
        ];
    }

    private unsafe Figure HardwareFigure(CounterInfo info)
    {
        ImmutableArray<ulong> values = PerVcpu(vcpu => vcpu.State->Tlb.Counters[info.Counter]);
        return new Figure(info.Name, info.Unit, info.Help, Sum(values), values);
    }

    private Figure ShootdownFigure(ShootdownCounterInfo info) => new(info.Name, info.Unit, info.Help, MemorySystem.Shootdown.Total(info.Counter),
        PerVcpu(vcpu => MemorySystem.Shootdown.Count(info.Counter, vcpu.Id)));

    private IEnumerable<Figure> KernelFigures()
    {
        yield return new Figure("kernel.syscalls", "calls", "system calls", (ulong)SyscallCount, []);
        yield return new Figure("kernel.switches", "switches", "times a vCPU was handed to another task", (ulong)Scheduler.Switches, []);
        foreach (FaultKind kind in Enum.GetValues<FaultKind>())
            yield return new Figure("faults." + Snake(kind.ToString()), "faults", $"page faults resolved as: {Snake(kind.ToString()).Replace('_', ' ')}", (ulong)MemorySystem.Faults[kind], []);
        foreach (VmEventInfo info in VmEvents.All)
            yield return new Figure("vm." + info.Name, "events", info.Help, (ulong)MemorySystem.Events[info.Event], []);
        foreach (DmaBufCounter counter in Enum.GetValues<DmaBufCounter>())
            yield return new Figure("dmabuf." + Snake(counter.ToString()), "events", $"buffers of devices, counted: {Snake(counter.ToString()).Replace('_', ' ')}", (ulong)DmaBufs[counter], []);
        if (Disturber is { } disturber)
        {
            yield return new Figure("disturb.migrated", "pages", "pages moved by --disturb", (ulong)disturber.Migrated, []);
            yield return new Figure("disturb.reclaimed", "pages", "pages reclaimed by --disturb", (ulong)disturber.Reclaimed, []);
            yield return new Figure("disturb.split", "pages", "huge pages split by --disturb", (ulong)disturber.Split, []);
            yield return new Figure("disturb.filled", "fills", "speculative TLB fills asked for by --disturb", (ulong)disturber.Filled, []);
        }
    }

    private IEnumerable<Figure> MemoryFigures()
    {
        yield return new Figure("memory.table_frames", "frames", "page-table pages in use at the end", (ulong)Pages.TableFrames, []);
        yield return new Figure("memory.used_frames", "frames", "frames in use at the end", (ulong)Pages.UsedFrames, []);
        yield return new Figure("memory.peak_frames", "frames", "most frames in use at one time", (ulong)Pages.PeakFrames, []);
    }

    private Figure[] CycleFigures()
    {
        CycleEstimate[] each = [.. Platform.Vcpus.Select(vcpu => CycleEstimate.Of(vcpu, MemorySystem.Shootdown, (ulong)Volatile.Read(ref _syscalls[vcpu.Id * CountStride]), Options.Costs ?? Hardware.Smp.CostModel.Default))];
        Figure Cycles(string name, string help, Func<CycleEstimate, ulong> part)
        {
            ImmutableArray<ulong> values = [.. each.Select(part)];
            return new Figure("cycles." + name, "cycles", help, Sum(values), values);
        }
        return
        [
            Cycles("total", "simulated cycles of all vCPUs, by the cost model", static e => e.Total),
            Cycles("execution", "simulated: instructions", static e => e.Execution),
            Cycles("tlb", "simulated: second-level hits, walks and their updates", static e => e.Tlb),
            Cycles("faults", "simulated: page faults", static e => e.Faults),
            Cycles("syscalls", "simulated: entries by system calls", static e => e.SystemCalls),
            Cycles("flushes", "simulated: page and full flushes, loads of CR3", static e => e.Flushes),
            Cycles("ipi_sending", "simulated: sending interrupts", static e => e.IpiSending),
            Cycles("ipi_waiting", "simulated: initiators waiting for the slowest target", static e => e.IpiWaiting),
            Cycles("ipi_receiving", "simulated: taking interrupts", static e => e.IpiReceiving),
        ];
    }

    private ImmutableArray<ulong> PerVcpu(Func<Vcpu, ulong> value) => [.. Platform.Vcpus.Select(value)];

    private static ulong Sum(ImmutableArray<ulong> values)
    {
        ulong sum = 0;
        foreach (ulong value in values)
            sum += value;
        return sum;
    }

    private static string Snake(string name)
        => string.Concat(name.Select((c, i) => char.IsUpper(c) ? (i == 0 ? "" : "_") + char.ToLowerInvariant(c) : c.ToString()));
}
