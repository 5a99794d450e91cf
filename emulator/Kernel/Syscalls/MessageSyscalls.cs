using System.Buffers.Binary;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Ipc;
using static Emulator.Kernel.Tasks.Ipc.IpcTable<Emulator.Kernel.Tasks.Ipc.MessageQueue>;

namespace Emulator.Kernel.Syscalls;

/// <summary>System V message queues.</summary>
internal static class MessageSyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(68, "msgget", "hex,hex", Get),
        new(69, "msgsnd", "int,ptr,size,hex", Send),
        new(70, "msgrcv", "int,out:ptr,size,int,hex", Receive),
        new(71, "msgctl", "int,int,ptr", Control),
    ];

    private const int MSG_STAT = 11, MSG_INFO = 12, MSG_STAT_ANY = 13;
    private const int StatSize = 120, InfoSize = 32, LimitOffset = 88;

    private static IpcTable<MessageQueue> Queues(Task task) => task.Machine.MessageQueues;

    private static long Get(Task task, in SyscallArgs a)
    {
        (int key, int flags) = ((int)a.A0, (int)a.A1);
        return Queues(task).Get(key, flags, static _ => 0, () => (new MessageQueue(task, key, flags), 0));
    }

    private static long Send(Task task, in SyscallArgs a)
    {
        if (!task.TryRead(a.A1, out long type))
            return -Errno.EFAULT;
        if (a.A2 > MessageQueue.MaxMessage || (int)a.A0 < 0 || type < 1)
            return -Errno.EINVAL;
        // In bounds: MSGMAX at most; counted when it is queued.
        byte[] text = new byte[a.A2];
        if (!task.CopyFromUser(a.A1 + 8, text))
            return -Errno.EFAULT;
        return Queues(task).Find((int)a.A0) is { } queue
            ? queue.Send(task, new MessageQueue.Message(type, text), wait: ((int)a.A3 & IPC_NOWAIT) == 0)
            : -Errno.EINVAL;
    }

    private static long Receive(Task task, in SyscallArgs a)
    {
        int flags = (int)a.A4;
        if ((int)a.A0 < 0 || (long)a.A2 < 0)
            return -Errno.EINVAL;
        if ((flags & MessageQueue.MSG_COPY) != 0)
            return (flags & MessageQueue.MSG_EXCEPT) != 0 || (flags & IPC_NOWAIT) == 0 ? -Errno.EINVAL : -Errno.ENOSYS;
        if (Queues(task).Find((int)a.A0) is not { } queue)
            return -Errno.EINVAL;
        long result = queue.Receive(task, a.A2, (long)a.A3, flags, out MessageQueue.Message? message);
        if (result != 0)
            return result;
        int length = (int)Math.Min((ulong)message!.Text.Length, a.A2);
        return task.TryWrite(a.A1, message.Type) && task.CopyToUser(a.A1 + 8, message.Text.AsSpan(0, length)) ? length : -Errno.EFAULT;
    }

    private static long Control(Task task, in SyscallArgs a)
    {
        (int id, int command, ulong buffer) = ((int)a.A0, (int)a.A1, a.A2);
        if (id < 0 || command < 0)
            return -Errno.EINVAL;
        switch (command)
        {
            case IPC_INFO or MSG_INFO:
                return WriteLimits(task, buffer, used: command == MSG_INFO);
            case MSG_STAT or MSG_STAT_ANY:
                MessageQueue[] all = Queues(task).Snapshot();
                return id >= all.Length ? -Errno.EINVAL : WriteStat(task, all[id], buffer) is var error and < 0 ? error : all[id].Id;
        }
        if (Queues(task).Find(id) is not { } queue)
            return -Errno.EINVAL;
        switch (command)
        {
            case IPC_STAT:
                return WriteStat(task, queue, buffer);
            case IPC_RMID:
                Queues(task).Remove(queue);
                return 0;
            case IPC_SET:
                Span<byte> stat = stackalloc byte[StatSize];
                if (!task.CopyFromUser(buffer, stat))
                    return -Errno.EFAULT;
                ulong limit = BinaryPrimitives.ReadUInt64LittleEndian(stat[LimitOffset..]);
                if (limit > MessageQueue.MaxQueue)
                    return -Errno.EPERM;
                queue.Set(task, stat, (int)limit);
                return 0;
            default:
                return -Errno.EINVAL;
        }
    }

    /// <summary>struct msqid64_ds.</summary>
    private static long WriteStat(Task task, MessageQueue queue, ulong address)
    {
        if (!queue.Allows(IpcObject.Read))
            return -Errno.EACCES;
        Span<byte> stat = stackalloc byte[StatSize];
        stat.Clear();
        lock (queue.Lock)
        {
            queue.WritePermissions(stat);
            BinaryPrimitives.WriteInt64LittleEndian(stat[48..], queue.SendTime);
            BinaryPrimitives.WriteInt64LittleEndian(stat[56..], queue.ReceiveTime);
            BinaryPrimitives.WriteInt64LittleEndian(stat[64..], queue.ChangeTime);
            BinaryPrimitives.WriteInt64LittleEndian(stat[72..], queue.Bytes);
            BinaryPrimitives.WriteInt64LittleEndian(stat[80..], queue.Count);
            BinaryPrimitives.WriteInt64LittleEndian(stat[LimitOffset..], queue.Limit);
            BinaryPrimitives.WriteInt32LittleEndian(stat[96..], queue.LastSender);
            BinaryPrimitives.WriteInt32LittleEndian(stat[100..], queue.LastReceiver);
        }
        return task.CopyToUser(address, stat) ? 0 : -Errno.EFAULT;
    }

    /// <summary>struct msginfo; MSG_INFO has what is in use in three of its fields.</summary>
    private static long WriteLimits(Task task, ulong address, bool used)
    {
        MessageQueue[] all = Queues(task).Snapshot();
        Span<byte> info = stackalloc byte[InfoSize];
        info.Clear();
        BinaryPrimitives.WriteInt32LittleEndian(info, used ? all.Length : Maximum * MessageQueue.MaxQueue / 1024);
        BinaryPrimitives.WriteInt32LittleEndian(info[4..], used ? all.Sum(static q => q.Count) : MessageQueue.MaxQueue);
        BinaryPrimitives.WriteInt32LittleEndian(info[8..], MessageQueue.MaxMessage);
        BinaryPrimitives.WriteInt32LittleEndian(info[12..], MessageQueue.MaxQueue);
        BinaryPrimitives.WriteInt32LittleEndian(info[16..], Maximum);
        BinaryPrimitives.WriteInt32LittleEndian(info[20..], 16);
        BinaryPrimitives.WriteInt32LittleEndian(info[24..], used ? all.Sum(static q => q.Bytes) : MessageQueue.MaxQueue);
        BinaryPrimitives.WriteUInt16LittleEndian(info[28..], ushort.MaxValue);
        return task.CopyToUser(address, info) ? Math.Max(0, all.Length - 1) : -Errno.EFAULT;
    }
}
