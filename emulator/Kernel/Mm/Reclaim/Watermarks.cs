using Emulator.Hardware.Memory;

namespace Emulator.Kernel.Memory;

/// <summary>How few free frames call for reclaim, in frames (mm/page_alloc.c:__setup_per_zone_wmarks).</summary>
/// <param name="Min">Direct reclaim.</param>
/// <param name="Low">Reclaim ahead of need begins.</param>
/// <param name="High">Reclaim ahead of need ends.</param>
public readonly record struct Watermarks(long Min, long Low, long High)
{
    internal static Watermarks For(PageAllocator pages, VmSysctls sysctls)
    {
        long frames = (long)pages.Memory.FrameCount;
        long kilobytes = sysctls.MinFreeKbytes != 0 ? sysctls.MinFreeKbytes : Math.Clamp((long)Math.Sqrt(frames * 4.0 * 16), 128, 262_144);
        long min = Math.Min(kilobytes >> 2, frames / 4);
        long step = Math.Max(min / 4, frames / 1000);
        // What files may not take (PageAllocator.ReserveFrames) is kept free while there is anything to reclaim.
        long low = Math.Max(min + step, pages.ReserveFrames + step);
        return new Watermarks(min, low, low + step);
    }
}
