using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks.Futexes;

/// <summary>
/// The PI operations: the word holds the owner's TID, and the kernel hands it to the first waiter (kernel/futex/pi.c). All tasks have
/// one priority here, so there is nothing to inherit; what is left is the protocol of the word.
/// </summary>
internal sealed partial class FutexTable
{
    internal const uint FUTEX_WAITERS = 0x80000000, FUTEX_OWNER_DIED = 0x40000000, FUTEX_TID_MASK = 0x3FFFFFFF;

    internal long LockPi(Task task, ulong address, bool shared, long deadlineNs, bool tryOnly)
    {
        long error = GetKey(task, address, shared, out FutexKey key, out FutexBucket bucket);
        if (error != 0)
            return error;
        var waiter = new FutexWaiter(task, key, uint.MaxValue) { WantsOwnership = true };
        using (bucket.Mutex.Enter(task))
        {
            while (true)
            {
                if (!task.TryRead(address, out uint value))
                    return -Errno.EFAULT;
                uint owner = value & FUTEX_TID_MASK;
                if (owner == (uint)task.Tid)
                    return -Errno.EDEADLK;
                bool free = owner == 0;
                if (!free && tryOnly)
                    return -Errno.EAGAIN;
                if (!free && task.Machine.Processes.FindTask((int)owner) is null && !HasOwnershipWaiter(bucket, key))
                {
                    // The owner is gone. A robust word says so by itself and may be taken over.
                    if ((value & FUTEX_OWNER_DIED) == 0)
                        return -Errno.ESRCH;
                    free = true;
                }
                uint wanted = free
                    ? (uint)task.Tid | (value & FUTEX_OWNER_DIED) | (HasOwnershipWaiter(bucket, key) ? FUTEX_WAITERS : 0)
                    : value | FUTEX_WAITERS;
                int exchanged = wanted == value ? 1 : task.CompareExchangeUser(address, value, wanted);
                if (exchanged < 0)
                    return exchanged;
                if (exchanged == 0)
                    continue;
                if (free)
                    return 0;
                bucket.Add(waiter);
                break;
            }
        }
        long result = SleepUntilWoken(task, waiter, deadlineNs);
        return result == -Errno.ERESTARTSYS ? -Errno.ERESTARTNOINTR : result;
    }

    internal long UnlockPi(Task task, ulong address, bool shared)
    {
        long error = GetKey(task, address, shared, out FutexKey key, out FutexBucket bucket);
        if (error != 0)
            return error;
        using (bucket.Mutex.Enter(task))
        {
            while (true)
            {
                if (!task.TryRead(address, out uint value))
                    return -Errno.EFAULT;
                if ((value & FUTEX_TID_MASK) != (uint)task.Tid)
                    return -Errno.EPERM;
                FutexWaiter? heir = FirstOwnershipWaiter(bucket, key);
                uint next = heir is null ? 0 : (uint)heir.Task.Tid | (HasOwnershipWaiter(bucket, key, except: heir) ? FUTEX_WAITERS : 0);
                int exchanged = task.CompareExchangeUser(address, value, next);
                if (exchanged < 0)
                    return exchanged;
                if (exchanged == 0)
                    continue;
                if (heir is not null)
                    WakeOne(bucket, heir);
                return 0;
            }
        }
    }

    /// <summary>The owner died: the word goes to the first waiter with FUTEX_OWNER_DIED set, or is left for the next locker.</summary>
    internal void OwnerDied(Task task, ulong address)
    {
        if (GetKey(task, address, shared: true, out FutexKey key, out FutexBucket bucket) != 0)
            return;
        HandToWaiter(task, address, key, bucket);
        if (GetKey(task, address, shared: false, out key, out bucket) == 0)
            HandToWaiter(task, address, key, bucket);
    }

    private static void HandToWaiter(Task task, ulong address, in FutexKey key, FutexBucket bucket)
    {
        using (bucket.Mutex.Enter(task))
        {
            if (FirstOwnershipWaiter(bucket, key) is not { } heir)
                return;
            uint next = (uint)heir.Task.Tid | FUTEX_OWNER_DIED | (HasOwnershipWaiter(bucket, key, except: heir) ? FUTEX_WAITERS : 0);
            if (task.TryWrite(address, next))
                WakeOne(bucket, heir);
        }
    }

    private static bool HasOwnershipWaiter(FutexBucket bucket, in FutexKey key, FutexWaiter? except = null)
    {
        foreach (FutexWaiter w in bucket.Waiters)
            if (w.WantsOwnership && w != except && w.Key.Is(key))
                return true;
        return false;
    }

    private static FutexWaiter? FirstOwnershipWaiter(FutexBucket bucket, in FutexKey key)
    {
        foreach (FutexWaiter w in bucket.Waiters)
            if (w.WantsOwnership && w.Key.Is(key))
                return w;
        return null;
    }
}
