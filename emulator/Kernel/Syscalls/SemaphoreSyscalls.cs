using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Ipc;
using static Emulator.Kernel.Tasks.Ipc.IpcTable<Emulator.Kernel.Tasks.Ipc.SemaphoreSet>;

namespace Emulator.Kernel.Syscalls;

/// <summary>System V semaphores.</summary>
internal static class SemaphoreSyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(64, "semget", "hex,int,hex", Get),
        new(65, "semop", "int,ptr,size", static (Task t, in SyscallArgs a) => Operate(t, a, 0)),
        new(66, "semctl", "int,int,int,hex", Control),
        new(220, "semtimedop", "int,ptr,size,timespec", static (Task t, in SyscallArgs a) => Operate(t, a, a.A3)),
    ];

    private const int GETPID = 11, GETVAL = 12, GETALL = 13, GETNCNT = 14, GETZCNT = 15, SETVAL = 16, SETALL = 17, SEM_STAT = 18, SEM_INFO = 19, SEM_STAT_ANY = 20;

    /// <summary>SEMMSL and SEMOPM: semaphores in a set, operations in a call.</summary>
    private const int MaxSemaphores = 32000, MaxOperations = 500;

    /// <summary>Far below Linux's SEMMNS: semaphores cost the host memory.</summary>
    private const int MaxInAll = 1 << 20;

    private const int StatSize = 104;

    private static IpcTable<SemaphoreSet> Sets(Task task) => task.Machine.Semaphores;

    private static long Get(Task task, in SyscallArgs a)
    {
        (int key, int count, int flags) = ((int)a.A0, (int)a.A1, (int)a.A2);
        if (count is < 0 or > MaxSemaphores)
            return -Errno.EINVAL;
        return Sets(task).Get(key, flags,
            existing => count > existing.Count ? -Errno.EINVAL : 0,
            () => count == 0 ? (null, -Errno.EINVAL)
                : InAll(task) + count > MaxInAll ? (null, -Errno.ENOSPC)
                : (new SemaphoreSet(task, key, flags, count), 0));
    }

    private static int InAll(Task task)
    {
        int sum = 0;
        foreach (SemaphoreSet set in Sets(task).Snapshot())
            sum += set.Count;
        return sum;
    }

    private static long Operate(Task task, in SyscallArgs a, ulong timeoutAt)
    {
        long deadline = Clock.Never;
        long error = timeoutAt == 0 ? 0 : Timespec.ReadDeadline(task, timeoutAt, out deadline);
        if (error == -Errno.EFAULT)
            return error;
        if ((int)a.A0 < 0 || a.A2 < 1)
            return -Errno.EINVAL;
        if (a.A2 > MaxOperations)
            return -Errno.E2BIG;
        // In bounds: SEMOPM at most; their numbers are compared with the set's below.
        var operations = new SemaphoreOperation[a.A2];
        if (!task.CopyFromUser(a.A1, MemoryMarshal.AsBytes(operations.AsSpan())))
            return -Errno.EFAULT;
        if (error != 0)
            return error;
        if (Sets(task).Find((int)a.A0) is not { } set)
            return -Errno.EINVAL;
        bool alters = false;
        foreach (SemaphoreOperation o in operations)
        {
            if (o.Number >= set.Count)
                return -Errno.EFBIG;
            alters |= o.Change != 0;
        }
        return set.Allows(alters ? IpcObject.Write : IpcObject.Read) ? set.Operate(task, operations, deadline) : -Errno.EACCES;
    }

    private static long Control(Task task, in SyscallArgs a)
    {
        (int id, int number, int command, ulong argument) = ((int)a.A0, (int)a.A1, (int)a.A2, a.A3);
        if (id < 0)
            return -Errno.EINVAL;
        switch (command)
        {
            case IPC_INFO or SEM_INFO:
                return WriteLimits(task, argument, used: command == SEM_INFO);
            case SEM_STAT or SEM_STAT_ANY:
                SemaphoreSet[] all = Sets(task).Snapshot();
                return id >= all.Length ? -Errno.EINVAL : WriteStat(task, all[id], argument) is var error and < 0 ? error : all[id].Id;
        }
        if (Sets(task).Find(id) is not { } set)
            return -Errno.EINVAL;
        switch (command)
        {
            case IPC_STAT:
                return WriteStat(task, set, argument);
            case IPC_RMID:
                Sets(task).Remove(set);
                return 0;
            case IPC_SET:
                Span<byte> permissions = stackalloc byte[IpcObject.PermissionsSize];
                if (!task.CopyFromUser(argument, permissions))
                    return -Errno.EFAULT;
                lock (set.Lock)
                    set.SetPermissions(task, permissions);
                return 0;
            case GETALL:
                return !set.Allows(IpcObject.Read) ? -Errno.EACCES : task.CopyToUser(argument, MemoryMarshal.AsBytes(set.Values().AsSpan())) ? 0 : -Errno.EFAULT;
            case SETALL:
                return set.Allows(IpcObject.Write) ? SetAll(task, set, argument) : -Errno.EACCES;
            case GETVAL or GETPID or GETNCNT or GETZCNT or SETVAL:
                break;
            default:
                return -Errno.EINVAL;
        }
        if (command == SETVAL && (int)argument is < 0 or > SemaphoreSet.MaxValue)
            return -Errno.ERANGE;
        if (!set.Allows(command == SETVAL ? IpcObject.Write : IpcObject.Read))
            return -Errno.EACCES;
        if (number < 0 || number >= set.Count)
            return -Errno.EINVAL;
        switch (command)
        {
            case GETVAL:
                return set.ValueOf(number);
            case GETPID:
                return set.LastPidOf(number);
            case SETVAL:
                set.SetValues(task, number, [(ushort)argument]);
                return 0;
            default:
                return set.WaitersFor(number, zero: command == GETZCNT);
        }
    }

    private static long SetAll(Task task, SemaphoreSet set, ulong address)
    {
        ushort[] values = new ushort[set.Count]; // MaxSemaphores at most.
        if (!task.CopyFromUser(address, MemoryMarshal.AsBytes(values.AsSpan())))
            return -Errno.EFAULT;
        if (Array.Exists(values, static v => v > SemaphoreSet.MaxValue))
            return -Errno.ERANGE;
        set.SetValues(task, 0, values);
        return 0;
    }

    /// <summary>struct semid64_ds.</summary>
    private static long WriteStat(Task task, SemaphoreSet set, ulong address)
    {
        if (!set.Allows(IpcObject.Read))
            return -Errno.EACCES;
        Span<byte> stat = stackalloc byte[StatSize];
        stat.Clear();
        set.WritePermissions(stat);
        BinaryPrimitives.WriteInt64LittleEndian(stat[48..], set.OperationTime);
        BinaryPrimitives.WriteInt64LittleEndian(stat[64..], set.ChangeTime);
        BinaryPrimitives.WriteInt64LittleEndian(stat[80..], set.Count);
        return task.CopyToUser(address, stat) ? 0 : -Errno.EFAULT;
    }

    /// <summary>struct seminfo; SEM_INFO has what is in use in two of its fields.</summary>
    private static long WriteLimits(Task task, ulong address, bool used)
    {
        SemaphoreSet[] all = Sets(task).Snapshot();
        ReadOnlySpan<int> info =
        [
            MaxInAll, Maximum, MaxInAll, MaxInAll, MaxSemaphores, MaxOperations, MaxOperations, used ? all.Length : 20,
            SemaphoreSet.MaxValue, used ? InAll(task) : SemaphoreSet.MaxValue,
        ];
        return task.CopyToUser(address, MemoryMarshal.AsBytes(info)) ? Math.Max(0, all.Length - 1) : -Errno.EFAULT;
    }
}
