using Emulator.Hardware.Memory;
using Emulator.Hardware.Smp;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Checker;

/// <summary>
/// Looks over every vCPU's shoulder. <em>Corruption</em> is the use of a cached translation whose frame has been freed since, and a walk through a
/// table that has been freed, whether or not the frame has a new owner yet. <em>Stale</em> is the use of a cached translation which the tables no
/// longer allow, though a flush that covers it began after it was cached and has been declared done (<see cref="FlushLog"/>).
/// </summary>
/// <remarks>
/// Why stale is never said of a right order: the flush promises its caller that whatever was read from the tables before it began is gone
/// from all TLBs when it returns. The vCPU judged is the one whose access it is, on its own thread, where it serves no interrupt between
/// finding the translation and being judged: had the flush been done earlier, the translation would be gone; and it cannot be done
/// between. A fill's number is taken after the tables were read and the flush's before anybody was asked, so "before" errs on
/// the lenient side. Rights that were raised, and flushes that are still owed, are no difference that matters.
/// </remarks>
internal sealed class CoherenceChecker
{
    private readonly VcpuWitness[] _witnesses;
    private readonly Action<Task?, string, string> _report;
    private readonly Lock _lock = new();
    private List<Finding> _unsettled = [];
    private int _unsettledCount;

    /// <param name="system">The memory to watch; frames' histories and flushes are recorded from now on.</param>
    /// <param name="vcpus">Whose translations are judged.</param>
    /// <param name="report">Where findings go: who, the rule broken, the text.</param>
    public CoherenceChecker(MemorySystem system, IReadOnlyList<Vcpu> vcpus, Action<Task?, string, string> report)
    {
        System = system;
        _report = report;
        system.Pages.History = History = new FrameHistory(vcpus[0].Platform.InterProcessor, Clock);
        system.Shootdown.Checker = this;
        Flushes = new FlushLog(Clock);
        _witnesses = [.. vcpus.Select(v => new VcpuWitness(this, v))];
        foreach (Vcpu vcpu in vcpus)
            vcpu.Witness = _witnesses[vcpu.Id];
    }

    public MemorySystem System { get; }

    public EventClock Clock { get; } = new();

    public FrameHistory History { get; }

    public FlushLog Flushes { get; }

    /// <summary>A flush request is being served on a vCPU.</summary>
    public void OnFlushServed(Vcpu vcpu) => _witnesses[vcpu.Id].Flushes.Asked();

    /// <summary>What each vCPU did between two events.</summary>
    public IEnumerable<(int Vcpu, string What)> Served(long from, long to)
    {
        for (int id = 0; id < _witnesses.Length; id++)
        {
            if (_witnesses[id].Flushes.Describe(from, to) is { } what)
                yield return (id, what);
        }
    }

    /// <summary>
    /// Takes a finding. One of guest code waits until the task is in the kernel, because the symbol table of its program can be read only where
    /// the task may sleep.
    /// </summary>
    public void Found(Finding finding, Vcpu vcpu, bool inGuest)
    {
        if (finding.Task is null || !inGuest)
        {
            _report(finding.Task, finding.Rule, finding.Describe(null));
            return;
        }
        lock (_lock)
        {
            _unsettled.Add(finding);
            Volatile.Write(ref _unsettledCount, _unsettled.Count);
        }
        vcpu.RequestAttention();
    }

    /// <summary>Reports what a task's guest code did. The task has just entered the kernel and holds no lock; null: all that is left, nobody runs.</summary>
    public void Settle(Task? task)
    {
        if (Volatile.Read(ref _unsettledCount) == 0)
            return;
        List<Finding> mine;
        lock (_lock)
        {
            mine = [.. _unsettled.Where(f => task is null || f.Task == task)];
            _unsettled = [.. _unsettled.Except(mine)];
            Volatile.Write(ref _unsettledCount, _unsettled.Count);
        }
        foreach (Finding finding in mine)
            _report(finding.Task, finding.Rule, finding.Describe(task is null ? null : new Reports.CodeLocator().Find(task, finding.Rip)?.ToString()));
    }
}
