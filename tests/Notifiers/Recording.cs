using System.Globalization;
using Emulator.Hardware.Memory;
using Emulator.Kernel;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Task = Emulator.Kernel.Tasks.Task;

namespace Emulator.Tests.Notifiers;

/// <summary>A notifier whose callbacks are the test's; it has those that are not null.</summary>
internal sealed class Probe : MmuNotifier
{
    public Func<Task?, MmuNotifierRange, int>? Start { get; init; }

    public Action<Task?, MmuNotifierRange>? End { get; init; }

    public Action<Task?, ulong, ulong>? Flush { get; init; }

    public Action<Task?, Kernel.Memory.Mm>? Released { get; init; }

    public Action? Freed { get; init; }

    public Func<ulong, ulong, string, bool>? Young { get; init; }

    public Action<ulong, Pfn, bool>? Change { get; init; }

    public override MmuNotifierOps Ops =>
        (Start is null ? 0 : MmuNotifierOps.InvalidateRangeStart)
        | (End is null ? 0 : MmuNotifierOps.InvalidateRangeEnd)
        | (Flush is null ? 0 : MmuNotifierOps.ArchInvalidateSecondaryTlbs)
        | (Released is null ? 0 : MmuNotifierOps.Release)
        | (Change is null ? 0 : MmuNotifierOps.ChangePte)
        | (Young is null ? 0 : MmuNotifierOps.ClearFlushYoung | MmuNotifierOps.ClearYoung | MmuNotifierOps.TestYoung);

    public override int InvalidateRangeStart(Task? task, in MmuNotifierRange range) => Start!(task, range);

    public override void InvalidateRangeEnd(Task? task, in MmuNotifierRange range) => End!(task, range);

    public override void ArchInvalidateSecondaryTlbs(Task? task, Kernel.Memory.Mm mm, ulong start, ulong end) => Flush!(task, start, end);

    public override void Release(Task? task, Kernel.Memory.Mm mm) => Released!(task, mm);

    public override bool ClearFlushYoung(Task? task, Kernel.Memory.Mm mm, ulong start, ulong end) => Young!(start, end, "clear_flush_young");

    public override bool ClearYoung(Task? task, Kernel.Memory.Mm mm, ulong start, ulong end) => Young!(start, end, "clear_young");

    public override bool TestYoung(Task? task, Kernel.Memory.Mm mm, ulong address) => Young!(address, address + 1, "test_young");

    public override void ChangePte(Task? task, Kernel.Memory.Mm mm, ulong address, Pfn frame, bool writable) => Change!(address, frame, writable);

    public override void Free() => Freed!();
}

/// <summary>An interval notifier whose callback is the test's, or the usual one.</summary>
internal sealed class IntervalProbe : MmuIntervalNotifier
{
    public Func<Task?, MmuNotifierRange, ulong, bool>? On { get; init; }

    public List<(MmuNotifyEvent Event, ulong Sequence)> Seen { get; } = [];

    public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
    {
        lock (Seen)
            Seen.Add((range.Event, sequence));
        if (On is not null)
            return On(task, range, sequence);
        SetSequence(sequence);
        return true;
    }
}

/// <summary>Writes down, in order, what an address space's notifiers are told, relative to a base address and with the state of one watched page.</summary>
internal sealed class Recorder
{
    private readonly Lock _lock = new();
    private readonly List<string> _events = [];
    private readonly Machine _machine;
    private readonly Kernel.Memory.Mm _mm;
    private readonly Probe _shadow, _walker;
    private (Pfn Frame, uint Generation) _watched;

    public Recorder(Task task, Kernel.Memory.Mm mm)
    {
        (_machine, _mm) = (task.Machine, mm);
        _shadow = new Probe
        {
            Start = (_, r) => Add("start", $"{r.Event} {Pages(r.Start, r.End)}{(r.Blockable ? "" : " nonblock")}"),
            End = (_, r) => Add("end", $"{r.Event} {Pages(r.Start, r.End)}"),
            Released = (_, _) => Add("release", ""),
        };
        _walker = new Probe { Flush = (_, start, end) => Add("flush", Pages(start, end)) };
        Assert.That(_shadow.Register(task, mm), Is.Zero);
        Assert.That(_walker.Register(task, mm), Is.Zero);
    }

    /// <summary>What page numbers count from.</summary>
    public ulong Base { get; set; }

    /// <summary>The events since the last call.</summary>
    public string[] Take()
    {
        lock (_lock)
        {
            string[] taken = [.. _events];
            _events.Clear();
            return taken;
        }
    }

    /// <summary>From now on events say what has become of the page that is at an address now.</summary>
    public void Watch(ulong address)
    {
        Assert.That(_mm.TryWalk(address, write: false, out Pfn frame), Is.True);
        _watched = (frame, _machine.Pages[frame].Generation);
        WatchedAddress = address;
    }

    public ulong WatchedAddress { get; private set; }

    public void Stop(Task task)
    {
        _shadow.Unregister(task);
        _walker.Unregister(task);
    }

    private int Add(string what, string about)
    {
        string state = "";
        if (WatchedAddress != 0)
        {
            bool mapped = _mm.TryWalk(WatchedAddress, write: false, out Pfn frame);
            bool freed = _machine.Pages[_watched.Frame].Generation != _watched.Generation;
            state = $": {(!mapped ? "empty" : frame == _watched.Frame ? "mapped" : "other")}{(freed ? ", freed" : "")}";
        }
        lock (_lock)
            _events.Add($"{what} {about}".TrimEnd() + state);
        return 0;
    }

    private string Pages(ulong start, ulong end) =>
        end == ulong.MaxValue ? "all" : string.Create(CultureInfo.InvariantCulture, $"{(long)(start - Base) >> 12}-{(long)(end - Base) >> 12}");
}
