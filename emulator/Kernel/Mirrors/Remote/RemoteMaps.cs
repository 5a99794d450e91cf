using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>What debugfs shows of remote mappings, in the order of the files.</summary>
public enum RemoteMapCounter
{
    /// <summary>Pages mapped by clients.</summary>
    MapCount,
    /// <summary>Entries in files' trees.</summary>
    PdbCount,
    /// <summary>Pages that are remote.</summary>
    RpgCount,
    /// <summary>What mappings have replaced in clients: nothing, a page, one in the swap area.</summary>
    StatEmptyPte,
    StatMappedPte,
    StatSwapPte,
    /// <summary>Times that a client's fault came between.</summary>
    StatRefault,
}

/// <summary>What the open /dev/remote-map of a machine have in common.</summary>
public sealed class RemoteMaps
{
    internal const string NoNullTarget = "a remote mapping whose target has ended is unmapped without looking at the target";
    internal const string PageIsRemote = "the page that a remote mapping left in its target is still there when it is unmapped from that side";

    /// <summary>Names of the files in /sys/kernel/debug/remote_mapping.</summary>
    internal static readonly string[] Files = ["map_count", "pdb_count", "rpg_count", "stat_empty_pte", "stat_mapped_pte", "stat_swap_pte", "stat_refault"];

    private readonly long[] _counts = new long[(int)RemoteMapCounter.StatRefault + 1];

    /// <summary>A counter's value.</summary>
    public long this[RemoteMapCounter counter] => Volatile.Read(ref _counts[(int)counter]);

    internal void Count(RemoteMapCounter counter, long delta = 1) => Interlocked.Add(ref _counts[(int)counter], delta);

    internal void CountReplaced(RemoteReplaced what) => Count(RemoteMapCounter.StatEmptyPte + (int)what);
}

/// <summary>An entry in a file's tree (<c>struct page_db</c>). Its flags are under the file's lock.</summary>
internal sealed class RemoteMapping(Mm target, ulong requested, ulong mapped)
{
    private Mm? _target = target;

    /// <summary>Null once the target has ended: the mapping is <em>stale</em>, shows what the page held, and can be unmapped.</summary>
    public Mm? Target => Volatile.Read(ref _target);

    public ulong Requested => requested;

    public ulong Mapped => mapped;

    /// <summary>BUSY_BIT: somebody maps or unmaps it.</summary>
    public bool IsBusy { get; set; } = true;

    /// <summary>MAPPED_BIT.</summary>
    public bool IsMapped { get; set; }

    public RemoteTargetNotifier? Notifier { get; set; }

    public RemotePage? Page { get; set; }

    public void MakeStale() => Volatile.Write(ref _target, null);
}

/// <summary>What is known of an address space that is a target (<c>struct target_db</c>): its mappings, all by one client.</summary>
internal sealed class RemoteTargetNotifier : MmuNotifier
{
    /// <summary>Leaf.</summary>
    private readonly Lock _lock = new();

    private readonly HashSet<RemoteMapping> _mappings = [];
    private Mm? _client;
    private int _joining;

    public override MmuNotifierOps Ops => MmuNotifierOps.Release;

    /// <summary>Whether the target is nobody else's; if so it is the client's until <see cref="Leave"/>.</summary>
    public bool TryJoin(Mm client)
    {
        lock (_lock)
        {
            if (_client is not null && _client != client)
                return false;
            _client = client;
            _joining++;
            return true;
        }
    }

    /// <summary>The mapping is made; the caller is a user of the target, which therefore cannot end before it is known here.</summary>
    public void Add(RemoteMapping mapping)
    {
        lock (_lock)
            _mappings.Add(mapping);
    }

    public void Leave(RemoteMapping mapping)
    {
        lock (_lock)
        {
            _mappings.Remove(mapping);
            if (--_joining == 0)
                _client = null;
        }
    }

    /// <summary>mm_remote_db_target_release: what is mapped stays with the client.</summary>
    public override void Release(Task? task, Mm mm)
    {
        lock (_lock)
        {
            foreach (RemoteMapping mapping in _mappings)
                mapping.MakeStale();
            _mappings.Clear();
        }
    }
}
