using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;
using static Emulator.Kernel.Files.Sockets.SocketAbi;

namespace Emulator.Kernel.Files.Sockets;

/// <summary>An AF_UNIX socket (net/unix/af_unix.c).</summary>
/// <remarks>
/// Each socket's lock guards its own queue and state and is a leaf: whoever needs two sockets takes one after the other. The peer of a
/// connected socket never changes to another one, it only goes away.
/// In bounds: what waits is counted in the kernel's memory, and has a bound in each socket; offsets in a message are moved under the lock and never beyond its end.
/// </remarks>
internal sealed partial class UnixSocket : OpenFile
{
    private readonly Lock _lock = new();
    private readonly WaitQueue _changed = new();
    private readonly LinkedList<SocketMessage> _received = new();
    private Memory.KernelMemory _memory = null!;
    private readonly Queue<UnixSocket> _backlog = new();
    private UnixSocket? _peer;
    private int _queuedBytes;
    private int _backlogLimit = -1;
    private bool _closed;
    private bool _receiveShut;
    private bool _sendShut;
    private int _error;

    public UnixSocket(Task task, int type, int flags)
        : base(O_RDWR | (flags & O_NONBLOCK))
    {
        Type = type;
        Credentials = PeerCredentials.Of(task);
    }

    public int Type { get; }

    public bool IsStream => Type == SOCK_STREAM;

    private bool IsConnectionBased => Type != SOCK_DGRAM;

    internal override bool KeepsMessages => !IsStream;

    /// <summary>The name given by bind; null for an anonymous socket.</summary>
    public UnixAddress? Local => Volatile.Read(ref _local);

    private UnixAddress? _local;

    /// <summary>The entry that bind made, kept so that the name leads here as long as the socket lives.</summary>
    public Dentry? BoundName { get; set; }

    public UnixSocket? Peer => Volatile.Read(ref _peer);

    public bool IsListening => Volatile.Read(ref _backlogLimit) >= 0;

    /// <summary>Who made this end, as the other end sees it (SO_PEERCRED).</summary>
    public PeerCredentials Credentials { get; private set; }

    public bool PassCredentials { get; set; }

    public int SendBuffer { get; set; } = DefaultBuffer;

    public int ReceiveBuffer { get; set; } = DefaultBuffer;

    /// <summary>SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds; 0 waits for ever.</summary>
    public long ReceiveTimeoutNs { get; set; }

    public long SendTimeoutNs { get; set; }

    private int QueuedBytes => Volatile.Read(ref _queuedBytes);

    public bool IsClosed => Volatile.Read(ref _closed);

    private bool ReceiveShut => Volatile.Read(ref _receiveShut);

    private bool SendShut => Volatile.Read(ref _sendShut);

    /// <summary>A new socket with its place in sockfs.</summary>
    public static UnixSocket Create(Task task, int type, int flags)
    {
        AnonymousFilesystem fs = task.Machine.Vfs.Sockets;
        var inode = new MemoryInode(fs, S_IFSOCK | S_IRWXUGO, task.Credentials.EffectiveUid, task.Credentials.EffectiveGid);
        var socket = new UnixSocket(task, type, flags) { Path = fs.Add(inode, $"socket:[{inode.Number}]"), _memory = task.Machine.KernelMemory };
        // One that waits for accept is nobody's descriptor yet.
        socket.TryCharge(socket._memory);
        return socket;
    }

    /// <summary>socketpair(2).</summary>
    public static (UnixSocket First, UnixSocket Second) CreatePair(Task task, int type, int flags)
    {
        UnixSocket a = Create(task, type, flags), b = Create(task, type, flags);
        a._peer = b;
        b._peer = a;
        return (a, b);
    }

    public long Listen(Task task, int backlog)
    {
        if (!IsConnectionBased)
            return -Errno.EOPNOTSUPP;
        if (Local is null || Peer is not null)
            return -Errno.EINVAL;
        const int MaxBacklog = 4096;
        Credentials = PeerCredentials.Of(task);
        Volatile.Write(ref _backlogLimit, Math.Clamp(backlog, 0, MaxBacklog));
        _changed.WakeAll();
        return 0;
    }

    public long Accept(Task task, bool nonBlocking, out UnixSocket? accepted)
    {
        accepted = null;
        if (!IsConnectionBased)
            return -Errno.EOPNOTSUPP;
        if (!IsListening)
            return -Errno.EINVAL;
        while (true)
        {
            lock (_lock)
            {
                if (_backlog.TryDequeue(out accepted))
                    break;
            }
            if (ReceiveShut)
                return -Errno.EINVAL;
            if (nonBlocking)
                return -Errno.EAGAIN;
            long r = Result(_changed.Wait(task, this, static s => s._backlog.Count > 0 || s.ReceiveShut, true, DeadlineAfter(task, ReceiveTimeoutNs)));
            if (r < 0)
                return r;
        }
        _changed.WakeAll();
        return 0;
    }

    private static long DeadlineAfter(Task task, long timeoutNs) => timeoutNs == 0 ? Clock.Never : Deadline.After(task.Machine.Clock.MonotonicNs, timeoutNs);

    private static long Result(WaitResult r) => r switch { WaitResult.Ok => 0, WaitResult.TimedOut => -Errno.EAGAIN, _ => -Errno.ERESTARTSYS };

    /// <summary>connect(2) to a socket that was found by name.</summary>
    public long Connect(Task task, UnixSocket target, bool nonBlocking)
    {
        if (target.Type != Type)
            return -Errno.EPROTOTYPE;
        if (!IsConnectionBased)
        {
            if (target.Peer is { } other && !ReferenceEquals(other, this))
                return -Errno.EPERM;
            Volatile.Write(ref _peer, target);
            _changed.WakeAll();
            return 0;
        }
        if (IsListening)
            return -Errno.EINVAL;
        if (Peer is not null)
            return -Errno.EISCONN;
        while (true)
        {
            if (!target.IsListening || target.IsClosed || target.ReceiveShut)
                return -Errno.ECONNREFUSED;
            if (target.TryEnqueueConnection(task, this))
                break;
            if (nonBlocking)
                return -Errno.EAGAIN;
            long r = Result(target._changed.Wait(task, target, static t => t.IsClosed || t._backlog.Count <= t._backlogLimit, true, DeadlineAfter(task, SendTimeoutNs)));
            if (r < 0)
                return r;
        }
        target._changed.WakeAll();
        _changed.WakeAll();
        return 0;
    }

    private bool TryEnqueueConnection(Task task, UnixSocket client)
    {
        UnixSocket server = Create(task, Type, 0);
        server._local = Local;
        server.Credentials = Credentials;
        server._peer = client;
        client.Credentials = PeerCredentials.Of(task);
        lock (_lock)
        {
            if (!_closed && _backlog.Count <= _backlogLimit && server.TryCharge(_memory))
            {
                client._peer = server;
                _backlog.Enqueue(server);
                return true;
            }
        }
        server._peer = null;
        server.Put();
        return false;
    }

    /// <summary>connect to AF_UNSPEC: a datagram socket has no peer any more.</summary>
    public long Disconnect()
    {
        if (IsConnectionBased)
            return -Errno.EINVAL;
        Volatile.Write(ref _peer, null);
        return 0;
    }

    /// <summary>False: it has a name already, which another thread may have given it at this moment.</summary>
    internal bool TrySetLocal(UnixAddress address) => Interlocked.CompareExchange(ref _local, address, null) is null;

    public long Shutdown(int how)
    {
        const int SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2;
        if (how is < SHUT_RD or > SHUT_RDWR)
            return -Errno.EINVAL;
        if (IsConnectionBased && Peer is null && !IsListening)
            return -Errno.ENOTCONN;
        bool read = how != SHUT_WR, write = how != SHUT_RD;
        MarkShut(read, write);
        if (IsConnectionBased)
            Peer?.MarkShut(read: write, write: read);
        return 0;
    }

    private void MarkShut(bool read, bool write)
    {
        lock (_lock)
        {
            _receiveShut |= read;
            _sendShut |= write;
        }
        _changed.WakeAll();
    }

    /// <summary>SO_ERROR: the pending error, which is cleared.</summary>
    public int TakeError() => Interlocked.Exchange(ref _error, 0);

    public override PollEvents Poll(Task task, PollTable? table)
    {
        table?.Add(_changed);
        UnixSocket? peer = Peer;
        // Room at the other end is announced by its queue.
        if (peer is not null)
            table?.Add(peer._changed);
        PollEvents events = PollEvents.None;
        if (IsListening)
            return _backlog.Count > 0 ? PollEvents.Readable : PollEvents.None;
        if (Volatile.Read(ref _error) != 0)
            events |= PollEvents.Error;
        if (ReceiveShut && SendShut)
            events |= PollEvents.HangUp;
        if (ReceiveShut)
            events |= PollEvents.ReadHangUp | PollEvents.Readable;
        if (_received.Count > 0)
            events |= PollEvents.Readable;
        if (IsConnectionBased && peer is null)
            events |= PollEvents.HangUp;
        if (peer is null || peer.HasRoomToAnnounce(this) || SendShut)
            events |= PollEvents.Writable;
        return events;
    }

    private bool HasRoomToAnnounce(UnixSocket sender) =>
        IsConnectionBased ? QueuedMemory * 4 <= sender.SendBuffer : _received.Count <= MaxDatagrams;

    public override long Ioctl(Task task, uint command, ulong argument)
    {
        const uint SIOCINQ = 0x541B, SIOCOUTQ = 0x5411;
        int value;
        switch (command)
        {
            case SIOCINQ:
                if (IsListening)
                    return -Errno.EINVAL;
                lock (_lock)
                    value = IsStream ? _queuedBytes : _received.First?.Value.Data.Length ?? 0;
                break;
            case SIOCOUTQ:
                value = Peer?.QueuedBytes ?? 0;
                break;
            default:
                return -Errno.ENOTTY;
        }
        return task.TryWrite(argument, value) ? 0 : -Errno.EFAULT;
    }

    /// <summary>
    /// Who is to put the files that this socket holds at its last close, instead of the socket itself: sockets may wait in sockets to any depth, and a
    /// close within a close within a close would use up the stack. Set by the one thread that closes this socket.
    /// </summary>
    private Stack<OpenFile>? _orphans;

    private void PutOrphans(OpenFile[] files)
    {
        if (_orphans is not null)
        {
            foreach (OpenFile file in files)
                _orphans.Push(file);
            return;
        }
        var left = new Stack<OpenFile>(files);
        while (left.TryPop(out OpenFile? file))
        {
            if (file is not UnixSocket socket)
            {
                file.Put();
            }
            else if (socket.DropReference())
            {
                socket._orphans = left;
                socket.Close();
            }
        }
    }

    protected override void Release()
    {
        SocketMessage[] messages;
        UnixSocket[] waiting;
        lock (_lock)
        {
            _closed = _receiveShut = _sendShut = true;
            messages = [.. _received];
            _received.Clear();
            _queuedBytes = 0;
            waiting = [.. _backlog];
            _backlog.Clear();
        }
        foreach (SocketMessage message in messages)
            _memory.Uncharge(message.Cost);
        PutOrphans([.. messages.SelectMany(static message => message.TakeFiles()), .. waiting]);
        if (IsConnectionBased && Peer is { } peer)
        {
            // What the other end sent and nobody read is lost: it hears of a reset (unix_release_sock).
            if (messages.Length > 0 || waiting.Length > 0)
                Volatile.Write(ref peer._error, Errno.ECONNRESET);
            peer.MarkShut(read: true, write: true);
        }
        // Or a closed socket would be kept by the next one that was connected to it, and that by the next.
        Volatile.Write(ref _peer, null);
        _changed.WakeAll();
        if (Local is { IsAbstract: true } && Path.Dentry is { } dentry)
            dentry.Filesystem.Machine.Vfs.AbstractSockets.Remove(this);
    }
}

/// <summary>The abstract names of a machine's Unix sockets.</summary>
/// <param name="automaticNames">How many there are for those who ask for none: those of five hexadecimal digits.</param>
internal sealed class AbstractSockets(uint automaticNames = 1 << 20)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, UnixSocket> _byName = new(StringComparer.Ordinal);
    private uint _lastAutomatic;

    /// <summary>Gives a socket a name: 0; -EADDRINUSE; -EINVAL: it has one.</summary>
    public long Add(UnixAddress address, UnixSocket socket)
    {
        lock (_lock)
        {
            if (_byName.ContainsKey(address.Name))
                return -Errno.EADDRINUSE;
            if (!socket.TrySetLocal(address))
                return -Errno.EINVAL;
            _byName.Add(address.Name, socket);
            return 0;
        }
    }

    /// <summary>Gives a socket a name of five hexadecimal digits, for a bind without one: 0; -ENOSPC: all are taken (unix_autobind). One that it has it keeps.</summary>
    public long AddAutomatic(UnixSocket socket)
    {
        lock (_lock)
        {
            for (uint tries = 0; tries < automaticNames; tries++)
            {
                string name = "\0" + (++_lastAutomatic % automaticNames).ToString("x5", System.Globalization.CultureInfo.InvariantCulture);
                if (_byName.ContainsKey(name))
                    continue;
                if (socket.TrySetLocal(new UnixAddress(name)))
                    _byName.Add(name, socket);
                return 0;
            }
            return -Errno.ENOSPC;
        }
    }

    public UnixSocket? Find(string name)
    {
        lock (_lock)
            return _byName.GetValueOrDefault(name);
    }

    public void Remove(UnixSocket socket)
    {
        lock (_lock)
        {
            if (socket.Local is { } local && _byName.TryGetValue(local.Name, out UnixSocket? there) && ReferenceEquals(there, socket))
                _byName.Remove(local.Name);
        }
    }
}
