using System.Buffers;
using System.Runtime.InteropServices;
using Emulator.Kernel.Files;
using Emulator.Kernel.Files.Sockets;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;
using static Emulator.Kernel.Files.Sockets.SocketAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>The send and receive families (net/socket.c, net/core/scm.c).</summary>
internal static class SocketMessageSyscalls
{
    /// <summary>The most that one message or one turn of a stream moves.</summary>
    private const int ChunkSize = 256 << 10;
    private const int ControlHeaderSize = 16;
    private const int MaxControl = 20_480;

    internal static readonly SyscallDefinition[] Table =
    [
        new(44, "sendto", "fd,buf,size,hex,sockaddr,size", SendTo),
        new(45, "recvfrom", "fd,out:buf,size,hex,out:sockaddr,ptr", ReceiveFrom),
        new(46, "sendmsg", "fd,ptr,hex", static (Task t, in SyscallArgs a) => SendMessage(t, (int)a.A0, a.A1, (int)a.A2)),
        new(47, "recvmsg", "fd,ptr,hex", static (Task t, in SyscallArgs a) => ReceiveMessage(t, (int)a.A0, a.A1, (int)a.A2)),
        new(299, "recvmmsg", "fd,ptr,size,hex,timespec", ReceiveMany),
        new(307, "sendmmsg", "fd,ptr,size,hex", SendMany),
    ];

    /// <summary>struct msghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct MessageHeader
    {
        public ulong Name;
        public uint NameLength;
        public uint Pad;
        public ulong Vectors;
        public ulong VectorCount;
        public ulong Control;
        public ulong ControlLength;
        public int Flags;
        public int Pad2;
    }

    /// <summary>struct cmsghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly record struct ControlHeader(ulong Length, int Level, int Type);

    private static int Align(int length) => (length + 7) & ~7;

    private static long SendTo(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        long r = SocketSyscalls.Find(reference, out UnixSocket? socket);
        if (r < 0)
            return r;
        IoVector[] vector = new IoVector[1];
        long total = UserTransfer.OneVector(a.A1, a.A2, vector);
        if (total < 0)
            return total;
        UnixSocket? target = null;
        if (a.A4 != 0)
        {
            r = FindTarget(t, socket!, a.A4, (uint)a.A5, out target);
            if (r < 0)
                return r;
        }
        return Send(t, socket!, vector, total, (int)a.A3, target, []);
    }

    /// <summary>The receiver that a send names; connected streams take no name.</summary>
    private static long FindTarget(Task t, UnixSocket socket, ulong address, uint length, out UnixSocket? target)
    {
        target = null;
        long r = SocketSyscalls.ReadAddress(t, address, length, out int family, out UnixAddress? name);
        if (r < 0)
            return r;
        if (socket.Type != SOCK_DGRAM)
            return socket.Type == SOCK_SEQPACKET ? 0 : socket.Peer is not null ? -Errno.EISCONN : -Errno.EOPNOTSUPP;
        if (family != AF_UNIX || name is null)
            return -Errno.EINVAL;
        r = SocketSyscalls.FindByAddress(t, name, out target);
        if (r == 0 && target!.Type != SOCK_DGRAM)
            r = -Errno.EPROTOTYPE;
        return r == 0 && target!.Peer is { } other && !ReferenceEquals(other, socket) ? -Errno.EPERM : r;
    }

    private static long Send(Task t, UnixSocket socket, ReadOnlySpan<IoVector> vectors, long total, int flags, UnixSocket? target, OpenFile[] files)
    {
        if (!socket.IsStream && total > ChunkSize)
        {
            Drop(files);
            return -Errno.EMSGSIZE;
        }
        byte[] buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(total, ChunkSize));
        try
        {
            var from = new UserTransfer.Cursor(vectors);
            long done = 0;
            do
            {
                int chunk = (int)Math.Min(total - done, ChunkSize);
                if (from.CopyFromUser(t, buffer.AsSpan(0, chunk)) < chunk)
                {
                    Drop(files);
                    return done > 0 ? done : -Errno.EFAULT;
                }
                long n = socket.Send(t, buffer.AsSpan(0, chunk), flags, target, files);
                files = [];
                if (n < 0)
                    return done > 0 ? done : n;
                done += n;
                if (n < chunk)
                    break;
            }
            while (done < total);
            return done;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static void Drop(OpenFile[]? files)
    {
        foreach (OpenFile file in files ?? [])
            file.Put();
    }

    private static long SendMessage(Task t, int fd, ulong address, int flags)
    {
        using FileReference reference = t.Files.GetForIo(fd);
        long r = SocketSyscalls.Find(reference, out UnixSocket? socket);
        if (r < 0)
            return r;
        if (!t.TryRead(address, out MessageHeader header))
            return -Errno.EFAULT;
        long total = ReadVectors(t, header, out IoVector[] vectors);
        if (total < 0)
            return total;
        UnixSocket? target = null;
        if (header.Name != 0 && header.NameLength != 0)
        {
            r = FindTarget(t, socket!, header.Name, header.NameLength, out target);
            if (r < 0)
                return r;
        }
        r = ReadControl(t, header, out OpenFile[] files);
        return r < 0 ? r : Send(t, socket!, vectors, total, flags, target, files);
    }

    private static long ReadVectors(Task t, in MessageHeader header, out IoVector[] vectors)
    {
        vectors = [];
        return header.VectorCount > UserTransfer.MaxVectors ? -Errno.EMSGSIZE : UserTransfer.ReadVectors(t, header.Vectors, header.VectorCount, out vectors);
    }

    /// <summary>Reads the control messages of a send: files to pass, and credentials, which may only state the truth.</summary>
    private static long ReadControl(Task t, in MessageHeader header, out OpenFile[] files)
    {
        files = [];
        if (header.Control == 0 || header.ControlLength == 0)
            return 0;
        if (header.ControlLength > MaxControl)
            return -Errno.ENOBUFS;
        byte[] control = new byte[(int)header.ControlLength];
        if (!t.CopyFromUser(header.Control, control))
            return -Errno.EFAULT;
        var passed = new List<OpenFile>();
        long r = 0;
        for (int at = 0; r == 0 && at + ControlHeaderSize <= control.Length;)
        {
            // In bounds: a header lies before the end, and what it says of its length is compared with the rest.
            ControlHeader c = MemoryMarshal.Read<ControlHeader>(control.AsSpan(at));
            if (c.Length < ControlHeaderSize || c.Length > (ulong)(control.Length - at))
            {
                r = -Errno.EINVAL;
                break;
            }
            ReadOnlySpan<byte> data = control.AsSpan(at + ControlHeaderSize, (int)c.Length - ControlHeaderSize);
            if (c.Level == SOL_SOCKET)
            {
                r = c.Type switch
                {
                    SCM_RIGHTS => TakeDescriptors(t, MemoryMarshal.Cast<byte, int>(data), passed),
                    SCM_CREDENTIALS => CheckCredentials(t, data),
                    _ => -Errno.EINVAL,
                };
            }
            at += Align((int)c.Length);
        }
        files = [.. passed];
        if (r < 0)
        {
            Drop(files);
            files = [];
        }
        return r;
    }

    private static long TakeDescriptors(Task t, ReadOnlySpan<int> descriptors, List<OpenFile> passed)
    {
        if (passed.Count + descriptors.Length > MaxPassedFiles)
            return -Errno.EINVAL;
        foreach (int fd in descriptors)
        {
            using FileReference reference = t.Files.Get(fd);
            if (reference.File is not { } file)
                return -Errno.EBADF;
            passed.Add(file.Get());
        }
        return 0;
    }

    private static long CheckCredentials(Task t, ReadOnlySpan<byte> data)
    {
        if (data.Length != 12)
            return -Errno.EINVAL;
        PeerCredentials stated = MemoryMarshal.Read<PeerCredentials>(data);
        Credentials c = t.Credentials;
        bool mayLie = c.EffectiveUid == 0;
        return mayLie || (stated.Pid == t.Process.Pid && (stated.Uid == c.Uid || stated.Uid == c.EffectiveUid || stated.Uid == c.SavedUid)
            && (stated.Gid == c.Gid || stated.Gid == c.EffectiveGid || stated.Gid == c.SavedGid)) ? 0 : -Errno.EPERM;
    }

    private static long ReceiveFrom(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        long r = SocketSyscalls.Find(reference, out UnixSocket? socket);
        if (r < 0)
            return r;
        Span<IoVector> vector = stackalloc IoVector[1];
        long total = UserTransfer.OneVector(a.A1, a.A2, vector);
        if (total < 0)
            return total;
        long n = Receive(t, socket!, vector, total, (int)a.A3, out ReceivedInfo info);
        Drop(info.Files);
        if (n < 0 || a.A4 == 0)
            return n;
        // A stream's peer is not told again with every byte.
        if (socket!.IsStream)
            return t.TryWrite(a.A5, 0) ? n : -Errno.EFAULT;
        r = SocketSyscalls.WriteAddress(t, info.Sender, a.A4, a.A5);
        return r < 0 ? r : n;
    }

    private static long Receive(Task t, UnixSocket socket, ReadOnlySpan<IoVector> vectors, long total, int flags, out ReceivedInfo info)
    {
        int length = (int)Math.Min(total, ChunkSize);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(length);
        try
        {
            long n = socket.Receive(t, buffer.AsSpan(0, length), flags, out info);
            if (n <= 0)
                return n == 0 && (flags & MSG_TRUNC) != 0 && !socket.IsStream ? info.FullLength : n;
            if (new UserTransfer.Cursor(vectors).CopyToUser(t, buffer.AsSpan(0, (int)n)) < n)
                return -Errno.EFAULT;
            return (flags & MSG_TRUNC) != 0 && !socket.IsStream ? info.FullLength : n;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static long ReceiveMessage(Task t, int fd, ulong address, int flags)
    {
        using FileReference reference = t.Files.GetForIo(fd);
        long r = SocketSyscalls.Find(reference, out UnixSocket? socket);
        if (r < 0)
            return r;
        if (!t.TryRead(address, out MessageHeader header))
            return -Errno.EFAULT;
        long total = ReadVectors(t, header, out IoVector[] vectors);
        if (total < 0)
            return total;
        long n = Receive(t, socket!, vectors, total, flags, out ReceivedInfo info);
        if (n < 0)
        {
            Drop(info.Files);
            return n;
        }
        int written = WriteControl(t, socket!, header, flags, ref info);
        if (written < 0)
            return written;
        if (header.Name != 0)
        {
            byte[] raw = socket!.IsStream || info.Sender is null ? [] : UnixAddress.Encode(info.Sender);
            if (!t.CopyToUser(header.Name, raw.AsSpan(0, (int)Math.Min(header.NameLength, (uint)raw.Length))))
                return -Errno.EFAULT;
            header.NameLength = (uint)raw.Length;
        }
        header.ControlLength = (ulong)written;
        header.Flags = info.Flags | (flags & MSG_CMSG_CLOEXEC);
        return t.TryWrite(address, header) ? n : -Errno.EFAULT;
    }

    /// <summary>Writes credentials and files; what finds no room is dropped and MSG_CTRUNC says so.</summary>
    private static int WriteControl(Task t, UnixSocket socket, in MessageHeader header, int flags, ref ReceivedInfo info)
    {
        ulong room = header.Control == 0 ? 0 : header.ControlLength;
        int at = 0;
        if (socket.PassCredentials && info.HasMessage)
        {
            const int Size = ControlHeaderSize + 12;
            if (room >= Size)
            {
                if (!t.TryWrite(header.Control, new ControlHeader(Size, SOL_SOCKET, SCM_CREDENTIALS)) || !t.TryWrite(header.Control + ControlHeaderSize, info.Credentials))
                {
                    Drop(info.Files);
                    return -Errno.EFAULT;
                }
                at = (int)Math.Min(room, (ulong)Align(Size));
            }
            else
            {
                info.Flags |= MSG_CTRUNC;
            }
        }
        OpenFile[] files = info.Files ?? [];
        info.Files = null;
        if (files.Length == 0)
            return at;
        int fits = room < (ulong)(at + ControlHeaderSize) ? 0 : (int)Math.Min((ulong)files.Length, (room - (ulong)(at + ControlHeaderSize)) / sizeof(int));
        int installed = 0;
        for (int i = 0; i < files.Length; i++)
        {
            if (i >= fits || installed < i)
            {
                files[i].Put();
                continue;
            }
            long fd = DescriptorSyscalls.Install(t, files[i], (flags & MSG_CMSG_CLOEXEC) != 0 ? O_CLOEXEC : 0);
            if (fd >= 0 && t.TryWrite(header.Control + (ulong)(at + ControlHeaderSize + (i * sizeof(int))), (int)fd))
                installed++;
            else if (fd >= 0)
                t.Files.Close(t, (int)fd);
        }
        if (installed < files.Length)
            info.Flags |= MSG_CTRUNC;
        if (installed == 0)
            return at;
        int length = ControlHeaderSize + (installed * sizeof(int));
        if (!t.TryWrite(header.Control + (ulong)at, new ControlHeader((ulong)length, SOL_SOCKET, SCM_RIGHTS)))
            return -Errno.EFAULT;
        return (int)Math.Min(room, (ulong)(at + Align(length)));
    }

    /// <summary>struct mmsghdr: a msghdr and the length it transferred, 64 bytes.</summary>
    private const ulong ManySize = 64, ManyLengthOffset = 56;

    private static long SendMany(Task t, in SyscallArgs a)
    {
        uint count = Math.Min((uint)a.A2, UserTransfer.MaxVectors);
        for (uint i = 0; i < count; i++)
        {
            ulong at = a.A1 + (i * ManySize);
            long n = SendMessage(t, (int)a.A0, at, (int)a.A3);
            if (n < 0)
                return i > 0 ? i : n;
            if (!t.TryWrite(at + ManyLengthOffset, (uint)n))
                return i > 0 ? i : -Errno.EFAULT;
        }
        return count;
    }

    private static long ReceiveMany(Task t, in SyscallArgs a)
    {
        int flags = (int)a.A3;
        long r = Timespec.ReadDeadline(t, a.A4, out long deadline);
        if (r < 0)
            return r;
        uint count = Math.Min((uint)a.A2, UserTransfer.MaxVectors);
        for (uint i = 0; i < count; i++)
        {
            ulong at = a.A1 + (i * ManySize);
            long n = ReceiveMessage(t, (int)a.A0, at, flags & ~MSG_WAITFORONE);
            if (n < 0)
                return i > 0 ? i : n;
            if (!t.TryWrite(at + ManyLengthOffset, (uint)n))
                return i > 0 ? i : -Errno.EFAULT;
            if ((flags & MSG_WAITFORONE) != 0)
                flags |= MSG_DONTWAIT;
            if (t.Machine.Clock.MonotonicNs >= deadline)
                return i + 1;
        }
        return count;
    }
}
