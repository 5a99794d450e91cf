namespace Emulator.Kernel.Files.Sockets;

/// <summary>What one send put into a socket's queue: bytes, files in flight, who sent it.</summary>
internal sealed class SocketMessage(byte[] data, UnixAddress? sender, PeerCredentials credentials, OpenFile[] files)
{
    private OpenFile[] _files = files;

    public byte[] Data { get; } = data;

    /// <summary>What it takes while it waits; files have been counted as such.</summary>
    public long Cost { get; } = Memory.KernelMemory.Message + data.Length + files.Length * sizeof(long);

    /// <summary>How much of a stream's message has been read.</summary>
    public int Offset { get; set; }

    public UnixAddress? Sender { get; } = sender;

    public PeerCredentials Credentials { get; } = credentials;

    public int Remaining => Data.Length - Offset;

    public bool HasFiles => _files.Length != 0;

    /// <summary>The files, which are the receiver's from now on.</summary>
    public OpenFile[] TakeFiles()
    {
        OpenFile[] taken = _files;
        _files = [];
        return taken;
    }

    /// <summary>More references to the files, for a peek.</summary>
    public OpenFile[] CopyFiles() => Array.ConvertAll(_files, static f => f.Get());
}

/// <summary>What a receive found beside the bytes.</summary>
internal struct ReceivedInfo
{
    public UnixAddress? Sender;
    public PeerCredentials Credentials;
    public OpenFile[]? Files;

    /// <summary>MSG_TRUNC and the like.</summary>
    public int Flags;

    /// <summary>Any message was received: an end of file has no credentials.</summary>
    public bool HasMessage;

    /// <summary>The length of a packet that was cut.</summary>
    public int FullLength;
}
