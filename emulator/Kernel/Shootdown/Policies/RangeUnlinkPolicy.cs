using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>
/// The sharers are treated as a shadow MMU is: from the start of an announced change to its end they have no links to the tables around it.
/// </summary>
internal sealed class RangeUnlinkPolicy : SharedFlushPolicy
{
    public override string Name => "range-unlink";

    public override string Summary => "take the sharers' links away from invalidate_range_start to invalidate_range_end";

    public override string Source => "Jann Horn, 14 October 2024, same thread, as what mshare \"probably doesn't\" want";

    public override string Price => "two flushes of each sharer's part of the region, and a fault of every sharer for each change, whatever page it touches";

    public override string Limits => "every access under the same top-level entry faults while any change is under way";

    internal override void Flush(in SharedFlush flush)
    {
    }
}
