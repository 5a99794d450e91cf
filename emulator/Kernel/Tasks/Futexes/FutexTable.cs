using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Tasks.Futexes;

/// <summary>What names a futex: an address in an address space, or a byte of a shared object. Compared by identity of the object.</summary>
/// <remarks>The bucket depends on the offset alone: a deterministic machine must not depend on identity hashes.</remarks>
internal readonly record struct FutexKey(object Owner, ulong Offset)
{
    public int Bucket => (int)((Offset >> 2) * 0x9E3779B97F4A7C15 >> 40 & (FutexTable.Buckets - 1));

    public bool Is(in FutexKey other) => ReferenceEquals(Owner, other.Owner) && Offset == other.Offset;
}

/// <summary>A task that waits on a futex. Guarded by the mutex of the bucket it is in.</summary>
internal sealed class FutexWaiter(Task task, FutexKey key, uint bitset)
{
    public Task Task { get; } = task;
    public FutexKey Key = key;
    public uint Bitset { get; } = bitset;

    /// <summary>For priority-inheritance futexes: the waiter is to become the owner.</summary>
    public bool WantsOwnership { get; set; }

    /// <summary>The priority-inheritance futex that the waiter is to be moved to, by nothing else than FUTEX_CMP_REQUEUE_PI.</summary>
    public FutexKey? RequeueTarget { get; init; }

    /// <summary>Plain operations may not touch it: -EINVAL.</summary>
    public bool IsPi => WantsOwnership || RequeueTarget is not null;

    /// <summary>Written under the bucket's lock, read by the waiting task without.</summary>
    public volatile bool Woken;

    /// <summary>Changes when the waiter is requeued.</summary>
    public volatile FutexBucket? Bucket;

    public LinkedListNode<FutexWaiter>? Node;
}

internal sealed class FutexBucket
{
    public Mutex Mutex { get; } = new(LockClass.FutexBucket);
    public LinkedList<FutexWaiter> Waiters { get; } = new();

    public void Add(FutexWaiter waiter)
    {
        waiter.Node = Waiters.AddLast(waiter);
        waiter.Bucket = this;
    }

    public void Remove(FutexWaiter waiter)
    {
        Waiters.Remove(waiter.Node!);
        waiter.Node = null;
        waiter.Bucket = null;
    }
}

/// <summary>The machine's futexes (kernel/futex): buckets of waiters. A word is read and compared under its bucket's lock.</summary>
internal sealed partial class FutexTable
{
    internal const int Buckets = 256;

    private readonly FutexBucket?[] _buckets = new FutexBucket?[Buckets];

    internal FutexBucket BucketOf(in FutexKey key)
    {
        ref FutexBucket? slot = ref _buckets[key.Bucket];
        return slot ?? Interlocked.CompareExchange(ref slot, new FutexBucket(), null) ?? slot;
    }

    /// <summary>Finds the key; for a shared futex the page is looked up, so the address must be mapped.</summary>
    /// <returns>0, -EINVAL for a misaligned address, -EFAULT.</returns>
    internal static long GetKey(Task task, ulong address, bool shared, out FutexKey key)
    {
        key = default;
        if ((address & 3) != 0)
            return -Errno.EINVAL;
        if (!shared)
        {
            key = new FutexKey(task.Mm, address);
            return address >= Layout.TaskSize ? -Errno.EFAULT : 0;
        }
        if (!task.TryRead(address, out uint _))
            return -Errno.EFAULT;
        key = task.Mm.SharedObjectAt(task, address) is { } shares ? new FutexKey(shares.Object, shares.Offset) : new FutexKey(task.Mm, address);
        return 0;
    }

    /// <summary>FUTEX_WAIT, FUTEX_WAIT_BITSET.</summary>
    internal long Wait(Task task, ulong address, uint expected, uint bitset, bool shared, long deadlineNs)
    {
        if (bitset == 0)
            return -Errno.EINVAL;
        long error = GetKey(task, address, shared, out FutexKey key);
        if (error != 0)
            return error;
        var waiter = new FutexWaiter(task, key, bitset);
        FutexBucket bucket = BucketOf(key);
        using (bucket.Mutex.Enter(task))
        {
            if (!task.TryRead(address, out uint value))
                return -Errno.EFAULT;
            if (value != expected)
                return -Errno.EAGAIN;
            bucket.Add(waiter);
        }
        return SleepUntilWoken(task, waiter, deadlineNs);
    }

    /// <summary>Sleeps until somebody takes the waiter off its bucket; takes it off itself when a signal or the deadline comes first.</summary>
    private static long SleepUntilWoken(Task task, FutexWaiter waiter, long deadlineNs)
    {
        long result;
        while (true)
        {
            task.PrepareToSleep();
            if (waiter.Woken)
                return 0;
            if (task.SignalPending)
            {
                result = -Errno.ERESTARTSYS;
                break;
            }
            if (deadlineNs != Clock.Never && task.Machine.Clock.MonotonicNs >= deadlineNs)
            {
                result = -Errno.ETIMEDOUT;
                break;
            }
            task.Sleep(deadlineNs);
        }
        return Withdraw(task, waiter) ? result : 0;
    }

    /// <summary>False: the waiter was woken after all.</summary>
    private static bool Withdraw(Task task, FutexWaiter waiter)
    {
        while (waiter.Bucket is { } bucket)
        {
            using (bucket.Mutex.Enter(task))
            {
                if (waiter.Bucket != bucket)
                    continue; // Requeued while we waited for the lock.
                bucket.Remove(waiter);
                return true;
            }
        }
        return false;
    }

    internal long Wake(Task task, ulong address, int count, bool shared, uint bitset = uint.MaxValue)
    {
        if (bitset == 0)
            return -Errno.EINVAL;
        long error = GetKey(task, address, shared, out FutexKey key);
        if (error != 0)
            return error;
        FutexBucket bucket = BucketOf(key);
        using (bucket.Mutex.Enter(task))
            return WakeIn(bucket, key, count, bitset);
    }

    /// <returns>How many were woken, or -EINVAL: one that waits there is for the operations with priority inheritance only.</returns>
    private static int WakeIn(FutexBucket bucket, in FutexKey key, int count, uint bitset)
    {
        int woken = 0;
        for (LinkedListNode<FutexWaiter>? n = bucket.Waiters.First; n is not null && woken < Math.Max(1, count);)
        {
            LinkedListNode<FutexWaiter>? next = n.Next;
            FutexWaiter waiter = n.Value;
            if (waiter.Key.Is(key) && waiter.IsPi)
                return -Errno.EINVAL;
            if (waiter.Key.Is(key) && (waiter.Bitset & bitset) != 0)
            {
                WakeOne(bucket, waiter);
                woken++;
            }
            n = next;
        }
        return woken;
    }

    private static void WakeOne(FutexBucket bucket, FutexWaiter waiter)
    {
        bucket.Remove(waiter);
        waiter.Woken = true;
        waiter.Task.WakeUp();
    }

    /// <summary>FUTEX_REQUEUE and FUTEX_CMP_REQUEUE: wakes some and moves others to a second futex without waking them.</summary>
    internal long Requeue(Task task, ulong from, ulong to, int wake, int move, uint? expected, bool shared)
    {
        if (wake < 0 || move < 0)
            return -Errno.EINVAL;
        long error = GetKey(task, from, shared, out FutexKey key1, out FutexBucket bucket1);
        if (error != 0)
            return error;
        error = GetKey(task, to, shared, out FutexKey key2, out FutexBucket bucket2);
        if (error != 0)
            return error;
        LockBoth(task, bucket1, bucket2);
        try
        {
            if (expected is { } e)
            {
                if (!task.TryRead(from, out uint value))
                    return -Errno.EFAULT;
                if (value != e)
                    return -Errno.EAGAIN;
            }
            int done = 0;
            for (LinkedListNode<FutexWaiter>? n = bucket1.Waiters.First; n is not null && done - wake < move;)
            {
                LinkedListNode<FutexWaiter>? next = n.Next;
                FutexWaiter waiter = n.Value;
                if (waiter.Key.Is(key1))
                {
                    if (waiter.IsPi)
                        return -Errno.EINVAL;
                    if (done < wake)
                    {
                        WakeOne(bucket1, waiter);
                    }
                    else
                    {
                        bucket1.Remove(waiter);
                        waiter.Key = key2;
                        bucket2.Add(waiter);
                    }
                    done++;
                }
                n = next;
            }
            // FUTEX_REQUEUE and FUTEX_CMP_REQUEUE both count the moved ones too (kernel/futex/requeue.c).
            return done;
        }
        finally
        {
            UnlockBoth(bucket1, bucket2);
        }
    }

    private long GetKey(Task task, ulong address, bool shared, out FutexKey key, out FutexBucket bucket)
    {
        long error = GetKey(task, address, shared, out key);
        bucket = error == 0 ? BucketOf(key) : null!;
        return error;
    }

    /// <summary>FUTEX_WAKE_OP: changes the second word and wakes waiters of the first, and of the second if its old value says so.</summary>
    internal long WakeOp(Task task, ulong address1, ulong address2, int wake1, int wake2, uint operation, bool shared)
    {
        long error = GetKey(task, address1, shared, out FutexKey key1, out FutexBucket bucket1);
        if (error != 0)
            return error;
        error = GetKey(task, address2, shared, out FutexKey key2, out FutexBucket bucket2);
        if (error != 0)
            return error;
        LockBoth(task, bucket1, bucket2);
        try
        {
            error = FutexOperation.Apply(task, address2, operation, out bool second);
            if (error != 0)
                return error;
            int woken = WakeIn(bucket1, key1, wake1, uint.MaxValue);
            int also = second && woken >= 0 ? WakeIn(bucket2, key2, wake2, uint.MaxValue) : 0;
            return woken < 0 ? woken : also < 0 ? also : woken + also;
        }
        finally
        {
            UnlockBoth(bucket1, bucket2);
        }
    }

    /// <summary>Two buckets are always locked in the order of the table.</summary>
    private void LockBoth(Task task, FutexBucket a, FutexBucket b)
    {
        if (ReferenceEquals(a, b))
        {
            a.Mutex.Lock(task);
            return;
        }
        bool swap = Array.IndexOf(_buckets, a) > Array.IndexOf(_buckets, b);
        (swap ? b : a).Mutex.Lock(task);
        (swap ? a : b).Mutex.Lock(task, LockClass.Nested);
    }

    private static void UnlockBoth(FutexBucket a, FutexBucket b)
    {
        a.Mutex.Unlock();
        if (!ReferenceEquals(a, b))
            b.Mutex.Unlock();
    }
}
