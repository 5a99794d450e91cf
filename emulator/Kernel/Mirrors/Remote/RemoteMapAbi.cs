using System.Runtime.InteropServices;

namespace Emulator.Kernel.Mirrors;

/// <summary>Which /dev/remote-map a machine has.</summary>
public enum RemoteMapVariant
{
    /// <summary>The interface of the RFC with its defects mended.</summary>
    Corrected,

    /// <summary>"[RFC PATCH v6 71/92] mm: add support for remote mapping" as it was posted in August 2019, defects included.</summary>
    RfcV6,
}

/// <summary>ioctl numbers. The argument of Unmap is the address itself, whatever the number says.</summary>
internal enum RemoteMapIoctl : uint
{
    Map = 0x4018_7201,
    Unmap = 0x4008_7202,
}

/// <summary><c>struct remote_map_request</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RemoteMapRequest
{
    public uint Pid;
    public uint Padding;

    /// <summary>req_hva: the page in the target.</summary>
    public ulong Requested;

    /// <summary>map_hva: where the caller wants it.</summary>
    public ulong Mapped;
}
