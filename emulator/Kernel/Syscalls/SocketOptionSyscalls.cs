using System.Runtime.InteropServices;
using Emulator.Kernel.Files;
using Emulator.Kernel.Files.Sockets;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using static Emulator.Kernel.Files.Sockets.SocketAbi;

namespace Emulator.Kernel.Syscalls;

/// <summary>setsockopt and getsockopt at SOL_SOCKET (net/core/sock.c).</summary>
internal static class SocketOptionSyscalls
{
    private const int SO_DEBUG = 1, SO_REUSEADDR = 2, SO_TYPE = 3, SO_ERROR = 4, SO_DONTROUTE = 5, SO_BROADCAST = 6, SO_SNDBUF = 7, SO_RCVBUF = 8,
        SO_KEEPALIVE = 9, SO_OOBINLINE = 10, SO_PRIORITY = 12, SO_LINGER = 13, SO_REUSEPORT = 15, SO_PASSCRED = 16, SO_PEERCRED = 17, SO_RCVLOWAT = 18,
        SO_SNDLOWAT = 19, SO_RCVTIMEO = 20, SO_SNDTIMEO = 21, SO_TIMESTAMP = 29, SO_ACCEPTCONN = 30, SO_PASSSEC = 34, SO_PROTOCOL = 38, SO_DOMAIN = 39;

    /// <summary>SOCK_MIN_SNDBUF.</summary>
    private const int MinBuffer = 4608;

    internal static readonly SyscallDefinition[] Table =
    [
        new(54, "setsockopt", "fd,int,int,ptr,size", Set),
        new(55, "getsockopt", "fd,int,int,out:ptr,ptr", Get),
    ];

    private static long Set(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        long r = SocketSyscalls.Find(reference, out UnixSocket? socket);
        if (r < 0)
            return r;
        int option = (int)a.A2, length = (int)a.A4;
        if ((int)a.A1 != SOL_SOCKET)
            return -Errno.EOPNOTSUPP;
        if (length < sizeof(int))
            return -Errno.EINVAL;
        if (!t.TryRead(a.A3, out int value))
            return -Errno.EFAULT;
        switch (option)
        {
            case SO_SNDBUF:
                socket!.SendBuffer = BufferSize(value);
                return 0;
            case SO_RCVBUF:
                socket!.ReceiveBuffer = BufferSize(value);
                return 0;
            case SO_PASSCRED:
                socket!.PassCredentials = value != 0;
                return 0;
            case SO_RCVTIMEO or SO_SNDTIMEO:
                return SetTimeout(t, socket!, option, a.A3, length);
            case SO_TYPE or SO_ERROR or SO_PROTOCOL or SO_DOMAIN or SO_ACCEPTCONN or SO_PEERCRED:
                return -Errno.ENOPROTOOPT;
            case SO_DEBUG or SO_REUSEADDR or SO_DONTROUTE or SO_BROADCAST or SO_KEEPALIVE or SO_OOBINLINE or SO_PRIORITY or SO_LINGER or SO_REUSEPORT or SO_RCVLOWAT
                or SO_TIMESTAMP or SO_PASSSEC:
                return 0; // They change nothing about an AF_UNIX socket.
            default:
                return -Errno.ENOPROTOOPT;
        }
    }

    /// <summary>Linux doubles what is asked for, to pay for its own bookkeeping (socket(7)).</summary>
    private static int BufferSize(int asked) => Math.Max(MinBuffer, Math.Clamp(asked, 0, DefaultBuffer) * 2);

    private static long SetTimeout(Task t, UnixSocket socket, int option, ulong address, int length)
    {
        if (length < Marshal.SizeOf<Timeval>())
            return -Errno.EINVAL;
        if (!t.TryRead(address, out Timeval time))
            return -Errno.EFAULT;
        if ((ulong)time.Microseconds >= 1_000_000)
            return -Errno.EDOM;
        long ns = time.Seconds < 0 ? 1 : time.ToNs();
        if (option == SO_RCVTIMEO)
            socket.ReceiveTimeoutNs = ns;
        else
            socket.SendTimeoutNs = ns;
        return 0;
    }

    private static long Get(Task t, in SyscallArgs a)
    {
        using FileReference reference = t.Files.GetForIo((int)a.A0);
        long r = SocketSyscalls.Find(reference, out UnixSocket? socket);
        if (r < 0)
            return r;
        if ((int)a.A1 != SOL_SOCKET)
            return -Errno.EOPNOTSUPP;
        if (!t.TryRead(a.A4, out int room))
            return -Errno.EFAULT;
        if (room < 0)
            return -Errno.EINVAL;
        if (Value(socket!, (int)a.A2) is not { } value)
            return -Errno.ENOPROTOOPT;
        int n = Math.Min(room, value.Length);
        return t.CopyToUser(a.A3, value.AsSpan(0, n)) && t.TryWrite(a.A4, n) ? 0 : -Errno.EFAULT;
    }

    private static byte[]? Value(UnixSocket socket, int option)
    {
        switch (option)
        {
            case SO_TYPE: return Bytes(socket.Type);
            case SO_ERROR: return Bytes(socket.TakeError());
            case SO_DOMAIN: return Bytes(AF_UNIX);
            case SO_ACCEPTCONN: return Bytes(socket.IsListening ? 1 : 0);
            case SO_SNDBUF: return Bytes(socket.SendBuffer);
            case SO_RCVBUF: return Bytes(socket.ReceiveBuffer);
            case SO_PASSCRED: return Bytes(socket.PassCredentials ? 1 : 0);
            case SO_RCVLOWAT or SO_SNDLOWAT: return Bytes(1);
            case SO_RCVTIMEO: return Bytes(Timeval.FromNs(socket.ReceiveTimeoutNs));
            case SO_SNDTIMEO: return Bytes(Timeval.FromNs(socket.SendTimeoutNs));
            case SO_PEERCRED: return Bytes(socket.Peer?.Credentials ?? new PeerCredentials(0, uint.MaxValue, uint.MaxValue));
            case SO_LINGER: return new byte[8];
            case SO_DEBUG or SO_REUSEADDR or SO_DONTROUTE or SO_BROADCAST or SO_KEEPALIVE or SO_OOBINLINE or SO_PRIORITY or SO_REUSEPORT or SO_PROTOCOL or SO_TIMESTAMP:
                return Bytes(0);
            default: return null;
        }
    }

    private static byte[] Bytes<T>(T value)
        where T : unmanaged => MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)).ToArray();
}
