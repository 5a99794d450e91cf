using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Shootdown.Policies;

/// <summary>
/// The sharers are treated as a shadow MMU is: from the start of an announced change to its end they have no links to the tables around it.
/// </summary>
/// <remarks>
/// <code>
///   who changes the tables                         a fault of a sharer
///   hold links                                     enter the list of sharers (at mmap)
///   for each sharer on the list, under its         under its page-table lock: links held?
///     page-table lock: take the link away            yes: wait for the end, then try again
///   flush each that had one, tables included, and    no: link
///     each that another change has not flushed yet
///   change entries, free frames
///   allow links
/// </code>
/// The lock orders the two for each sharer: its link is made before it is taken away, or it is not made. So during the change nobody can walk to
/// the entries, and after the flush nobody has anything cached; later links lead to what the change has left. That is why the flushes
/// in between need reach nobody. What the end comes too early for is tables: an unmapping frees them after it. Whoever links in
/// between may have cached them, so those flushes are carried out, for each sharer.
/// Whoever waits holds no lock that a change needs between its start and its end, where it takes spin locks only.
/// </remarks>
internal sealed class RangeUnlinkPolicy : SharedFlushPolicy
{
    public override string Name => "range-unlink";

    public override string Summary => "take the sharers' links away from invalidate_range_start to invalidate_range_end";

    public override string Source => "Jann Horn, 14 October 2024, same thread: the classic mode of notifiers, which \"probably doesn't match your usecase\"";

    public override string Price => "a full flush of each sharer that was linked, and a fault for each of them, for every change, whatever page it touches";

    public override string Limits => "every access under the same top-level entry faults, and waits while any change is under way; frees of tables come after the end, and need a flush of their own; the variant rfc-v3 has no links to take away";

    internal override void Flush(in SharedFlush flush)
    {
        if (flush.FreedTables)
            PerSharerPolicy.FlushEach(flush);
    }

    internal override void RangeStart(Task? task, Mm host, in MmuNotifierRange range)
    {
        SharedTables tables = host.Sharing!;
        // The posted variant does not count its links, and takes none away.
        if (tables.IsLeaky)
            return;
        tables.HoldLinks();
        foreach (ref readonly Sharer sharer in tables.Sharers)
        {
            if (sharer.TryTranslate(range.Start, range.End, out ulong start, out ulong end))
                host.Shootdown.CountsOf(task?.Vcpu)[ShootdownCounter.LinksCut] += (ulong)sharer.Mm.CutLinks(task, start, end);
        }
    }

    internal override void RangeEnd(Task? task, Mm host, in MmuNotifierRange range)
    {
        if (!host.Sharing!.IsLeaky)
            host.Sharing.AllowLinks();
    }
}
