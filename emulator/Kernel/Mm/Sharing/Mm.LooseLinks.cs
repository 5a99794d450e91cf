using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// Links as the patches of RFC v3 make them: they stay when their container goes, and are not counted, so the tables go under them. A processor
/// that follows one then reads whatever is in the frames now, which is the point of the variant. The kernel's own walks must not, because that
/// would take this emulator down rather than its guest.
/// </summary>
public sealed unsafe partial class Mm
{
    /// <summary>Whose tables each loose link names, by the link's address. Under the page-table lock.</summary>
    private Dictionary<ulong, SharedTables>? _looseLinks;

    /// <summary>Hosts that stay because something of ours was mapped on top of a loose link. In bounds: each once, and each has a frame of the machine.</summary>
    private HashSet<Mm>? _keptHosts;

    /// <summary>
    /// An entry that differs from the host's is replaced before anything else; nothing is counted, no right is withheld. True: it was replaced, and the fault
    /// is to be tried again.
    /// </summary>
    private bool LinkLoosely(Task? task, Vma container, ulong address, in HostScope host)
    {
        ulong entry = host.Mm.Tables.TopEntry(host.Address);
        using (PageTableLock.Enter(task))
        {
            if (entry == 0 || PageTables.FrameOf(Tables.TopEntry(address)) == PageTables.FrameOf(entry))
                return false;
            Tables.SetLink(address, entry, Pte.None, loose: true);
            (_looseLinks ??= [])[address & ~(TopSize - 1)] = container.Shares!;
            return true;
        }
    }

    /// <summary>
    /// Something is to be mapped where loose links may be left: it will populate the shared tables. Those stay for as long as this address space
    /// does; links to tables that are gone already are undone, and so are those to another region than the one that is mapped.
    /// </summary>
    private void MeetLooseLinks(Task? task, ulong start, ulong end, SharedTables? mapped)
    {
        if (_looseLinks is null)
            return;
        for (ulong at = start & ~(TopSize - 1); at < end; at += TopSize)
        {
            if (!_looseLinks.TryGetValue(at, out SharedTables? tables) || tables == mapped)
                continue;
            if (mapped is null && tables.Host.TryGet())
            {
                if (!(_keptHosts ??= []).Add(tables.Host))
                    tables.Host.Put(task);
                continue;
            }
            using (PageTableLock.Enter(task))
            {
                Tables.ClearLink(at);
                _looseLinks.Remove(at);
            }
        }
    }

    private void PutKeptHosts(Task? task)
    {
        foreach (Mm host in _keptHosts ?? [])
            host.Put(task);
        _keptHosts = null;
    }
}
