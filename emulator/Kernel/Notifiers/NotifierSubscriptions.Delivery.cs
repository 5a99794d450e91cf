using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Notifiers;

/// <summary>Telling those who subscribed.</summary>
internal sealed partial class NotifierSubscriptions
{
    /// <summary>Those who have one of the callbacks; as long as this goes on, none of them is freed.</summary>
    private Listeners Listening(Task? task, MmuNotifierOps ops) => new(task, Srcu, _list, ops);

    private ref struct Listeners(Task? task, Srcu srcu, MmuNotifier[] list, MmuNotifierOps ops)
    {
        private readonly int _slot = srcu.Enter(task, nameof(Listening));
        private int _next;

        public MmuNotifier Current { get; private set; } = null!;

        public readonly Listeners GetEnumerator() => this;

        public bool MoveNext()
        {
            while (_next < list.Length)
            {
                Current = list[_next++];
                if ((Current.Ops & ops) != 0)
                    return true;
            }
            return false;
        }

        public readonly void Dispose() => srcu.Exit(_slot);
    }

    /// <summary>The address space ends (__mmu_notifier_release): before anything of it is freed.</summary>
    internal void Release(Task? task)
    {
        Intervals?.Release(task);
        foreach (MmuNotifier notifier in Listening(task, MmuNotifierOps.Release))
        {
            using (new CallbackScope(task, "release", 0, ulong.MaxValue, maySleep: true))
                notifier.Release(task, mm);
        }
        foreach (MmuNotifier notifier in _list)
            TryRemove(notifier);
        // An unregistration that came first may still be in its Release: pages must not go before it has returned.
        Srcu.Synchronize(task);
    }

    /// <summary>__mmu_notifier_invalidate_range_start; -EAGAIN only if the range is not blockable.</summary>
    internal int InvalidateStart(Task? task, in MmuNotifierRange range)
    {
        if (Intervals is { } intervals && !intervals.InvalidateStart(task, range))
            return -Errno.EAGAIN;
        if (!Has(MmuNotifierOps.InvalidateRangeStart))
            return 0;
        bool refused = false;
        foreach (MmuNotifier notifier in Listening(task, MmuNotifierOps.InvalidateRangeStart))
        {
            int error;
            using (new CallbackScope(task, "invalidate_range_start", range))
                error = notifier.InvalidateRangeStart(task, range);
            if (error == 0)
                continue;
            if (range.Blockable || error != -Errno.EAGAIN)
                Violations.Report(task, NotifierRules.StartMayFailOnlyNonBlockable, $"{notifier} answers {error} to {range}");
            if ((notifier.Ops & MmuNotifierOps.InvalidateRangeEnd) != 0)
                Violations.Report(task, NotifierRules.FailingStartHasNoEnd, $"{notifier} answers {error} to {range}");
            refused = true;
        }
        // Nobody who changes a blockable range is prepared to be refused: such an answer is reported and ignored.
        if (!refused || range.Blockable)
            return 0;
        // All were asked. Those that have an end are told it at once; the one that refused has none.
        TellEnd(task, range);
        Intervals?.InvalidateEnd(task);
        return -Errno.EAGAIN;
    }

    /// <summary>__mmu_notifier_invalidate_range_end.</summary>
    internal void InvalidateEnd(Task? task, in MmuNotifierRange range)
    {
        Intervals?.InvalidateEnd(task);
        TellEnd(task, range);
    }

    private void TellEnd(Task? task, in MmuNotifierRange range)
    {
        MmuNotifierOps wanted = MmuNotifierOps.InvalidateRangeEnd;
        // Before 6.6 every end called what is now arch_invalidate_secondary_tlbs too.
        if (mm.System.NotifiesTlbsAtRangeEnd)
            wanted |= MmuNotifierOps.ArchInvalidateSecondaryTlbs;
        if (!Has(wanted))
            return;
        foreach (MmuNotifier notifier in Listening(task, wanted))
        {
            if ((notifier.Ops & wanted & MmuNotifierOps.ArchInvalidateSecondaryTlbs) != 0)
                CallSecondary(task, notifier, range.Start, range.End);
            if ((notifier.Ops & MmuNotifierOps.InvalidateRangeEnd) != 0)
            {
                using (new CallbackScope(task, "invalidate_range_end", range))
                    notifier.InvalidateRangeEnd(task, range);
            }
        }
    }

    /// <summary>mmu_notifier_arch_invalidate_secondary_tlbs.</summary>
    internal void InvalidateSecondaryTlbs(Task? task, ulong start, ulong end)
    {
        foreach (MmuNotifier notifier in Listening(task, MmuNotifierOps.ArchInvalidateSecondaryTlbs))
            CallSecondary(task, notifier, start, end);
    }

    private void CallSecondary(Task? task, MmuNotifier notifier, ulong start, ulong end)
    {
        using (new CallbackScope(task, "arch_invalidate_secondary_tlbs", start, end, maySleep: false))
            notifier.ArchInvalidateSecondaryTlbs(task, mm, start, end);
    }

    internal void UpdateMapping(Task? task, ulong address, Pfn frame)
    {
        foreach (MmuNotifier notifier in Listening(task, MmuNotifierOps.UpdateMapping))
        {
            using (new CallbackScope(task, "update_mapping", address, address + Pfn.Size, maySleep: true))
                notifier.UpdateMapping(task, mm, address, frame);
        }
    }

    internal void ChangePte(Task? task, ulong address, Pfn frame, bool writable)
    {
        foreach (MmuNotifier notifier in Listening(task, MmuNotifierOps.ChangePte))
        {
            using (new CallbackScope(task, "change_pte", address, address + Pfn.Size, maySleep: false))
                notifier.ChangePte(task, mm, address, frame, writable);
        }
    }

    internal bool ClearFlushYoung(Task? task, ulong start, ulong end)
    {
        bool young = false;
        foreach (MmuNotifier notifier in Listening(task, MmuNotifierOps.ClearFlushYoung))
        {
            using (new CallbackScope(task, "clear_flush_young", start, end, maySleep: false))
                young |= notifier.ClearFlushYoung(task, mm, start, end);
        }
        return young;
    }

    internal bool ClearYoung(Task? task, ulong start, ulong end)
    {
        bool young = false;
        foreach (MmuNotifier notifier in Listening(task, MmuNotifierOps.ClearYoung))
        {
            using (new CallbackScope(task, "clear_young", start, end, maySleep: false))
                young |= notifier.ClearYoung(task, mm, start, end);
        }
        return young;
    }

    internal bool TestYoung(Task? task, ulong address)
    {
        foreach (MmuNotifier notifier in Listening(task, MmuNotifierOps.TestYoung))
        {
            using (new CallbackScope(task, "test_young", address, address + Pfn.Size, maySleep: false))
            {
                if (notifier.TestYoung(task, mm, address))
                    return true;
            }
        }
        return false;
    }
}
