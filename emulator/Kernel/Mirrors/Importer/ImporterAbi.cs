using System.Runtime.InteropServices;

namespace Emulator.Kernel.Mirrors;

/// <summary>ioctls of /dev/dmabuf_importer*; guests/include/dmabuf_importer.h says what they do.</summary>
internal enum ImporterIoctl : uint
{
    Attach = 0xC018_DB00,
    Detach = 0x4004_DB01,
    Transfer = 0xC030_DB02,
    Submit = 0xC030_DB03,
    Wait = 0xC018_DB04,
    Scanout = 0x4018_DB05,
    Frame = 0x8018_DB06,
    Stats = 0x8040_DB07,
}

/// <summary>enum dmabuf_importer_op.</summary>
internal enum ImporterOp : uint
{
    Read,
    Write,
    Fill,
    Sum,
}

/// <summary>struct dmabuf_importer_attach.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ImporterAttach
{
    public int Fd;
    public uint Flags;
    public ulong Size;
    public uint Handle;
    public uint Pad;
}

/// <summary>struct dmabuf_importer_transfer.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ImporterTransfer
{
    public uint Handle;
    public ImporterOp Op;
    public ulong Offset;
    public ulong Length;
    public ulong Pointer;
    public ulong Value;
    public ulong Job;
}

/// <summary>struct dmabuf_importer_wait.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ImporterWait
{
    public ulong Job;
    public ulong Value;
    public uint TimeoutMs;
    public int Error;
}

/// <summary>struct dmabuf_importer_scanout.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ImporterScanout
{
    public uint Handle;
    public uint Run;
    public ulong Offset;
    public ulong Length;
}

/// <summary>struct dmabuf_importer_frame.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ImporterFrame
{
    public ulong Number;
    public ulong Sum;
    public long Error;
}

/// <summary>struct dmabuf_importer_stats.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ImporterStats
{
    public ulong Maps;
    public ulong MoveNotifies;
    public ulong Revokes;
    public ulong Jobs;
    public ulong IotlbHits;
    public ulong IotlbMisses;
    public ulong IotlbFlushes;
    public ulong Orphans;
}
