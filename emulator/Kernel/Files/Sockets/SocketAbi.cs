using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Files.Sockets;

/// <summary>Numbers of the socket interface (include/linux/socket.h, include/uapi/asm-generic/socket.h).</summary>
internal static class SocketAbi
{
    public const int AF_UNSPEC = 0, AF_UNIX = 1;
    public const int SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_SEQPACKET = 5, SOCK_TYPE_MASK = 0xF;

    public const int MSG_OOB = 1, MSG_PEEK = 2, MSG_CTRUNC = 8, MSG_TRUNC = 0x20, MSG_DONTWAIT = 0x40, MSG_EOR = 0x80, MSG_WAITALL = 0x100,
        MSG_NOSIGNAL = 0x4000, MSG_WAITFORONE = 0x10000, MSG_CMSG_CLOEXEC = 0x4000_0000;

    public const int SOL_SOCKET = 1, SCM_RIGHTS = 1, SCM_CREDENTIALS = 2;

    /// <summary>SCM_MAX_FD.</summary>
    public const int MaxPassedFiles = 253;

    /// <summary>net.core.wmem_default.</summary>
    public const int DefaultBuffer = 212_992;

    /// <summary>sizeof(struct sockaddr_un).</summary>
    public const int AddressSize = 110;
}

/// <summary>struct ucred: who sent a message, or who is at the other end.</summary>
internal readonly record struct PeerCredentials(int Pid, uint Uid, uint Gid)
{
    public static PeerCredentials Of(Task task) => new(task.Process.Pid, task.Credentials.EffectiveUid, task.Credentials.EffectiveGid);
}

/// <summary>A name of a Unix socket: a path, or after a zero byte an abstract name; the bytes after the family.</summary>
internal sealed record UnixAddress(string Name)
{
    public bool IsAbstract => Name.StartsWith('\0');

    /// <summary>struct sockaddr_un: paths end in a zero byte that counts.</summary>
    public static byte[] Encode(UnixAddress? address)
    {
        if (address is null)
            return [SocketAbi.AF_UNIX, 0];
        byte[] name = System.Text.Encoding.Latin1.GetBytes(address.Name);
        return address.IsAbstract ? [SocketAbi.AF_UNIX, 0, .. name] : [SocketAbi.AF_UNIX, 0, .. name, 0];
    }
}
