using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks.Futexes;

/// <summary>Waiting on a plain futex and owning a priority-inheritance one afterwards: what condition variables with such mutexes need (kernel/futex/requeue.c).</summary>
internal sealed partial class FutexTable
{
    /// <summary>FUTEX_WAIT_REQUEUE_PI: 0 with the second futex owned.</summary>
    /// <returns>Also -EAGAIN: a signal came after the waiter was moved, and the first word must be looked at anew.</returns>
    internal long WaitRequeuePi(Task task, ulong address, uint expected, ulong target, bool shared, long deadlineNs)
    {
        if (address == target)
            return -Errno.EINVAL;
        long error = GetKey(task, target, shared, out FutexKey targetKey);
        if (error != 0)
            return error;
        error = GetKey(task, address, shared, out FutexKey key, out FutexBucket bucket);
        if (error != 0)
            return error;
        var waiter = new FutexWaiter(task, key, uint.MaxValue) { RequeueTarget = targetKey };
        using (bucket.Mutex.Enter(task))
        {
            if (!task.TryRead(address, out uint value))
                return -Errno.EFAULT;
            if (value != expected)
                return -Errno.EAGAIN;
            if (key.Is(targetKey))
                return -Errno.EINVAL;
            bucket.Add(waiter);
        }
        long result = SleepUntilWoken(task, waiter, deadlineNs);
        return result != -Errno.ERESTARTSYS ? result : waiter.WantsOwnership ? -Errno.EAGAIN : -Errno.ERESTARTNOINTR;
    }

    /// <summary>FUTEX_CMP_REQUEUE_PI: the first waiter gets the second futex if it is free; the others wait for that from now on.</summary>
    /// <returns>How many got it or were moved, or a negative errno.</returns>
    internal long RequeuePi(Task task, ulong from, ulong to, int wake, int move, uint expected, bool shared)
    {
        if (wake < 0 || move < 0 || from == to || wake != 1)
            return -Errno.EINVAL;
        long error = GetKey(task, from, shared, out FutexKey key1, out FutexBucket bucket1);
        if (error != 0)
            return error;
        error = GetKey(task, to, shared, out FutexKey key2, out FutexBucket bucket2);
        if (error != 0)
            return error;
        if (key1.Is(key2))
            return -Errno.EINVAL;
        LockBoth(task, bucket1, bucket2);
        try
        {
            if (!task.TryRead(from, out uint value))
                return -Errno.EFAULT;
            if (value != expected)
                return -Errno.EAGAIN;
            int done = 0;
            for (LinkedListNode<FutexWaiter>? n = bucket1.Waiters.First; n is not null && done - wake < move;)
            {
                FutexWaiter waiter = n.Value;
                n = n.Next;
                if (!waiter.Key.Is(key1))
                    continue;
                if (waiter.RequeueTarget is not { } target || !target.Is(key2))
                    return -Errno.EINVAL;
                error = TakeOrWait(task, waiter.Task, to, key2, bucket2, others: move > 0);
                if (error < 0)
                    return error;
                if (error > 0)
                {
                    WakeOne(bucket1, waiter);
                }
                else
                {
                    bucket1.Remove(waiter);
                    waiter.Key = key2;
                    waiter.WantsOwnership = true;
                    bucket2.Add(waiter);
                }
                done++;
            }
            return done;
        }
        finally
        {
            UnlockBoth(bucket1, bucket2);
        }
    }

    /// <summary>Makes a waiter the owner of a free word, or notes that somebody waits (futex_lock_pi_atomic).</summary>
    /// <returns>1: it is the owner; 0: it has to wait; -EDEADLK, -ESRCH, -EFAULT.</returns>
    private static long TakeOrWait(Task task, Task waiter, ulong address, in FutexKey key, FutexBucket bucket, bool others)
    {
        while (true)
        {
            if (!task.TryRead(address, out uint value))
                return -Errno.EFAULT;
            uint owner = value & FUTEX_TID_MASK;
            if (owner == (uint)waiter.Tid)
                return -Errno.EDEADLK;
            bool awaited = HasOwnershipWaiter(bucket, key), free = owner == 0 && !awaited;
            if (!free && !awaited && task.Machine.Processes.FindTask((int)owner) is null)
                return -Errno.ESRCH;
            uint wanted = free ? (uint)waiter.Tid | (value & FUTEX_OWNER_DIED) | (others ? FUTEX_WAITERS : 0) : value | FUTEX_WAITERS;
            int exchanged = wanted == value ? 1 : task.CompareExchangeUser(address, value, wanted);
            if (exchanged < 0)
                return exchanged;
            if (exchanged == 1)
                return free ? 1 : 0;
        }
    }
}
