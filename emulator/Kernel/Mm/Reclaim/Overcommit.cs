namespace Emulator.Kernel.Memory;

/// <summary>
/// Promises of memory (mm/util.c:__vm_enough_memory): private writable mappings and shared memory of no file are counted when they are
/// made, whether touched or not; pages of tmpfs and memfd when there is one.
/// </summary>
internal sealed class Overcommit(PageAllocator pages, SwapArea swap, VmSysctls sysctls)
{
    /// <summary>Values of vm.overcommit_memory.</summary>
    public const long Always = 1, Never = 2;

    private long _committed;

    /// <summary>Pages promised (vm_committed_as).</summary>
    public long Committed => Volatile.Read(ref _committed);

    /// <summary>vm_commit_limit, in pages.</summary>
    public long Limit
    {
        get
        {
            long ram = sysctls.OvercommitKbytes != 0
                ? sysctls.OvercommitKbytes >> 2
                : (long)((UInt128)(pages.Memory.FrameCount - HugeTlbFrames) * (ulong)sysctls.OvercommitRatio / 100);
            return ram + (long)swap.TotalSlots;
        }
    }

    /// <summary>Whether that many pages more may be promised; nothing is counted yet.</summary>
    /// <param name="wanted">Pages.</param>
    /// <param name="mapped">Pages that the asking address space has mapped already: it leaves some of the rest to others.</param>
    public bool MayCommit(ulong wanted, ulong mapped)
    {
        switch (sysctls.OvercommitMemory)
        {
            case Always:
                return true;
            case Never:
                // Nobody here is the administrator, for whom a reserve is kept; and a user keeps the means to recover.
                long allowed = Limit - (sysctls.AdminReserveKbytes >> 2) - (long)Math.Min(mapped / 32, (ulong)sysctls.UserReserveKbytes >> 2);
                return (Int128)Committed + wanted < allowed;
            default:
                return wanted <= pages.Memory.FrameCount + swap.TotalSlots;
        }
    }

    private ulong HugeTlbFrames => pages.HugeTlb is { } pool ? (ulong)pool.Total << PageAllocator.HugeOrder : 0;

    /// <summary>As <see cref="MayCommit"/>, and counts them (security_vm_enough_memory_mm).</summary>
    public bool TryCommit(ulong wanted, ulong mapped = 0)
    {
        if (!MayCommit(wanted, mapped))
            return false;
        Add((long)wanted);
        return true;
    }

    public void Add(long delta) => Interlocked.Add(ref _committed, delta);
}
