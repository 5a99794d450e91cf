using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Notifiers;

/// <summary>A notifier that looks on: it has those callbacks that are not null.</summary>
internal sealed class Probe : MmuNotifier
{
    public Action<Task?, MmuNotifierRange>? Start { get; init; }

    public Action<Task?, MmuNotifierRange>? End { get; init; }

    /// <summary>Gets the range flushed.</summary>
    public Action<Task?, ulong, ulong>? Flush { get; init; }

    public override MmuNotifierOps Ops =>
        (Start is null ? 0 : MmuNotifierOps.InvalidateRangeStart)
        | (End is null ? 0 : MmuNotifierOps.InvalidateRangeEnd)
        | (Flush is null ? 0 : MmuNotifierOps.ArchInvalidateSecondaryTlbs);

    public override int InvalidateRangeStart(Task? task, in MmuNotifierRange range)
    {
        Start!(task, range);
        return 0;
    }

    public override void InvalidateRangeEnd(Task? task, in MmuNotifierRange range) => End!(task, range);

    public override void ArchInvalidateSecondaryTlbs(Task? task, Mm mm, ulong start, ulong end) => Flush!(task, start, end);
}
