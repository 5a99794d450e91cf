using System.Runtime.InteropServices;
using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Tasks.Futexes;

/// <summary>struct futex_waitv.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FutexWaitEntry
{
    public ulong Value;
    public ulong Address;
    public uint Flags;
    public uint Reserved;

    private const uint FUTEX2_SIZE_U32 = 2, FUTEX2_PRIVATE = 128;

    public readonly bool IsShared => (Flags & FUTEX2_PRIVATE) == 0;

    /// <summary>Words of 32 bits are the only ones there are.</summary>
    public readonly bool IsValid => (Flags & ~FUTEX2_PRIVATE) == FUTEX2_SIZE_U32 && Reserved == 0 && Value <= uint.MaxValue;
}

/// <summary>futex_waitv: one task waits on several futexes (kernel/futex/waitwake.c:futex_wait_multiple).</summary>
internal sealed partial class FutexTable
{
    /// <returns>The index of a futex that was woken, or a negative errno.</returns>
    internal long WaitMultiple(Task task, ReadOnlySpan<FutexWaitEntry> entries, long deadlineNs)
    {
        var waiters = new FutexWaiter[entries.Length];
        for (int i = 0; i < entries.Length; i++)
        {
            long error = GetKey(task, entries[i].Address, entries[i].IsShared, out FutexKey key);
            if (error != 0)
                return error;
            waiters[i] = new FutexWaiter(task, key, uint.MaxValue);
        }
        for (int i = 0; i < entries.Length; i++)
        {
            long error = Enqueue(task, entries[i], waiters[i]);
            if (error != 0)
            {
                // A wake-up of one that was queued before counts more than the value of this one.
                int woken = WithdrawAll(task, waiters.AsSpan(0, i));
                return woken >= 0 ? woken : error;
            }
        }
        long result = SleepUntilAnyWoken(task, waiters, deadlineNs);
        int index = WithdrawAll(task, waiters);
        return index >= 0 ? index : result;
    }

    private long Enqueue(Task task, in FutexWaitEntry entry, FutexWaiter waiter)
    {
        FutexBucket bucket = BucketOf(waiter.Key);
        using (bucket.Mutex.Enter(task))
        {
            if (!task.TryRead(entry.Address, out uint value))
                return -Errno.EFAULT;
            if (value != (uint)entry.Value)
                return -Errno.EAGAIN;
            bucket.Add(waiter);
            return 0;
        }
    }

    private static long SleepUntilAnyWoken(Task task, FutexWaiter[] waiters, long deadlineNs)
    {
        while (true)
        {
            task.PrepareToSleep();
            if (Array.Exists(waiters, static w => w.Woken))
                return 0;
            if (task.SignalPending)
                return -Errno.ERESTARTSYS;
            if (deadlineNs != Clock.Never && task.Machine.Clock.MonotonicNs >= deadlineNs)
                return -Errno.ETIMEDOUT;
            task.Sleep(deadlineNs);
        }
    }

    /// <summary>The last one that was woken, or -1.</summary>
    private static int WithdrawAll(Task task, ReadOnlySpan<FutexWaiter> waiters)
    {
        int woken = -1;
        for (int i = 0; i < waiters.Length; i++)
            woken = Withdraw(task, waiters[i]) ? woken : i;
        return woken;
    }
}
