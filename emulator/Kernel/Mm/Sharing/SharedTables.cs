namespace Emulator.Kernel.Memory;

/// <summary>
/// What a host address space knows of those who share its tables. Who changes entries of the host finds here whose TLBs and whose devices
/// must hear of it.
/// </summary>
/// <remarks>
/// A sharer is listed before its first link can be made, and until the flush after its last one. Whoever flushes looks at the list after
/// it has changed the entry: who links later sees the changed entry, and needs no flush.
/// </remarks>
public sealed class SharedTables
{
    private Sharer[] _sharers = [];

    internal SharedTables(Mm host) => Host = host;

    /// <summary>The address space that has the tables; no vCPU ever loads it.</summary>
    public Mm Host { get; }

    /// <summary>Who shares at this instant, one entry for each container. Read without a lock.</summary>
    public ReadOnlySpan<Sharer> Sharers => Snapshot;

    /// <summary>As <see cref="Sharers"/>, to be kept: never changed, but replaced.</summary>
    internal Sharer[] Snapshot => Volatile.Read(ref _sharers);
}
