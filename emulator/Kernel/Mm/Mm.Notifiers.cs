using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What secondary MMUs are told. Costs one look at a null reference while there are none.</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Subscriptions; null until somebody registers, then for good.</summary>
    internal NotifierSubscriptions? Notifiers;

    internal MemorySystem System => _system;

    /// <summary>Announces that entries of a range are about to change (mmu_notifier_invalidate_range_start). May sleep if the range says so.</summary>
    /// <returns>0, or for a range that is not blockable -EAGAIN: then nothing may be changed, and there is no end.</returns>
    public int InvalidateRangeStart(Task? task, in MmuNotifierRange range)
    {
        if (range.Blockable)
            task?.MightSleep("mmu_notifier_invalidate_range_start");
        int result;
        using (_system.NotifierMapOf(task, range).Enter(task, sleeps: range.Blockable))
        {
            NotifierSubscriptions? notifiers = Volatile.Read(ref Notifiers);
            result = notifiers?.InvalidateStart(task, range) ?? 0;
            if (result == 0 && Sharing is { } sharing)
            {
                result = sharing.InvalidateStart(task, range);
                if (result != 0)
                    notifiers?.InvalidateEnd(task, range);
            }
        }
        if (result == 0 && Sharing is not null)
            Shootdown.SharedPolicy.RangeStart(task, this, range);
        if (result == 0 && task is not null)
            task.Operations.OpenRanges++;
        return result;
    }

    /// <summary>Says that what <see cref="InvalidateRangeStart"/> announced is done (mmu_notifier_invalidate_range_end).</summary>
    public void InvalidateRangeEnd(Task? task, in MmuNotifierRange range)
    {
        if (range.Blockable)
            task?.MightSleep("mmu_notifier_invalidate_range_end");
        if (task is not null && --task.Operations.OpenRanges < 0)
        {
            task.Operations.OpenRanges = 0;
            _system.Violations.Report(task, NotifierRules.EndFollowsStart, $"{range} ends without a start");
        }
        NotifierSubscriptions? notifiers = Volatile.Read(ref Notifiers);
        if (notifiers is null && Sharing is null)
            return;
        using (_system.NotifierMapOf(task, range).Enter(task, sleeps: range.Blockable))
        {
            notifiers?.InvalidateEnd(task, range);
            Sharing?.InvalidateEnd(task, range);
        }
        if (Sharing is not null)
            Shootdown.SharedPolicy.RangeEnd(task, this, range);
    }

    /// <summary>
    /// Makes secondary TLBs forget a range (mmu_notifier_arch_invalidate_secondary_tlbs): called by what flushes CPUs' TLBs, and by nobody else.
    /// Everything is (0, <see cref="ulong.MaxValue"/>). Since 6.6; before, see <see cref="NotifyInvalidateRange"/>.
    /// </summary>
    internal void InvalidateSecondaryTlbs(Task? task, ulong start, ulong end)
    {
        if (Volatile.Read(ref Notifiers) is { } notifiers && notifiers.Has(MmuNotifierOps.ArchInvalidateSecondaryTlbs)
            && _system.Profile != KernelProfile.V6_1)
            notifiers.InvalidateSecondaryTlbs(task, start, end);
        if (Sharing is { } sharing && _system.Profile != KernelProfile.V6_1)
            sharing.InvalidateSecondaryTlbs(task, start, end);
    }

    /// <summary>The same callback where Linux had it until 6.5 (mmu_notifier_invalidate_range): beside the flushes of gathers, of copies on write and
    /// of the reverse map, and again at the end of each announced change.</summary>
    internal void NotifyInvalidateRange(Task? task, ulong start, ulong end)
    {
        if (Volatile.Read(ref Notifiers) is { } notifiers && notifiers.Has(MmuNotifierOps.ArchInvalidateSecondaryTlbs)
            && _system.Profile == KernelProfile.V6_1)
            notifiers.InvalidateSecondaryTlbs(task, start, end);
        if (Sharing is { } sharing && _system.Profile == KernelProfile.V6_1)
            sharing.InvalidateSecondaryTlbs(task, start, end);
    }

    /// <summary>An entry is about to point to another page that is mapped at once (mmu_notifier_change_pte, until 6.9). Under the page-table lock.</summary>
    internal void NotifyChangePte(Task? task, ulong address, Pfn frame, bool writable)
    {
        if (Volatile.Read(ref Notifiers) is { } notifiers && notifiers.Has(MmuNotifierOps.ChangePte) && _system.Profile == KernelProfile.V6_1)
            notifiers.ChangePte(task, address, frame, writable);
        if (Sharing is { } sharing && _system.Profile == KernelProfile.V6_1)
            sharing.ChangePte(task, address, frame, writable);
    }

    /// <summary>A fault maps a page of shared memory (the RFC's mmu_notifier_update_mapping).</summary>
    private void NotifyUpdateMapping(Task? task, ulong address, Pfn frame)
    {
        if (Volatile.Read(ref Notifiers) is { } notifiers && notifiers.Has(MmuNotifierOps.UpdateMapping))
            notifiers.UpdateMapping(task, address, frame);
    }

    /// <summary>
    /// What a device finds that walks the CPU's tables by itself, at this instant and without any lock. Sets accessed and dirty flags as
    /// processors do.
    /// </summary>
    /// <param name="address">Any address.</param>
    /// <param name="write">The device wants to write.</param>
    /// <param name="frame">The frame that the address is in.</param>
    /// <returns>False: the tables do not allow it. <see cref="HandleFault"/> may change that, as a page request would.</returns>
    public bool TryWalk(ulong address, bool write, out Pfn frame)
    {
        frame = default;
        if (address >= Layout.TaskSize)
            return false;
        PhysicalMemory memory = Pages.Memory;
        Pte needed = Pte.Present | Pte.User | (write ? Pte.Writable : Pte.None);
        Pfn table = Root;
        for (int level = PageTable.RootLevel; ; level--)
        {
            // In bounds: no frame that does not exist comes here (below), and an index has 9 bits.
            ulong* entry = (ulong*)memory.Pointer(table) + PageTable.Index(address, level);
            ulong value = Volatile.Read(ref *entry);
            // A table that was freed under the walker may hold anything.
            if ((value & (ulong)needed) != (ulong)needed || PageTables.FrameOf(value).Value >= memory.FrameCount)
                return false;
            bool leaf = level == 0 || (value & (ulong)Pte.PageSize) != 0;
            ulong used = value | (ulong)(Pte.Accessed | (leaf && write ? Pte.Dirty : Pte.None));
            if (used != value && Interlocked.CompareExchange(ref *entry, used, value) != value)
                return TryWalk(address, write, out frame);
            table = PageTables.FrameOf(value);
            if (!leaf)
                continue;
            ulong inLeaf = (address & ((1UL << PageTable.Shift(level)) - 1)) >> Pfn.Shift;
            frame = new Pfn(level == 0 ? table.Value : (table.Value & ~((1UL << (PageTable.Shift(level) - Pfn.Shift)) - 1)) + inLeaf);
            return frame.Value < memory.FrameCount;
        }
    }

    /// <summary>Whether a device has used a range since it was last asked; forgets it, and flushes its TLB (mmu_notifier_clear_flush_young).</summary>
    internal bool ClearFlushYoungNotify(Task? task, ulong start, ulong end) => 
        (Volatile.Read(ref Notifiers)?.ClearFlushYoung(task, start, end) ?? false) | (Sharing?.ClearFlushYoung(task, start, end) ?? false);

    /// <summary>As <see cref="ClearFlushYoungNotify"/>, without a flush (mmu_notifier_clear_young).</summary>
    internal bool ClearYoungNotify(Task? task, ulong start, ulong end) => 
        (Volatile.Read(ref Notifiers)?.ClearYoung(task, start, end) ?? false) | (Sharing?.ClearYoung(task, start, end) ?? false);

    /// <summary>Whether a device has used a page (mmu_notifier_test_young).</summary>
    internal bool TestYoungNotify(Task? task, ulong address) => 
        (Volatile.Read(ref Notifiers)?.TestYoung(task, address) ?? false) || (Sharing?.TestYoung(task, address) ?? false);

    /// <summary>Reports it when a callback is about to take the mmap lock, and stops the machine when it can not get it.</summary>
    internal void RefuseLockInCallback(Task? task, string rule)
    {
        if (task is null || task.Operations.Callbacks == 0)
            return;
        if (MmapLock.IsHeld)
            StopSelfDeadlock(task, rule, "the mmap lock is taken");
        _system.Violations.Report(task, rule, "the mmap lock is taken in a callback");
    }

    /// <summary>A callback waits for its own end: reported, and the machine stops, where Linux would hang.</summary>
    /// <exception cref="TaskKilledException">Always.</exception>
    [System.Diagnostics.CodeAnalysis.DoesNotReturn]
    internal void StopSelfDeadlock(Task task, string rule, string text)
    {
        _system.Violations.Report(task, rule, $"{text}: it waits for itself");
        task.Machine.StopFor(ExitReason.Deadlock, $"{task}: {text} in a callback, which waits for itself ({rule})");
        throw new TaskKilledException();
    }
}
