namespace Emulator.Kernel.Memory;

/// <summary>From which nodes memory comes (Linux's <c>mempolicy</c>). There is one node, so it is kept and reported but changes nothing.</summary>
/// <param name="Mode">MPOL_* with its flags, as get_mempolicy reports it.</param>
/// <param name="Nodes">The nodes of the policy, of those there are: bit 0 or none.</param>
internal sealed record MemoryPolicy(int Mode, ulong Nodes)
{
    public const int DEFAULT = 0, PREFERRED = 1, BIND = 2, INTERLEAVE = 3, LOCAL = 4, PREFERRED_MANY = 5, WEIGHTED_INTERLEAVE = 6;
    public const int F_STATIC_NODES = 1 << 15, F_RELATIVE_NODES = 1 << 14, F_NUMA_BALANCING = 1 << 13;

    private const int ModeFlags = F_STATIC_NODES | F_RELATIVE_NODES | F_NUMA_BALANCING;

    public bool IsInterleave => (Mode & ~ModeFlags) == INTERLEAVE;

    /// <summary>sanitize_mpol_flags: 0 or -EINVAL.</summary>
    public static long CheckMode(int mode)
    {
        int flags = mode & ModeFlags, plain = mode & ~ModeFlags;
        if ((uint)plain > WEIGHTED_INTERLEAVE)
            return -Errno.EINVAL;
        if ((flags & F_STATIC_NODES) != 0 && (flags & F_RELATIVE_NODES) != 0)
            return -Errno.EINVAL;
        return (flags & F_NUMA_BALANCING) != 0 && plain is not (BIND or PREFERRED_MANY) ? -Errno.EINVAL : 0;
    }

    /// <summary>mpol_new and mpol_set_nodemask.</summary>
    /// <param name="mode">Checked by <see cref="CheckMode"/>.</param>
    /// <param name="any">Whether any node is named.</param>
    /// <param name="nodes">Those of them that exist.</param>
    /// <param name="policy">Null: the default.</param>
    /// <returns>0 or -EINVAL.</returns>
    public static long Create(int mode, bool any, ulong nodes, out MemoryPolicy? policy)
    {
        policy = null;
        int flags = mode & ModeFlags, plain = mode & ~ModeFlags;
        bool remapped = (flags & (F_STATIC_NODES | F_RELATIVE_NODES)) != 0;
        if (plain == DEFAULT)
            return any ? -Errno.EINVAL : 0;
        if (plain == PREFERRED && !any)
            plain = LOCAL;
        if (plain == LOCAL)
        {
            if (any || remapped)
                return -Errno.EINVAL;
            policy = new MemoryPolicy(LOCAL | flags, 0);
            return 0;
        }
        // Relative nodes are folded onto those there are.
        if (any && (flags & F_RELATIVE_NODES) != 0)
            nodes = 1;
        if (nodes == 0)
            return -Errno.EINVAL;
        policy = new MemoryPolicy(plain | flags, nodes);
        return 0;
    }
}
