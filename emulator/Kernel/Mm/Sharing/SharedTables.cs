using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Shootdown;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>
/// What a host address space knows of those who share its tables. Who changes entries of the host finds here whose TLBs and whose devices
/// must hear of it.
/// </summary>
/// <remarks>
/// A sharer is listed before its first link can be made, and until the flush after its last one. Whoever flushes looks at the list after
/// it has changed the entry: who links later sees the changed entry, and needs no flush.
/// </remarks>
public sealed partial class SharedTables
{
    private readonly Lock _lock = new();
    private Sharer[] _sharers = [];

    /// <param name="host">The address space that has the tables.</param>
    /// <param name="leaky">As in the patches of RFC v3: links are not counted nor undone, and nobody hears of changes.</param>
    internal SharedTables(Mm host, bool leaky)
    {
        Host = host;
        IsLeaky = leaky;
        host.Tables.KeepsTopTables = !leaky;
        host.Sharing = this;
    }

    /// <summary>The address space that has the tables; no vCPU ever loads it.</summary>
    public Mm Host { get; }

    /// <summary>
    /// The variant rfc-v3: a link outlives its container, tables are freed under links, a container's protection is not enforced, and changes are told
    /// neither to the TLBs nor to the notifiers of sharers.
    /// </summary>
    public bool IsLeaky { get; }

    /// <summary>Who shares at this instant, one entry for each container. Read without a lock.</summary>
    public ReadOnlySpan<Sharer> Sharers => Snapshot;

    /// <summary>As <see cref="Sharers"/>, to be kept: never changed, but replaced.</summary>
    internal Sharer[] Snapshot => Volatile.Read(ref _sharers);

    private readonly WaitQueue _relinked = new();

    /// <summary>Above 0: no new links are made, and faults are tried again when it is 0. Looked at under the sharer's page-table lock.</summary>
    internal int LinksHeld;

    /// <summary>From now on no links are made, until as many calls of <see cref="AllowLinks"/>.</summary>
    internal void HoldLinks() => Interlocked.Increment(ref LinksHeld);

    internal void AllowLinks()
    {
        if (Interlocked.Decrement(ref LinksHeld) == 0)
            _relinked.WakeAll();
    }

    /// <summary>Sleeps while no links are made. The caller has no lock that a change of the host could need.</summary>
    internal void AwaitLinks(Task? task)
    {
        if (task is not null && Volatile.Read(ref LinksHeld) > 0)
            _relinked.Wait(task, this, static tables => Volatile.Read(ref tables.LinksHeld) == 0, interruptible: false);
    }

    /// <summary>A container has been entered. Its address space's mmap lock is held for writing, so nobody faults in it yet.</summary>
    internal void Attach(Task? task, Vma container)
    {
        var sharer = new Sharer(container.Mm, container.Start, container.IndexOf(container.Start) << 12, container.Length);
        using (new Pause(task, this, container.Mm))
        {
            lock (_lock)
                Volatile.Write(ref _sharers, [.. _sharers, sharer]);
            Host.Shootdown.Attach(task?.Vcpu, Host, sharer);
        }
        OfferOwnership(container.Mm);
    }

    /// <summary>A container is gone, its links are undone and flushed.</summary>
    internal void Detach(Task? task, Vma container)
    {
        using (new Pause(task, this, container.Mm))
        {
            lock (_lock)
            {
                int index = Array.FindIndex(_sharers, s => s.Mm == container.Mm && s.Address == container.Start);
                if (index < 0)
                    return;
                TlbShootdown.Detach(Host, _sharers[index]);
                Volatile.Write(ref _sharers, [.. _sharers.AsSpan(0, index), .. _sharers.AsSpan(index + 1)]);
            }
        }
    }

    /// <summary>
    /// While somebody comes or goes who has notifiers, no change of the host may be under way: he would be told its end without its start, or its start
    /// alone. Others have nobody to tell, and registration (<see cref="AllLocks"/>) makes the same pause.
    /// </summary>
    private readonly ref struct Pause
    {
        private readonly Mm? _host;
        private readonly AllLocks _locks;

        public Pause(Task? task, SharedTables tables, Mm sharer)
        {
            if (Volatile.Read(ref sharer.Notifiers) is null)
                return;
            _host = tables.Host;
            _host.LockWrite(task);
            _locks = new AllLocks(task, _host);
        }

        public void Dispose()
        {
            if (_host is null)
                return;
            _locks.Dispose();
            _host.UnlockWrite();
        }
    }
}
