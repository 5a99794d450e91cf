using System.Runtime.InteropServices;

namespace Emulator.Kernel.Mirrors;

/// <summary>What programs hand to /dev/hmm_dmirror* (lib/test_hmm_uapi.h, <c>struct hmm_dmirror_cmd</c>).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct DmirrorCommand
{
    /// <summary>In: first address of the program's memory that the command is about.</summary>
    public ulong Address;

    /// <summary>In: where the program gets or has the data.</summary>
    public ulong Pointer;

    /// <summary>In: pages from <see cref="Address"/> on.</summary>
    public ulong Pages;

    /// <summary>Out: pages done.</summary>
    public ulong DonePages;

    /// <summary>Out: how often the device had to ask the kernel for pages.</summary>
    public ulong Faults;
}

/// <summary>ioctl numbers: _IOWR('H', n, struct hmm_dmirror_cmd).</summary>
internal enum DmirrorIoctl : uint
{
    Read = 0xC028_4800,
    Write = 0xC028_4801,
    MigrateToDev = 0xC028_4802,
    MigrateToSys = 0xC028_4803,
    Snapshot = 0xC028_4804,
    Exclusive = 0xC028_4805,
    CheckExclusive = 0xC028_4806,
    Release = 0xC028_4807,
}

/// <summary>What a snapshot says of a page (HMM_DMIRROR_PROT_*): one of the first three or <see cref="Error"/>, and what it is ORed with.</summary>
[Flags]
internal enum DmirrorProt : byte
{
    None = 0,
    Read = 0x01,
    Write = 0x02,
    /// <summary>Part of a 2 MiB page.</summary>
    Pmd = 0x04,
    /// <summary>Part of a 1 GiB page.</summary>
    Pud = 0x08,
    /// <summary>The page of zeroes.</summary>
    Zero = 0x10,
    /// <summary>In this device's own memory.</summary>
    DevicePrivateLocal = 0x20,
    /// <summary>In another device's.</summary>
    DevicePrivateRemote = 0x30,
    Error = 0xFF,
}
