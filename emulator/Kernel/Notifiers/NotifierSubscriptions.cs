using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Notifiers;

/// <summary>Who hears of the changes of one address space (<c>struct mmu_notifier_subscriptions</c>); made at the first registration.</summary>
internal sealed partial class NotifierSubscriptions(Mm mm)
{
    private readonly Lock _lock = new();

    /// <summary>The last registered first, as Linux has them. A copy for each change, so that callbacks walk it without a lock.</summary>
    private volatile MmuNotifier[] _list = [];

    private volatile MmuNotifierOps _ops;

    private Srcu Srcu => mm.System.NotifierSrcu;

    private Violations Violations => mm.System.Violations;

    /// <summary>Interval notifiers, once there was one.</summary>
    internal IntervalSubscriptions? Intervals { get; private set; }

    /// <summary>Whether a callback of this kind is registered.</summary>
    internal bool Has(MmuNotifierOps ops) => (_ops & ops) != 0;

    internal int Count => _list.Length;

    /// <summary>The subscriptions of an address space, made if there are none. The mmap lock is held for writing.</summary>
    internal static NotifierSubscriptions Of(Mm mm)
    {
        if (mm.Notifiers is { } existing)
            return existing;
        var made = new NotifierSubscriptions(mm);
        // What came before us in the address space's life was announced to nobody: all locks under which changes begin are held.
        Interlocked.CompareExchange(ref mm.Notifiers, made, null);
        return mm.Notifiers;
    }

    /// <summary>The interval notifiers' part, made if there is none (mmu_notifier_register without a notifier).</summary>
    internal static IntervalSubscriptions IntervalsOf(Task? task, Mm mm)
    {
        if (mm.Notifiers?.Intervals is { } existing)
            return existing;
        using (new AllLocks(task, mm))
        {
            NotifierSubscriptions subscriptions = Of(mm);
            return subscriptions.Intervals ??= new IntervalSubscriptions(mm);
        }
    }

    /// <summary>__mmu_notifier_register: under the mmap lock.</summary>
    internal static int Register(Task? task, Mm mm, MmuNotifier notifier)
    {
        Violations violations = mm.System.Violations;
        if (!mm.MmapLock.IsHeldForWrite)
            violations.Report(task, NotifierRules.RegisterUnderMmapLock, "the lock is not held");
        if (mm.Users == 0)
        {
            violations.Report(task, NotifierRules.UsersWhileRegistering, $"{notifier} comes too late");
            return -Errno.EINVAL;
        }
        if (notifier.Mm is not null)
        {
            violations.Report(task, NotifierRules.RegisterOnce, $"{notifier} is registered already");
            return -Errno.EINVAL;
        }
        const MmuNotifierOps shadow = MmuNotifierOps.InvalidateRangeStart | MmuNotifierOps.InvalidateRangeEnd;
        if (mm.System.ForbidsMixedNotifiers && (notifier.Ops & MmuNotifierOps.ArchInvalidateSecondaryTlbs) != 0 && (notifier.Ops & shadow) != 0)
        {
            violations.Report(task, NotifierRules.OneKind, $"{notifier} has {notifier.Ops}");
            return -Errno.EINVAL;
        }
        // Reclaim announces what it unmaps: whoever is told of changes may not wait for memory, nor for anybody who does.
        using (mm.System.ReclaimMap.Enter(task))
        using (mm.System.NotifierMap.Enter(task))
        {
        }
        using (new AllLocks(task, mm))
        {
            mm.GetContext();
            notifier.Mm = mm;
            notifier.Users = 1;
            Of(mm).Add(notifier);
        }
        return 0;
    }

    /// <summary>mmu_notifier_unregister.</summary>
    internal static void Unregister(Task? task, MmuNotifier notifier)
    {
        if (notifier.Mm is not { } mm)
            return;
        if (task?.Operations.Callbacks > 0)
            mm.StopSelfDeadlock(task, NotifierRules.NoRemoveInCallback, $"{notifier} is unregistered");
        NotifierSubscriptions subscriptions = mm.Notifiers!;
        int slot = subscriptions.Srcu.Enter(task);
        if (subscriptions.TryRemove(notifier) && (notifier.Ops & MmuNotifierOps.Release) != 0)
            notifier.Release(task, mm);
        subscriptions.Srcu.Exit(slot);
        // Also waits for a Release that the end of the address space began before us.
        subscriptions.Srcu.Synchronize(task);
        notifier.Mm = null;
        mm.PutContext();
    }

    /// <inheritdoc cref="MmuNotifier.Get"/>
    internal static int Get<TNotifier>(Task? task, Mm mm, Func<TNotifier> make, out TNotifier? notifier)
        where TNotifier : MmuNotifier
    {
        mm.RefuseLockInCallback(task, NotifierRules.NoRegisterInCallback);
        mm.LockWrite(task);
        try
        {
            if (mm.Notifiers is { } subscriptions)
            {
                lock (subscriptions._lock)
                {
                    foreach (MmuNotifier candidate in subscriptions._list)
                    {
                        if (candidate is TNotifier found)
                        {
                            found.Users++;
                            notifier = found;
                            return 0;
                        }
                    }
                }
            }
            TNotifier made = make();
            int error = Register(task, mm, made);
            notifier = error == 0 ? made : null;
            return error;
        }
        finally
        {
            mm.UnlockWrite();
        }
    }

    /// <summary>mmu_notifier_put.</summary>
    internal static void Put(Task? task, MmuNotifier notifier)
    {
        if (notifier.Mm is not { } mm)
            return;
        NotifierSubscriptions subscriptions = mm.Notifiers!;
        lock (subscriptions._lock)
        {
            if (--notifier.Users > 0)
                return;
        }
        subscriptions.TryRemove(notifier);
        subscriptions.Srcu.Call(() =>
        {
            notifier.Mm = null;
            notifier.Free();
            mm.PutContext();
        });
    }

    private void Add(MmuNotifier notifier)
    {
        lock (_lock)
        {
            _list = [notifier, .. _list];
            _ops |= notifier.Ops;
            notifier.IsListed = true;
        }
    }

    private bool TryRemove(MmuNotifier notifier)
    {
        lock (_lock)
        {
            if (!notifier.IsListed)
                return false;
            notifier.IsListed = false;
            _list = [.. _list.Where(n => n != notifier)];
            _ops = _list.Aggregate(MmuNotifierOps.None, static (ops, n) => ops | n.Ops);
            return true;
        }
    }
}
