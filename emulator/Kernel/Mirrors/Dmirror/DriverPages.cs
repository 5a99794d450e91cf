using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Mirrors;

/// <summary>Pages of zeroes that the driver makes for one mapping of its file (dmirror_mmap): they are in no file and never migrated.</summary>
internal sealed class DriverPages : PageCache
{
    public DriverPages(PageAllocator pages, ulong bytes)
        : base(pages) => Size = bytes;

    protected override PageFlags FrameFlags => PageFlags.Cache;

    internal override long CheckMapping(ref VmFlags flags)
    {
        flags |= VmFlags.MixedMap;
        return 0;
    }
}
