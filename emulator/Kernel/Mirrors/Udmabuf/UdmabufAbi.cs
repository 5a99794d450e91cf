using System.Runtime.InteropServices;

namespace Emulator.Kernel.Mirrors;

/// <summary>ioctls of /dev/udmabuf (include/uapi/linux/udmabuf.h).</summary>
internal enum UdmabufIoctl : uint
{
    Create = 0x4018_7542,
    CreateList = 0x4008_7543,
}

/// <summary>struct udmabuf_create.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UdmabufCreate
{
    public int Memfd;
    public uint Flags;
    public ulong Offset;
    public ulong Size;
}

/// <summary>struct udmabuf_create_item.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UdmabufCreateItem
{
    public int Memfd;
    public uint Pad;
    public ulong Offset;
    public ulong Size;
}

/// <summary>struct udmabuf_create_list, without the items behind it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UdmabufCreateList
{
    public uint Flags;
    public uint Count;
}
