using System.Buffers.Binary;
using System.Text;
using Emulator.Kernel.Files;
using Emulator.Kernel.Files.Sockets;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.FileAbi;
using static Emulator.Kernel.Files.Sockets.SocketAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>Making, naming and connecting sockets (net/socket.c). Only AF_UNIX exists: other families answer EAFNOSUPPORT.</summary>
internal static class SocketSyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(41, "socket", "int,hex,int", Socket),
        new(42, "connect", "fd,sockaddr,size", Connect),
        new(43, "accept", "fd,out:sockaddr,ptr", static (Task t, in SyscallArgs a) => Accept(t, (int)a.A0, a.A1, a.A2, 0)),
        new(48, "shutdown", "fd,int", Shutdown),
        new(49, "bind", "fd,sockaddr,size", Bind),
        new(50, "listen", "fd,int", Listen),
        new(51, "getsockname", "fd,out:sockaddr,ptr", static (Task t, in SyscallArgs a) => Name(t, a, ofPeer: false)),
        new(52, "getpeername", "fd,out:sockaddr,ptr", static (Task t, in SyscallArgs a) => Name(t, a, ofPeer: true)),
        new(53, "socketpair", "int,hex,int,out:ptr", SocketPair),
        new(288, "accept4", "fd,out:sockaddr,ptr,openflags", static (Task t, in SyscallArgs a) => Accept(t, (int)a.A0, a.A1, a.A2, (int)a.A3)),
    ];

    /// <summary>The socket behind a descriptor: 0, -EBADF or -ENOTSOCK.</summary>
    internal static long Find(in FileReference reference, out UnixSocket? socket)
    {
        socket = reference.File as UnixSocket;
        return socket is not null ? 0 : reference.File is null ? -Errno.EBADF : -Errno.ENOTSOCK;
    }

    private static long CheckKind(int family, ref int type, int protocol, out int flags)
    {
        flags = type & ~SOCK_TYPE_MASK;
        type &= SOCK_TYPE_MASK;
        if ((flags & ~(O_NONBLOCK | O_CLOEXEC)) != 0)
            return -Errno.EINVAL;
        if (family != AF_UNIX)
            return -Errno.EAFNOSUPPORT;
        if (protocol is not (0 or AF_UNIX))
            return -Errno.EPROTONOSUPPORT;
        if (type == SOCK_RAW)
            type = SOCK_DGRAM;
        return type is SOCK_STREAM or SOCK_DGRAM or SOCK_SEQPACKET ? 0 : -Errno.ESOCKTNOSUPPORT;
    }

    private static long Socket(Task t, in SyscallArgs a)
    {
        int type = (int)a.A1;
        long r = CheckKind((int)a.A0, ref type, (int)a.A2, out int flags);
        return r < 0 ? r : DescriptorSyscalls.Install(t, UnixSocket.Create(t, type, flags), flags);
    }

    private static long SocketPair(Task t, in SyscallArgs a)
    {
        int type = (int)a.A1;
        long r = CheckKind((int)a.A0, ref type, (int)a.A2, out int flags);
        if (r < 0)
            return r;
        (UnixSocket first, UnixSocket second) = UnixSocket.CreatePair(t, type, flags);
        return EventSyscalls.InstallPair(t, first, second, a.A3, flags);
    }

    /// <summary>Reads struct sockaddr_un (net/unix/af_unix.c:unix_mkname). A null address means AF_UNIX without a name.</summary>
    internal static long ReadAddress(Task t, ulong pointer, uint length, out int family, out UnixAddress? address)
    {
        family = AF_UNSPEC;
        address = null;
        const int MaxAddress = 128;
        if (length > MaxAddress)
            return -Errno.EINVAL;
        // In bounds: 128 bytes at most.
        Span<byte> raw = stackalloc byte[(int)length];
        if (!t.CopyFromUser(pointer, raw))
            return -Errno.EFAULT;
        if (length < 2)
            return -Errno.EINVAL;
        family = BinaryPrimitives.ReadUInt16LittleEndian(raw);
        if (family != AF_UNIX || length == 2)
            return length > AddressSize ? -Errno.EINVAL : 0;
        if (length > AddressSize)
            return -Errno.EINVAL;
        ReadOnlySpan<byte> name = raw[2..];
        if (name[0] != 0)
        {
            int end = name.IndexOf((byte)0);
            name = end < 0 ? name : name[..end];
        }
        address = new UnixAddress(Encoding.Latin1.GetString(name));
        return 0;
    }

    /// <summary>Writes an address and its true length; what does not fit is cut (net/socket.c:move_addr_to_user).</summary>
    internal static long WriteAddress(Task t, UnixAddress? address, ulong pointer, ulong lengthPointer)
    {
        if (pointer == 0)
            return 0;
        if (!t.TryRead(lengthPointer, out int room))
            return -Errno.EFAULT;
        if (room < 0)
            return -Errno.EINVAL;
        byte[] raw = UnixAddress.Encode(address);
        if (!t.CopyToUser(pointer, raw.AsSpan(0, Math.Min(room, raw.Length))))
            return -Errno.EFAULT;
        return t.TryWrite(lengthPointer, raw.Length) ? 0 : -Errno.EFAULT;
    }

    private static long Bind(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        long r = Find(reference, out UnixSocket? socket);
        if (r == 0)
            r = ReadAddress(t, a.A1, (uint)a.A2, out int family, out UnixAddress? address) is < 0 and var e ? e : family != AF_UNIX ? -Errno.EINVAL : BindTo(t, socket!, address);
        return r;
    }

    private static long BindTo(Task t, UnixSocket socket, UnixAddress? address)
    {
        Vfs vfs = t.Machine.Vfs;
        if (address is null)
            return socket.Local is not null ? 0 : vfs.AbstractSockets.AddAutomatic(socket);
        if (address.IsAbstract)
            return socket.Local is not null ? -Errno.EINVAL : vfs.AbstractSockets.Add(address, socket);
        long r = vfs.WalkParent(t, AT_FDCWD, address.Name, out WalkResult at);
        if (r < 0)
            return r;
        if (at.Last.Length == 0 || at.LastIsDots || at.TrailingSlash || vfs.LookupChild(t, at.Directory, at.Last, out _) == 0)
            return -Errno.EADDRINUSE;
        r = vfs.CheckPermission(t, at.Directory, W_OK | X_OK);
        if (r < 0)
            return r;
        if (socket.Local is not null)
            return -Errno.EINVAL;
        r = at.Directory.Inode.Create(t, at.Directory.Dentry!, at.Last, S_IFSOCK | (S_IRWXUGO & ~(uint)t.Fs.Umask), 0, out Dentry? child);
        if (r < 0)
            return r == -Errno.EEXIST ? -Errno.EADDRINUSE : r;
        child!.Inode.Attach(socket);
        socket.BoundName = child;
        return socket.TrySetLocal(address) ? 0 : -Errno.EINVAL;
    }

    /// <summary>The socket that an address names.</summary>
    internal static long FindByAddress(Task t, UnixAddress address, out UnixSocket? target)
    {
        Vfs vfs = t.Machine.Vfs;
        target = null;
        if (address.IsAbstract)
        {
            target = vfs.AbstractSockets.Find(address.Name);
            return target is null ? -Errno.ECONNREFUSED : 0;
        }
        long r = vfs.Walk(t, AT_FDCWD, address.Name, WalkFlags.Follow, out Files.Path path);
        if (r == 0)
            r = vfs.CheckAccess(t, path, W_OK);
        if (r < 0)
            return r;
        target = path.Inode.Type == S_IFSOCK ? path.Inode.Attachment as UnixSocket : null;
        return target is null or { IsClosed: true } ? -Errno.ECONNREFUSED : 0;
    }

    private static long Connect(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        long r = Find(reference, out UnixSocket? socket);
        if (r < 0)
            return r;
        r = ReadAddress(t, a.A1, (uint)a.A2, out int family, out UnixAddress? address);
        if (r < 0)
            return r;
        if (family == AF_UNSPEC)
            return socket!.Disconnect();
        if (family != AF_UNIX || address is null)
            return -Errno.EINVAL;
        r = FindByAddress(t, address, out UnixSocket? target);
        return r < 0 ? r : socket!.Connect(t, target!, socket.IsNonBlocking);
    }

    private static long Listen(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        long r = Find(reference, out UnixSocket? socket);
        return r < 0 ? r : socket!.Listen(t, (int)a.A1);
    }

    private static long Accept(Task t, int fd, ulong address, ulong length, int flags)
    {
        if ((flags & ~(O_NONBLOCK | O_CLOEXEC)) != 0)
            return -Errno.EINVAL;
        using FileReference reference = t.Files.GetForIo(fd);
        long r = Find(reference, out UnixSocket? socket);
        if (r == 0)
            r = socket!.Accept(t, socket.IsNonBlocking, out UnixSocket? accepted) is < 0 and var e ? e : InstallAccepted(t, accepted!, address, length, flags);
        return r;
    }

    private static long InstallAccepted(Task t, UnixSocket accepted, ulong address, ulong length, int flags)
    {
        accepted.Flags |= flags & O_NONBLOCK;
        UnixAddress? peer = accepted.Peer?.Local;
        long fd = DescriptorSyscalls.Install(t, accepted, flags);
        if (fd < 0)
            return fd;
        long r = WriteAddress(t, peer, address, length);
        if (r == 0)
            return fd;
        t.Files.Close(t, (int)fd);
        return r;
    }

    private static long Shutdown(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        long r = Find(reference, out UnixSocket? socket);
        return r < 0 ? r : socket!.Shutdown((int)a.A1);
    }

    private static long Name(Task t, in SyscallArgs a, bool ofPeer)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        long r = Find(reference, out UnixSocket? socket);
        if (r < 0)
            return r;
        // Looked at once: another thread may disconnect it.
        UnixSocket? named = ofPeer ? socket!.Peer : socket;
        if (named is null)
            return -Errno.ENOTCONN;
        return a.A1 == 0 ? -Errno.EFAULT : WriteAddress(t, named.Local, a.A1, a.A2);
    }
}
