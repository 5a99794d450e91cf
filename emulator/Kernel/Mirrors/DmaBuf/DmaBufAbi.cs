using System.Runtime.InteropServices;

namespace Emulator.Kernel.Mirrors;

/// <summary>ioctls of a dma-buf (include/uapi/linux/dma-buf.h).</summary>
internal enum DmaBufIoctl : uint
{
    Sync = 0x4008_6200,
    SetNameA = 0x4004_6201,
    SetNameB = 0x4008_6201,
    ExportSyncFile = 0xC008_6202,
    ImportSyncFile = 0x4008_6203,
}

/// <summary>DMA_BUF_SYNC_*.</summary>
[Flags]
internal enum DmaBufSync : ulong
{
    None = 0,
    Read = 1,
    Write = 2,
    ReadWrite = Read | Write,
    End = 4,
    Valid = ReadWrite | End,
}

/// <summary>struct dma_buf_export_sync_file and dma_buf_import_sync_file.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DmaBufSyncFile
{
    public uint Flags;
    public int Fd;
}
