using System.Runtime.InteropServices;

namespace Emulator.Hardware.Memory;

/// <summary>
/// An entry of the TLB's fast front. An access of <c>size</c> bytes at <c>va</c> hits when <c>((va + size - 1) &amp; ~0xFFF)</c> equals the tag;
/// every reason to go slow (absent, read-only, not dirty yet, decoded code, page crossing) makes the compare fail.
/// </summary>
/// <remarks>
/// Loads and stores have entries of their own, <see cref="Count"/> each, in one array (<see cref="Cpu.VcpuState.Front"/>): a program that copies between
/// places that share a slot would otherwise miss at every access.
/// </remarks>
[StructLayout(LayoutKind.Sequential)]
public struct FrontEntry
{
    public ulong Tag;
    /// <summary>Host address minus linear address.</summary>
    public nint Addend;

    /// <summary>Entries for loads, and as many for stores: a power of two.</summary>
    public const int Count = 256;

    /// <summary>Where the large front begins: entries of 2 MiB, whatever code they hold, that only misses look at.</summary>
    public const int LargeStart = 2 * Count;

    /// <summary>Entries of the large front for loads, and as many for stores: a power of two.</summary>
    public const int LargeCount = 32;

    /// <summary>All entries.</summary>
    public const int Total = LargeStart + 2 * LargeCount;

    /// <summary>Its size is this power of two.</summary>
    public const int SizeShift = 4;

    /// <summary>A tag that no access can have: bit 4 is dropped even by the compares that keep bits 0 to 3 to see a misaligned address.</summary>
    public const ulong NoTag = 0x10;

    /// <summary>Answers nothing.</summary>
    public static FrontEntry Empty => new() { Tag = NoTag };
}
