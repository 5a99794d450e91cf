using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Notifiers;

/// <summary>
/// The interval notifiers of one address space (mm/mmu_notifier.c, mn_itree_*). The sequence number is odd while a change of a range that
/// somebody mirrors is active; the tree changes only while it is even, and what comes meanwhile waits.
/// </summary>
internal sealed class IntervalSubscriptions(Mm mm)
{
    private readonly Lock _lock = new();
    private readonly IntervalTree _tree = new();
    private readonly List<MmuIntervalNotifier> _deferred = [];
    private readonly WaitQueue _queue = new();
    private ulong _sequence = 2;
    private long _active;

    /// <summary>Even: no mirrored range is being changed.</summary>
    internal ulong Sequence => Volatile.Read(ref _sequence);

    /// <summary>Changes between start and end, mirrored or not.</summary>
    internal long ActiveRanges => Volatile.Read(ref _active);

    internal int Count
    {
        get
        {
            lock (_lock)
                return _tree.Count;
        }
    }

    private Violations Violations => mm.System.Violations;

    private bool IsInvalidating => (_sequence & 1) != 0;

    /// <summary>mmu_interval_notifier_insert_locked: the mmap lock is held for writing.</summary>
    internal static int Insert(Task? task, Mm mm, MmuIntervalNotifier notifier, ulong start, ulong length)
    {
        if (length == 0 || start + (length - 1) < start)
            return -Errno.EOVERFLOW;
        if (mm.Users == 0)
        {
            mm.System.Violations.Report(task, NotifierRules.UsersWhileRegistering, $"{notifier} comes too late");
            return -Errno.EINVAL;
        }
        if (notifier.State != IntervalState.Removed)
        {
            mm.System.Violations.Report(task, NotifierRules.RegisterOnce, $"{notifier} is inserted already");
            return -Errno.EINVAL;
        }
        IntervalSubscriptions intervals = NotifierSubscriptions.IntervalsOf(task, mm);
        mm.GetContext();
        notifier.Mm = mm;
        notifier.Start = start;
        notifier.Last = start + (length - 1);
        intervals.Insert(notifier);
        return 0;
    }

    private void Insert(MmuIntervalNotifier notifier)
    {
        lock (_lock)
        {
            if (_active == 0)
            {
                // Any odd number but the one that the next change will have.
                notifier.SetSequence(_sequence - 1);
                Enter(notifier);
            }
            else if (IsInvalidating)
            {
                notifier.SetSequence(_sequence);
                notifier.State = IntervalState.InsertPending;
                _deferred.Add(notifier);
            }
            else
            {
                // Active changes mirrored by nobody so far: one of them may be of this range, so readers wait for all of them.
                _sequence |= 1;
                notifier.SetSequence(_sequence);
                Enter(notifier);
            }
        }
    }

    private void Enter(MmuIntervalNotifier notifier)
    {
        _tree.Insert(notifier);
        notifier.State = IntervalState.Inserted;
    }

    private void Leave(MmuIntervalNotifier notifier)
    {
        _tree.Remove(notifier);
        notifier.State = IntervalState.Removed;
    }

    /// <summary>mmu_interval_notifier_remove.</summary>
    internal static void Remove(Task? task, MmuIntervalNotifier notifier)
    {
        if (notifier.Mm is not { } mm)
            return;
        IntervalSubscriptions intervals = mm.Notifiers!.Intervals!;
        intervals.RemoveAndWait(task, notifier);
        notifier.Mm = null;
        mm.PutContext();
    }

    private void RemoveAndWait(Task? task, MmuIntervalNotifier notifier)
    {
        bool inCallback = task?.Operations.Callbacks > 0;
        ulong sequence = 0;
        lock (_lock)
        {
            if (!IsInvalidating)
            {
                Leave(notifier);
            }
            else if (notifier.State == IntervalState.InsertPending)
            {
                _deferred.Remove(notifier);
                notifier.State = IntervalState.Removed;
            }
            else
            {
                notifier.State = IntervalState.RemovePending;
                _deferred.Add(notifier);
                sequence = _sequence;
            }
        }
        if (sequence == 0)
        {
            if (inCallback)
                Violations.Report(task, NotifierRules.NoRemoveInCallback, $"{notifier} is removed");
            return;
        }
        if (inCallback)
            mm.StopSelfDeadlock(task!, NotifierRules.NoRemoveInCallback, $"{notifier} is removed");
        mm.System.NotifierMap.Enter(task).Dispose();
        WaitWhile(task, sequence);
    }

    /// <summary>mmu_interval_read_begin.</summary>
    internal static ulong ReadBegin(Task? task, MmuIntervalNotifier notifier)
    {
        Mm mm = notifier.Mm ?? throw new InvalidOperationException("The interval notifier is not inserted.");
        return mm.Notifiers!.Intervals!.Begin(task, notifier);
    }

    private ulong Begin(Task? task, MmuIntervalNotifier notifier)
    {
        ulong sequence;
        bool colliding;
        lock (_lock)
        {
            sequence = notifier.Sequence;
            colliding = sequence == _sequence;
        }
        if (task?.Operations.Callbacks > 0)
        {
            string text = $"{notifier} is read at sequence number {sequence}";
            if (colliding)
                mm.StopSelfDeadlock(task, NotifierRules.NoReadBeginInCallback, text);
            else
                Violations.Report(task, NotifierRules.NoReadBeginInCallback, text);
        }
        mm.System.NotifierMap.Enter(task).Dispose();
        if (colliding)
            WaitWhile(task, sequence);
        return sequence;
    }

    private void WaitWhile(Task? task, ulong sequence)
    {
        if (task is null)
        {
            if (Sequence == sequence)
                throw new InvalidOperationException("Somebody who is no task waits for a change of an address space to end.");
            return;
        }
        _queue.Wait(task, (this, sequence), static s => s.Item1.Sequence != s.sequence, interruptible: false);
    }

    /// <summary>mn_itree_invalidate. False: a callback would have had to sleep, and the change does not take place.</summary>
    internal bool InvalidateStart(Task? task, in MmuNotifierRange range)
    {
        ulong sequence;
        bool overlaps;
        ulong last = range.End - 1;
        lock (_lock)
        {
            _active++;
            overlaps = _tree.Overlaps(range.Start, last);
            if (overlaps)
                _sequence |= 1;
            sequence = _sequence;
        }
        if (!overlaps)
            return true;
        // The number is odd, so the tree stays as it is until the end of this change.
        var calls = new Calls(task, range, sequence, Violations);
        _tree.Visit(range.Start, last, ref calls);
        if (!calls.Refused)
            return true;
        InvalidateEnd(task);
        return false;
    }

    private struct Calls(Task? task, in MmuNotifierRange range, ulong sequence, Violations violations) : IntervalTree.IVisitor
    {
        private readonly MmuNotifierRange _range = range;

        public bool Refused { get; private set; }

        public void Visit(MmuIntervalNotifier notifier)
        {
            if (Refused)
                return;
            bool done;
            using (new CallbackScope(task, "mmu_interval invalidate", _range))
                done = notifier.Invalidate(task, _range, sequence);
            if (!done)
            {
                if (_range.Blockable)
                    violations.Report(task, NotifierRules.IntervalMayFailOnlyNonBlockable, $"{notifier} answers false to {_range}");
                else
                    Refused = true;
            }
            else if ((notifier.Sequence & 1) == 0)
            {
                violations.Report(task, NotifierRules.SequenceIsOdd, $"{notifier} was given {notifier.Sequence} in {_range}");
            }
            else if (notifier.Sequence != sequence && _range.Owner is null)
            {
                // A device that ignores what it started itself has nothing to start again for.
                violations.Report(task, NotifierRules.SequenceIsSet, $"{notifier} is at {notifier.Sequence} and not at {sequence} after {_range}");
            }
        }
    }

    /// <summary>mn_itree_inv_end: the last end makes the number even, lets those in and out that waited, and wakes readers.</summary>
    internal void InvalidateEnd(Task? task)
    {
        lock (_lock)
        {
            if (_active == 0)
            {
                Violations.Report(task, NotifierRules.EndFollowsStart, "a change ends that has not begun");
                return;
            }
            if (--_active != 0 || !IsInvalidating)
                return;
            _sequence++;
            foreach (MmuIntervalNotifier notifier in _deferred)
            {
                if (notifier.State == IntervalState.InsertPending)
                    Enter(notifier);
                else
                    Leave(notifier);
            }
            _deferred.Clear();
        }
        _queue.WakeAll();
    }

    /// <summary>mn_itree_release: every mirror hears that the address space ends.</summary>
    internal void Release(Task? task)
    {
        var range = new MmuNotifierRange(mm, 0, ulong.MaxValue, MmuNotifyEvent.Release);
        InvalidateStart(task, range);
        InvalidateEnd(task);
    }
}
