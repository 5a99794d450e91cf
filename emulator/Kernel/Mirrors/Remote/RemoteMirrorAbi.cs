using System.Runtime.InteropServices;

namespace Emulator.Kernel.Mirrors;

/// <summary>ioctl numbers of /dev/remote-mirror (guests/include/remote_mirror.h).</summary>
internal enum RemoteMirrorIoctl : uint
{
    Attach = 0x4018_7210,
    Stats = 0x8028_7211,
}

/// <summary><c>struct remote_mirror_attach</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RemoteMirrorAttach
{
    public uint Pid;
    public uint Flags;
    public ulong Start;
    public ulong Length;
}

/// <summary><c>struct remote_mirror_stats</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RemoteMirrorStats
{
    /// <summary>Pages asked of the target's tables.</summary>
    public ulong Lookups;

    /// <summary>Answers thrown away, because the target had changed meanwhile.</summary>
    public ulong Retries;

    /// <summary>Pages entered into the mirror's mappings.</summary>
    public ulong Inserts;

    /// <summary>Changes of the window that were heard of.</summary>
    public ulong Invalidations;

    /// <summary>Of those the ones for which pages were taken out of the mirror's mappings.</summary>
    public ulong Zaps;
}
