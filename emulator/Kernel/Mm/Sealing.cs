namespace Emulator.Kernel.Memory;

/// <summary>The seals of a memfd (include/uapi/linux/fcntl.h).</summary>
[Flags]
public enum Seals
{
    None = 0,
    /// <summary>F_SEAL_SEAL: no more seals.</summary>
    Seal = 1,
    Shrink = 2,
    Grow = 4,
    Write = 8,
    FutureWrite = 16,
    /// <summary>F_SEAL_EXEC: the executable bits of the mode may not change.</summary>
    Exec = 32,

    AnyWrite = Write | FutureWrite,
    All = Seal | Shrink | Grow | Write | FutureWrite | Exec,
}

/// <summary>A file that can be sealed: of shmem and of hugetlbfs.</summary>
public interface ISealable
{
    Seals Seals { get; }

    /// <summary>Adds seals (mm/memfd.c:memfd_add_seals). The inode is locked, the descriptor open for writing.</summary>
    /// <param name="bits">F_SEAL_*.</param>
    /// <param name="executable">The file's mode has an executable bit: sealing that seals the contents too.</param>
    /// <returns>0 or a negative errno.</returns>
    long AddSeals(int bits, bool executable = false);
}

/// <summary>The seals of one file and what they forbid.</summary>
internal sealed class Sealing(Seals seals)
{
    private readonly Lock _lock = new();
    private Seals _seals = seals;

    public Seals Seals => _seals;

    public long Add(PageCache cache, int bits, bool executable)
    {
        var added = (Seals)bits;
        if ((added & ~Seals.All) != 0)
            return -Errno.EINVAL;
        lock (_lock)
        {
            if ((_seals & Seals.Seal) != 0)
                return -Errno.EPERM;
            if ((added & Seals.Write) != 0 && (_seals & Seals.Write) == 0)
            {
                if (!cache.TryDenyWritable())
                    return -Errno.EBUSY;
                if (cache.IsPinned)
                {
                    cache.AllowWritable();
                    return -Errno.EBUSY;
                }
            }
            if ((added & Seals.Exec) != 0 && executable)
                added |= Seals.Shrink | Seals.Grow | Seals.AnyWrite;
            _seals |= added;
            return 0;
        }
    }

    /// <summary>A file sealed against writing has no shared mapping that may be, or become, writable (seal_check_write).</summary>
    public long CheckMapping(ref VmFlags flags)
    {
        if ((_seals & Seals.AnyWrite) == 0 || (flags & VmFlags.Shared) == 0)
            return 0;
        if ((flags & VmFlags.Write) != 0)
            return -Errno.EPERM;
        flags &= ~VmFlags.MayWrite;
        return 0;
    }
}
