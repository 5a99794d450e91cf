using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Notifiers;

/// <summary>
/// What a mirror of one range hears of it (<c>struct mmu_interval_notifier</c>): a callback at the start of each change, and a sequence
/// number by which it finds out whether what it read from the page tables meanwhile still holds.
/// </summary>
/// <remarks>
/// The protocol: <see cref="ReadBegin"/>; read the tables (<see cref="Hmm.RangeFault"/>); take the lock that <see cref="Invalidate"/> takes;
/// <see cref="ReadRetry"/>: if true, drop the lock and start again; else use what was read, under the lock.
/// </remarks>
public abstract class MmuIntervalNotifier
{
    private ulong _sequence;

    /// <summary>The address space while inserted.</summary>
    public Mm? Mm { get; internal set; }

    /// <summary>First byte.</summary>
    public ulong Start { get; internal set; }

    /// <summary>Last byte, inclusive.</summary>
    public ulong Last { get; internal set; }

    /// <summary>The sequence number that the last <see cref="SetSequence"/> or insertion left; always odd.</summary>
    public ulong Sequence => Volatile.Read(ref _sequence);

    /// <summary>Where <see cref="IntervalTree"/> keeps it.</summary>
    internal IntervalTree.Node Node { get; }

    /// <summary>Waits for the end of active changes to be taken out of the tree or put into it.</summary>
    internal IntervalState State { get; set; }

    protected MmuIntervalNotifier() => Node = new IntervalTree.Node(this);

    /// <summary>
    /// Part of the range is about to change. Take the lock that readers take, call <see cref="SetSequence"/> with
    /// <paramref name="sequence"/> whatever else is done, and drop the translations.
    /// </summary>
    /// <returns>True; false only if the range is not blockable and the answer would take sleeping.</returns>
    public abstract bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence);

    /// <summary>Begins to mirror [start, start + length) (mmu_interval_notifier_insert). The caller holds no lock of the address space.</summary>
    /// <returns>0; -EOVERFLOW for an empty range or one that wraps; -EINVAL for an address space that is ending.</returns>
    public int Insert(Task? task, Mm mm, ulong start, ulong length)
    {
        mm.RefuseLockInCallback(task, NotifierRules.NoRegisterInCallback);
        mm.LockWrite(task);
        int error = InsertLocked(task, mm, start, length);
        mm.UnlockWrite();
        return error;
    }

    /// <summary>As <see cref="Insert"/>, with the mmap lock held for writing by the caller.</summary>
    public int InsertLocked(Task? task, Mm mm, ulong start, ulong length) => IntervalSubscriptions.Insert(task, mm, this, start, length);

    /// <summary>Ends it; returns when the callback can no longer be called (mmu_interval_notifier_remove). Must not be called from a callback.</summary>
    public void Remove(Task? task) => IntervalSubscriptions.Remove(task, this);

    /// <summary>Begins a read of the page tables; sleeps while a change of this range is under way (mmu_interval_read_begin).</summary>
    /// <returns>The number for <see cref="ReadRetry"/>. It may be outdated already: callers loop.</returns>
    public ulong ReadBegin(Task? task) => IntervalSubscriptions.ReadBegin(task, this);

    /// <summary>Whether what was read since <see cref="ReadBegin"/> is outdated. Only under the lock that <see cref="Invalidate"/> takes.</summary>
    public bool ReadRetry(ulong sequence) => Sequence != sequence;

    /// <summary>As <see cref="ReadRetry"/>, without the lock: true can be relied on, false can not.</summary>
    public bool CheckRetry(ulong sequence) => Sequence != sequence;

    /// <summary>Makes readers begin again; called in <see cref="Invalidate"/> under the lock that readers take (mmu_interval_set_seq).</summary>
    public void SetSequence(ulong sequence) => Volatile.Write(ref _sequence, sequence);
}

/// <summary>Where an interval notifier is.</summary>
internal enum IntervalState
{
    /// <summary>Nowhere.</summary>
    Removed,

    /// <summary>In the tree.</summary>
    Inserted,

    /// <summary>Will be put into the tree when no change is active.</summary>
    InsertPending,

    /// <summary>Will be taken out of the tree when no change is active.</summary>
    RemovePending,
}
