using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Changes of the host are announced to the secondary MMUs of its sharers, each at its own addresses: nested ranges, the host's first. No
/// lock of a sharer is taken. Start and end reach the same notifiers, since none comes or goes in between (<see cref="Attach"/>).
/// </summary>
public sealed partial class SharedTables
{
    private bool TryFind(in Sharer sharer, ulong start, ulong end, out NotifierSubscriptions notifiers, out ulong sharerStart, out ulong sharerEnd)
    {
        notifiers = Volatile.Read(ref sharer.Mm.Notifiers)!;
        sharerStart = sharerEnd = 0;
        return !IsLeaky && notifiers is not null && sharer.TryTranslate(start, end, out sharerStart, out sharerEnd);
    }

    /// <summary>-EAGAIN only if the range is not blockable; then nobody waits for an end.</summary>
    internal int InvalidateStart(Task? task, in MmuNotifierRange range)
    {
        ReadOnlySpan<Sharer> sharers = Sharers;
        for (int i = 0; i < sharers.Length; i++)
        {
            if (!TryFind(sharers[i], range.Start, range.End, out NotifierSubscriptions notifiers, out ulong start, out ulong end))
                continue;
            int error = notifiers.InvalidateStart(task, range with { Mm = sharers[i].Mm, Start = start, End = end });
            if (error == 0)
                continue;
            InvalidateEnd(task, range, sharers[..i]);
            return error;
        }
        return 0;
    }

    internal void InvalidateEnd(Task? task, in MmuNotifierRange range) => InvalidateEnd(task, range, Sharers);

    private void InvalidateEnd(Task? task, in MmuNotifierRange range, ReadOnlySpan<Sharer> sharers)
    {
        foreach (ref readonly Sharer sharer in sharers)
        {
            if (TryFind(sharer, range.Start, range.End, out NotifierSubscriptions notifiers, out ulong start, out ulong end))
                notifiers.InvalidateEnd(task, range with { Mm = sharer.Mm, Start = start, End = end });
        }
    }

    /// <summary>Under spin locks as well.</summary>
    internal void InvalidateSecondaryTlbs(Task? task, ulong start, ulong end)
    {
        foreach (ref readonly Sharer sharer in Sharers)
        {
            if (TryFind(sharer, start, end, out NotifierSubscriptions notifiers, out ulong from, out ulong to) && notifiers.Has(MmuNotifierOps.ArchInvalidateSecondaryTlbs))
                notifiers.InvalidateSecondaryTlbs(task, from, to);
        }
    }

    internal void ChangePte(Task? task, ulong address, Pfn frame, bool writable)
    {
        foreach (ref readonly Sharer sharer in Sharers)
        {
            if (TryFind(sharer, address, address + Pfn.Size, out NotifierSubscriptions notifiers, out ulong at, out _) && notifiers.Has(MmuNotifierOps.ChangePte))
                notifiers.ChangePte(task, at, frame, writable);
        }
    }

    internal bool ClearFlushYoung(Task? task, ulong start, ulong end)
    {
        bool young = false;
        foreach (ref readonly Sharer sharer in Sharers)
        {
            if (TryFind(sharer, start, end, out NotifierSubscriptions notifiers, out ulong from, out ulong to))
                young |= notifiers.ClearFlushYoung(task, from, to);
        }
        return young;
    }

    internal bool ClearYoung(Task? task, ulong start, ulong end)
    {
        bool young = false;
        foreach (ref readonly Sharer sharer in Sharers)
        {
            if (TryFind(sharer, start, end, out NotifierSubscriptions notifiers, out ulong from, out ulong to))
                young |= notifiers.ClearYoung(task, from, to);
        }
        return young;
    }

    internal bool TestYoung(Task? task, ulong address)
    {
        foreach (ref readonly Sharer sharer in Sharers)
        {
            if (TryFind(sharer, address, address + Pfn.Size, out NotifierSubscriptions notifiers, out ulong at, out _) && notifiers.TestYoung(task, at))
                return true;
        }
        return false;
    }
}
