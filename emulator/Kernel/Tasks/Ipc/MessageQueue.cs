namespace Emulator.Kernel.Tasks.Ipc;

/// <summary>A System V message queue (ipc/msg.c).</summary>
internal sealed class MessageQueue(Task creator, int key, int mode) : IpcObject(creator, key, mode)
{
    /// <summary>MSGMAX and MSGMNB: bytes of a message, bytes of a queue.</summary>
    public const int MaxMessage = 8192, MaxQueue = 16384;

    public const int MSG_NOERROR = 0x1000, MSG_EXCEPT = 0x2000, MSG_COPY = 0x4000;

    internal sealed record Message(long Type, byte[] Text);

    private readonly LinkedList<Message> _messages = new();
    private readonly Memory.KernelMemory _memory = creator.Machine.KernelMemory;
    private readonly WaitQueue _arrived = new(), _left = new();

    /// <summary>32,000 queues with 16,384 messages each, which have no bytes, would be far too many.</summary>
    private static long CostOf(Message message) => Memory.KernelMemory.Message + message.Text.Length;

    public int Bytes { get; private set; }

    public int Count => _messages.Count;

    public int Limit { get; private set; } = MaxQueue;

    public long SendTime { get; private set; }

    public long ReceiveTime { get; private set; }

    public int LastSender { get; private set; }

    public int LastReceiver { get; private set; }

    /// <summary>msgsnd: 0 or a negative errno.</summary>
    public long Send(Task task, Message message, bool wait)
    {
        long result = TrySend(task, message);
        if (result != -Errno.EAGAIN || !wait)
            return result;
        WaitResult waited = _left.Wait(task, () => (result = TrySend(task, message)) != -Errno.EAGAIN);
        return waited == WaitResult.Ok ? result : -Errno.ERESTARTNOHAND;
    }

    private long TrySend(Task task, Message message)
    {
        lock (Lock)
        {
            if (IsRemoved)
                return -Errno.EIDRM;
            if (!Allows(Write))
                return -Errno.EACCES;
            if (Bytes + message.Text.Length > Limit || Count + 1 > Limit)
                return -Errno.EAGAIN;
            if (!_memory.TryCharge(CostOf(message)))
                return -Errno.ENOMEM;
            _messages.AddLast(message);
            Bytes += message.Text.Length;
            LastSender = task.Process.Pid;
            SendTime = Now(task);
        }
        _arrived.WakeAll();
        return 0;
    }

    /// <summary>msgrcv: 0 with the message, or a negative errno.</summary>
    /// <param name="size">Bytes the caller has room for; a longer message stays unless MSG_NOERROR is set.</param>
    public long Receive(Task task, ulong size, long type, int flags, out Message? message)
    {
        Message? found = null;
        long result = TryReceive(task, size, type, flags, out found);
        if (result == -Errno.ENOMSG && (flags & IpcTable<MessageQueue>.IPC_NOWAIT) == 0)
        {
            WaitResult waited = _arrived.Wait(task, () => (result = TryReceive(task, size, type, flags, out found)) != -Errno.ENOMSG);
            if (waited != WaitResult.Ok)
                result = -Errno.ERESTARTNOHAND;
        }
        message = found;
        return result;
    }

    private long TryReceive(Task task, ulong size, long type, int flags, out Message? message)
    {
        lock (Lock)
        {
            message = null;
            if (IsRemoved)
                return -Errno.EIDRM;
            if (!Allows(Read))
                return -Errno.EACCES;
            LinkedListNode<Message>? node = Find(type, (flags & MSG_EXCEPT) != 0);
            if (node is null)
                return -Errno.ENOMSG;
            if (size < (ulong)node.Value.Text.Length && (flags & MSG_NOERROR) == 0)
                return -Errno.E2BIG;
            message = node.Value;
            _messages.Remove(node);
            _memory.Uncharge(CostOf(message));
            Bytes -= message.Text.Length;
            LastReceiver = task.Process.Pid;
            ReceiveTime = Now(task);
        }
        _left.WakeAll();
        return 0;
    }

    /// <summary>The first message; the first of a type, or of any other; the first of the lowest type up to a limit, given as a negative number.</summary>
    private LinkedListNode<Message>? Find(long type, bool except)
    {
        long limit = type == long.MinValue ? long.MaxValue : -type;
        LinkedListNode<Message>? best = null;
        for (LinkedListNode<Message>? node = _messages.First; node is not null; node = node.Next)
        {
            long own = node.Value.Type;
            if (type == 0 || (type > 0 && own == type != except))
                return node;
            if (type < 0 && own <= limit && (best is null || own < best.Value.Type))
                best = node;
        }
        return best;
    }

    protected override void OnRemoved()
    {
        foreach (Message message in _messages)
            _memory.Uncharge(CostOf(message));
        _messages.Clear();
        Bytes = 0;
        _arrived.WakeAll();
        _left.WakeAll();
    }

    /// <summary>IPC_SET.</summary>
    internal void Set(Task task, ReadOnlySpan<byte> permissions, int limit)
    {
        lock (Lock)
        {
            SetPermissions(task, permissions);
            Limit = limit;
        }
        _left.WakeAll();
    }
}
