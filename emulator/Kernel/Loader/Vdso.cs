using Emulator.Kernel.Memory;

namespace Emulator.Kernel.Loader;

/// <summary>The vDSO of a machine: one page of code that every program maps. Built when the first program is loaded.</summary>
public sealed class Vdso(PageAllocator pages)
{
    private const VmFlags Flags = VmFlags.Read | VmFlags.Exec | VmFlags.MayRead | VmFlags.MayWrite | VmFlags.MayExec | VmFlags.DontExpand;

    private readonly Lock _lock = new();
    private ShmemPageCache? _cache;

    /// <summary>What the functions add to the time-stamp counter for CLOCK_REALTIME. Set before the first program is loaded.</summary>
    public long RealtimeOffsetNs { get; set; }

    /// <summary>Maps it where there is room and notes where in <see cref="Mm.VdsoBase"/>; 0 there when there is none.</summary>
    internal void Map(Mm mm, Task? task)
    {
        lock (_lock)
        {
            if (_cache is null)
            {
                _cache = new ShmemPageCache(pages);
                _cache.Write(0, VdsoImage.Build(RealtimeOffsetNs), task);
            }
        }
        long mapped = mm.MapSpecial(task, 4096, Flags, _cache, "[vdso]");
        mm.VdsoBase = mapped < 0 ? 0 : (ulong)mapped;
    }
}
