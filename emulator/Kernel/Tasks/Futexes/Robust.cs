using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks.Futexes;

/// <summary>Robust futexes: locks that a thread held when it died are marked and one waiter is woken (kernel/futex/core.c:exit_robust_list).</summary>
internal static class Robust
{
    /// <summary>Longest list that is followed: it lies in user memory and may be a circle.</summary>
    private const int Limit = 2048;

    internal static void OnExit(Task task)
    {
        ulong head = task.RobustListHead;
        if (head == 0)
            return;
        task.RobustListHead = 0;
        if (!task.TryRead(head, out ulong entry) || !task.TryRead(head + 8, out long offset) || !task.TryRead(head + 16, out ulong pending))
            return;
        bool pendingIsPi = (pending & 1) != 0;
        pending &= ~1UL;
        for (int i = 0; i < Limit; i++)
        {
            bool pi = (entry & 1) != 0;
            entry &= ~1UL;
            if (entry == head)
                break;
            bool more = task.TryRead(entry, out ulong next);
            if (entry != pending && !OnDeath(task, entry + (ulong)offset, pi, pending: false))
                return;
            if (!more)
                break;
            entry = next;
        }
        if (pending != 0)
            OnDeath(task, pending + (ulong)offset, pendingIsPi, pending: true);
    }

    private static bool OnDeath(Task task, ulong address, bool pi, bool pending)
    {
        if ((address & 3) != 0)
            return false;
        while (true)
        {
            if (!task.TryRead(address, out uint value))
                return false;
            // An unlock that was cut short between clearing the word and waking: the wake-up is still owed.
            if (pending && !pi && (value & FutexTable.FUTEX_TID_MASK) == 0)
            {
                task.Machine.Futexes.Wake(task, address, 1, shared: true);
                return true;
            }
            if ((value & FutexTable.FUTEX_TID_MASK) != (uint)task.Tid)
                return true;
            int exchanged = task.CompareExchangeUser(address, value, (value & FutexTable.FUTEX_WAITERS) | FutexTable.FUTEX_OWNER_DIED);
            if (exchanged < 0)
                return false;
            if (exchanged == 0)
                continue;
            if (pi)
                task.Machine.Futexes.OwnerDied(task, address);
            else if ((value & FutexTable.FUTEX_WAITERS) != 0)
                task.Machine.Futexes.Wake(task, address, 1, shared: true);
            return true;
        }
    }
}
