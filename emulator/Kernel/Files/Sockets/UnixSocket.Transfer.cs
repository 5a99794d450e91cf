using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.Sockets.SocketAbi;

namespace Emulator.Kernel.Files.Sockets;

/// <summary>Sending and receiving.</summary>
internal sealed partial class UnixSocket
{
    /// <summary>net.unix.max_dgram_qlen.</summary>
    private const int MaxDatagrams = 10;

    public override long Read(Task task, Span<byte> buffer, ref long position)
    {
        long r = Receive(task, buffer, 0, out ReceivedInfo info);
        foreach (OpenFile file in info.Files ?? [])
            file.Put();
        return r;
    }

    public override long Write(Task task, ReadOnlySpan<byte> buffer, ref long position) => Send(task, buffer, 0, null, []);

    /// <summary>Sends bytes, and files of which this takes the references over, also when it fails.</summary>
    /// <param name="task">The sender.</param>
    /// <param name="data">A stream takes as much as it can; other types take all or nothing.</param>
    /// <param name="flags">MSG_*.</param>
    /// <param name="target">The receiver of a datagram; null means the peer.</param>
    /// <param name="files">Files to pass.</param>
    public long Send(Task task, ReadOnlySpan<byte> data, int flags, UnixSocket? target, OpenFile[] files)
    {
        int done = 0;
        bool handedOver = false;
        long r;
        do
        {
            r = CheckSend(data.Length, target, out UnixSocket? to);
            if (r < 0)
                break;
            r = to!.Enqueue(this, PeerCredentials.Of(task), data[done..], handedOver ? [] : files);
            if (r >= 0)
            {
                handedOver = true;
                done += (int)r;
                to._changed.WakeAll();
                continue;
            }
            if (r != -Errno.EAGAIN)
                break;
            r = WaitForRoom(task, to, data.Length - done, flags);
        }
        while (r >= 0 && (done < data.Length || !handedOver));
        if (!handedOver)
        {
            foreach (OpenFile file in files)
                file.Put();
        }
        if (r == -Errno.EPIPE && done == 0 && IsStream && (flags & MSG_NOSIGNAL) == 0)
            task.Send(new SignalInfo(Signal.SIGPIPE, SignalInfo.SI_USER) { Pid = task.Process.Pid });
        return r < 0 && done == 0 ? r : done;
    }

    private long CheckSend(int length, UnixSocket? target, out UnixSocket? to)
    {
        to = target ?? Peer;
        if (SendShut)
            return -Errno.EPIPE;
        if (to is null)
            return -Errno.ENOTCONN;
        if (!IsStream && length > SendBuffer)
            return -Errno.EMSGSIZE;
        if (IsConnectionBased)
            return to.IsClosed || to.ReceiveShut ? -Errno.EPIPE : 0;
        return to.IsClosed ? -Errno.ECONNREFUSED : to.ReceiveShut ? -Errno.EPIPE : 0;
    }

    private long WaitForRoom(Task task, UnixSocket to, int length, int flags)
    {
        if (IsNonBlocking || (flags & MSG_DONTWAIT) != 0)
            return -Errno.EAGAIN;
        return Result(to._changed.Wait(
            task, (to, Sender: this, length), static s => s.to.IsClosed || s.to.ReceiveShut || s.Sender.SendShut || s.to.HasRoom(s.length, s.Sender.SendBuffer), true, DeadlineAfter(task, SendTimeoutNs)));
    }

    /// <summary>What a message takes beside its bytes (SKB_TRUESIZE): without it a queue of empty packets would have no end.</summary>
    private const int MessageOverhead = 256;

    /// <summary>Memory of what is queued (sk_wmem_alloc).</summary>
    private long QueuedMemory => QueuedBytes + (long)_received.Count * MessageOverhead;

    /// <summary>Whether a message, or some of a stream, may be queued now. Who waits asks the same as who queues, or it would wait for nothing again and again.</summary>
    private bool HasRoom(int length, int sendBuffer)
    {
        if (!IsConnectionBased)
            return _received.Count < MaxDatagrams;
        long queued = QueuedBytes;
        return QueuedMemory < sendBuffer && (IsStream || queued == 0 || queued + length <= sendBuffer);
    }

    /// <summary>Puts a message, or the part of a stream for which there is room, into this socket's queue. -EAGAIN: no room.</summary>
    private long Enqueue(UnixSocket sender, PeerCredentials credentials, ReadOnlySpan<byte> data, OpenFile[] files)
    {
        lock (_lock)
        {
            if (_closed)
                return IsConnectionBased ? -Errno.EPIPE : -Errno.ECONNREFUSED;
            // Read once: another thread may change it with setsockopt.
            int limit = sender.SendBuffer;
            if (!HasRoom(data.Length, limit))
                return -Errno.EAGAIN;
            int n = IsStream ? Math.Min(data.Length, limit - _queuedBytes) : data.Length;
            if (n == 0 && IsStream && files.Length == 0)
                return data.IsEmpty ? 0 : -Errno.EAGAIN;
            var message = new SocketMessage(data[..n].ToArray(), sender.Local, credentials, files);
            if (!_memory.TryCharge(message.Cost))
                return -Errno.ENOBUFS;
            _received.AddLast(message);
            _queuedBytes += n;
            return n;
        }
    }

    public long Receive(Task task, Span<byte> buffer, int flags, out ReceivedInfo info)
    {
        info = default;
        if ((flags & MSG_OOB) != 0)
            return -Errno.EOPNOTSUPP;
        if (IsConnectionBased && Peer is null)
            return IsStream ? -Errno.EINVAL : -Errno.ENOTCONN;
        int done = 0;
        while (true)
        {
            bool ended = ReceiveShut; // Before the look at the queue.
            int n = IsStream ? TakeBytes(buffer[done..], flags, ref info) : TakePacket(buffer, flags, ref info);
            if (n >= 0)
            {
                if ((flags & MSG_PEEK) == 0)
                    _changed.WakeAll();
                done += n;
                bool more = IsStream && (flags & MSG_WAITALL) != 0 && (flags & MSG_PEEK) == 0 && info.Files is null && done < buffer.Length;
                if (!more)
                    return done;
            }
            if (TakeError() is > 0 and var error)
                return done > 0 ? done : -error;
            if (ended)
                return done;
            if (IsNonBlocking || (flags & MSG_DONTWAIT) != 0)
                return done > 0 ? done : -Errno.EAGAIN;
            if (buffer.IsEmpty && IsStream)
                return 0;
            long r = Result(_changed.Wait(task, this, static s => s._received.Count > 0 || s.ReceiveShut || s._error != 0, true, DeadlineAfter(task, ReceiveTimeoutNs)));
            if (r < 0)
                return done > 0 ? done : r;
        }
    }

    /// <summary>Bytes of a stream, up to where the sender or the passed files change. -1: nothing there.</summary>
    private int TakeBytes(Span<byte> buffer, int flags, ref ReceivedInfo info)
    {
        bool peek = (flags & MSG_PEEK) != 0;
        int done = 0;
        lock (_lock)
        {
            LinkedListNode<SocketMessage>? node = _received.First;
            if (node is null)
                return -1;
            while (node is not null && done < buffer.Length)
            {
                SocketMessage m = node.Value;
                if (info.HasMessage && ((PassCredentials && m.Credentials != info.Credentials) || m.HasFiles || info.Files is not null))
                    break;
                Describe(m, peek, ref info);
                int n = Math.Min(m.Remaining, buffer.Length - done);
                m.Data.AsSpan(m.Offset, n).CopyTo(buffer[done..]);
                done += n;
                LinkedListNode<SocketMessage>? next = node.Next;
                if (!peek)
                {
                    m.Offset += n;
                    _queuedBytes -= n;
                    if (m.Remaining == 0)
                    {
                        _received.Remove(node);
                        _memory.Uncharge(m.Cost);
                    }
                }
                node = next;
            }
        }
        return done;
    }

    /// <summary>One whole packet; what does not fit is lost. -1: nothing there.</summary>
    private int TakePacket(Span<byte> buffer, int flags, ref ReceivedInfo info)
    {
        bool peek = (flags & MSG_PEEK) != 0;
        SocketMessage m;
        lock (_lock)
        {
            if (_received.First is not { } first)
                return -1;
            m = first.Value;
            Describe(m, peek, ref info);
            if (!peek)
            {
                _received.RemoveFirst();
                _memory.Uncharge(m.Cost);
                _queuedBytes -= m.Data.Length;
            }
        }
        int n = Math.Min(buffer.Length, m.Data.Length);
        m.Data.AsSpan(0, n).CopyTo(buffer);
        info.FullLength = m.Data.Length;
        if (n < m.Data.Length)
            info.Flags |= MSG_TRUNC;
        if (Type == SOCK_SEQPACKET)
            info.Flags |= MSG_EOR;
        return n;
    }

    private static void Describe(SocketMessage m, bool peek, ref ReceivedInfo info)
    {
        info.HasMessage = true;
        info.Sender = m.Sender;
        info.Credentials = m.Credentials;
        if (m.HasFiles)
            info.Files = peek ? m.CopyFiles() : m.TakeFiles();
    }
}
