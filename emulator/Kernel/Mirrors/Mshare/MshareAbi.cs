using System.Runtime.InteropServices;

namespace Emulator.Kernel.Mirrors.Mshare;

/// <summary>Where a region is (<c>struct mshare_info</c>): what MSHAREFS_GET_SIZE gives and MSHAREFS_SET_SIZE takes.</summary>
/// <param name="Start">First address, a multiple of the unit of sharing.</param>
/// <param name="Size">In bytes, a multiple of it.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct MshareInfo(ulong Start, ulong Size);

/// <summary>What MSHAREFS_CREATE_MAPPING takes (<c>struct mshare_create</c>), with the padding that ends it.</summary>
/// <param name="Address">Where, inside the region.</param>
/// <param name="Size">In bytes.</param>
/// <param name="Offset">Of the file's part that is mapped; anonymous memory has none.</param>
/// <param name="Prot">PROT_*.</param>
/// <param name="Flags">MAP_SHARED and MAP_FIXED, and what else mmap takes.</param>
/// <param name="Fd">The file; -1: anonymous memory.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct MshareCreate(ulong Address, ulong Size, ulong Offset, uint Prot, uint Flags, uint Fd, uint Padding);

/// <summary>What MSHAREFS_X_UNMAP takes (<c>struct mshare_unmap</c>): ours.</summary>
/// <param name="Address">First byte, inside the region.</param>
/// <param name="Size">In bytes.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct MshareUnmap(ulong Address, ulong Size);

/// <summary>What MSHAREFS_X_PROTECT takes (<c>struct mshare_protect</c>): ours.</summary>
/// <param name="Address">First byte, inside the region.</param>
/// <param name="Size">In bytes.</param>
/// <param name="Prot">PROT_*.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct MshareProtect(ulong Address, ulong Size, uint Prot, uint Padding);

/// <summary>
/// ioctl numbers of type 'x'. The first three are those of RFC v3 (include/uapi/linux/msharefs.h of the patches); the others are ours, at the end of the
/// range 0x00 to 0x1F that the patches reserve, where later versions of theirs are unlikely to come.
/// </summary>
internal enum MshareIoctl : uint
{
    /// <summary>_IOR('x', 0, struct mshare_info).</summary>
    GetSize = 0x8010_7800,

    /// <summary>_IOW('x', 1, struct mshare_info).</summary>
    SetSize = 0x4010_7801,

    /// <summary>_IOW('x', 2, struct mshare_create).</summary>
    CreateMapping = 0x4028_7802,

    /// <summary>_IOW('x', 0x1e, struct mshare_unmap): ours.</summary>
    Unmap = 0x4010_781E,

    /// <summary>_IOW('x', 0x1f, struct mshare_protect): ours.</summary>
    Protect = 0x4018_781F,
}
