using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Emulator.Hardware.Cpu;

[StructLayout(LayoutKind.Sequential)]
public unsafe struct JumpCacheEntry
{
    public ulong Rip;
    public Op* Target;
}

/// <summary>
/// Direct-mapped map from linear RIP to decoded block, so that an indirect or cross-page branch costs one compare. What it holds was
/// reached through an instruction translation, so it must lose a page's entries whenever the TLB loses that translation.
/// A page's entries lie in one group of <see cref="GroupSize"/>, so that dropping a page clears one group.
/// </summary>
public static unsafe class JumpCache
{
    private const int GroupBits = 7, GroupSize = 1 << GroupBits, Groups = 32;
    private const int Size = GroupSize * Groups;
    /// <summary>Never a RIP: not canonical.</summary>
    private const ulong Empty = 1UL << 62;

    internal static JumpCacheEntry* Allocate()
    {
        var entries = (JumpCacheEntry*)NativeMemory.AlignedAlloc((nuint)(Size * sizeof(JumpCacheEntry)), 64);
        Clear(entries, Size);
        return entries;
    }

    // In bounds: the group is masked with Groups - 1, the place in it with GroupSize - 1.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static JumpCacheEntry* Slot(VcpuState* c, ulong rip)
        => c->JumpCache + ((Group(rip) << GroupBits) | ((rip ^ (rip >> GroupBits)) & (GroupSize - 1)));

    /// <summary>Forgets all blocks: on every flush that may drop instruction translations.</summary>
    public static void FlushAll(VcpuState* c) => Clear(c->JumpCache, Size);

    /// <summary>Forgets the blocks of one page, and those of the page before (a block's last instruction may cross).</summary>
    public static void FlushPage(VcpuState* c, ulong address)
    {
        Clear(c->JumpCache + (Group(address) << GroupBits), GroupSize);
        Clear(c->JumpCache + (Group(address - 4096) << GroupBits), GroupSize);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Group(ulong rip) => ((rip >> 12) ^ (rip >> 17)) & (Groups - 1);

    private static void Clear(JumpCacheEntry* entries, int count)
    {
        for (int i = 0; i < count; i++)
            entries[i] = new JumpCacheEntry { Rip = Empty };
    }
}
