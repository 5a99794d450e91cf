using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>How few free frames call for reclaim, in frames (mm/page_alloc.c:__setup_per_zone_wmarks).</summary>
/// <param name="Min">Direct reclaim.</param>
/// <param name="Low">Reclaim ahead of need begins.</param>
/// <param name="High">Reclaim ahead of need ends.</param>
/// <param name="Files">Files' pages that nobody maps make room for those to come (<see cref="PageAllocator.ReserveFrames"/>).</param>
public readonly record struct Watermarks(long Min, long Low, long High, long Files)
{
    internal static Watermarks For(PageAllocator pages, VmSysctls sysctls)
    {
        long frames = (long)pages.Memory.FrameCount;
        long kilobytes = sysctls.MinFreeKbytes != 0 ? sysctls.MinFreeKbytes : Math.Clamp((long)Math.Sqrt(frames * 4.0 * 16), 128, 262_144);
        long min = Math.Min(kilobytes >> 2, frames / 4);
        long step = Math.Max(min / 4, frames / 1000);
        return new Watermarks(min, min + step, min + 2 * step, pages.ReserveFrames + step);
    }
}
