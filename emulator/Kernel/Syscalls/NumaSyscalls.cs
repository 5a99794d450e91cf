using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Syscalls;

/// <summary>The system calls about NUMA nodes, of which there is one.</summary>
internal static class NumaSyscalls
{
    internal static readonly SyscallDefinition[] Table =
    [
        new(237, "mbind", "ptr,size,hex,ptr,size,hex", Mbind),
        new(238, "set_mempolicy", "hex,ptr,size", SetMempolicy),
        new(239, "get_mempolicy", "ptr,ptr,size,ptr,hex", GetMempolicy),
        new(256, "migrate_pages", "int,size,ptr,ptr", MigratePages),
        new(279, "move_pages", "int,size,ptr,ptr,ptr,hex", MovePages),
    ];

    private const int MPOL_F_NODE = 1, MPOL_F_ADDR = 2, MPOL_F_MEMS_ALLOWED = 4;
    private const int MPOL_MF_STRICT = 1, MPOL_MF_MOVE = 2, MPOL_MF_MOVE_ALL = 4;

    /// <summary>Nodes that the kernel could have (MAX_NUMNODES as distributions set it), and that it has.</summary>
    private const ulong MaxNodes = 1024, NodeCount = 1;

    /// <summary>get_nodes: which nodes a mask names. 0, -EINVAL, -EFAULT.</summary>
    private static long GetNodes(Task task, ulong mask, ulong maxNode, out bool any, out ulong nodes)
    {
        any = false;
        nodes = 0;
        ulong bits = maxNode - 1;
        if (bits == 0 || mask == 0)
            return 0;
        if (bits > Pfn.Size * 8)
            return -Errno.EINVAL;
        for (ulong word = (bits - 1) / 64; ; word--)
        {
            if (!task.TryRead(mask + word * 8, out ulong value))
                return -Errno.EFAULT;
            if (bits - word * 64 < 64)
                value &= (1UL << (int)(bits - word * 64)) - 1;
            if (value != 0 && word >= MaxNodes / 64)
                return -Errno.EINVAL;
            any |= value != 0;
            if (word == 0)
            {
                nodes = value & ((1UL << (int)NodeCount) - 1);
                return 0;
            }
        }
    }

    private static long SetMempolicy(Task task, in SyscallArgs a)
    {
        int mode = (int)a.A0;
        long error = MemoryPolicy.CheckMode(mode);
        if (error < 0)
            return error;
        error = GetNodes(task, a.A1, a.A2, out bool any, out ulong nodes);
        if (error < 0)
            return error;
        error = MemoryPolicy.Create(mode, any, nodes, out MemoryPolicy? policy);
        if (error == 0)
            task.MemoryPolicy = policy;
        return error;
    }

    private static long Mbind(Task task, in SyscallArgs a)
    {
        ulong start = a.A0, end = start + Layout.PageAlign(a.A1);
        int mode = (int)a.A2;
        long error = MemoryPolicy.CheckMode(mode);
        if (error < 0)
            return error;
        error = GetNodes(task, a.A3, a.A4, out bool any, out ulong nodes);
        if (error < 0)
            return error;
        if ((a.A5 & ~(ulong)(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) != 0)
            return -Errno.EINVAL;
        if ((a.A5 & MPOL_MF_MOVE_ALL) != 0)
            return -Errno.EPERM;
        if (!Layout.IsPageAligned(start) || end < start)
            return -Errno.EINVAL;
        if (end == start)
            return 0;
        error = MemoryPolicy.Create(mode, any, nodes, out MemoryPolicy? policy);
        // Every page is where any policy wants it, so nothing is ever moved.
        return error < 0 ? error : task.Mm.SetPolicy(task, start, end, policy);
    }

    private static long GetMempolicy(Task task, in SyscallArgs a)
    {
        ulong address = a.A3, flags = a.A4;
        if (a.A1 != 0 && a.A2 < NodeCount)
            return -Errno.EINVAL;
        if ((flags & ~(ulong)(MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED)) != 0)
            return -Errno.EINVAL;
        MemoryPolicy? policy = task.MemoryPolicy;
        int value;
        ulong nodes;
        if ((flags & MPOL_F_MEMS_ALLOWED) != 0)
        {
            if ((flags & (MPOL_F_NODE | MPOL_F_ADDR)) != 0)
                return -Errno.EINVAL;
            (value, nodes) = (0, 1);
        }
        else
        {
            bool byAddress = (flags & MPOL_F_ADDR) != 0;
            if (byAddress && !task.Mm.TryGetPolicy(task, address, out policy))
                return -Errno.EFAULT;
            if (!byAddress && address != 0)
                return -Errno.EINVAL;
            if ((flags & MPOL_F_NODE) == 0)
            {
                value = policy?.Mode ?? MemoryPolicy.DEFAULT;
            }
            else if (byAddress)
            {
                long error = LookUpNode(task, address);
                if (error < 0)
                    return error;
                value = 0;
            }
            else if (policy is { IsInterleave: true })
            {
                value = 0;
            }
            else
            {
                return -Errno.EINVAL;
            }
            nodes = policy?.Nodes ?? 0;
        }
        if (a.A0 != 0 && !task.TryWrite(a.A0, value))
            return -Errno.EFAULT;
        return a.A1 == 0 ? 0 : CopyNodes(task, a.A1, a.A2, nodes);
    }

    /// <summary>lookup_node: the page is brought in, to see where it comes to be.</summary>
    private static long LookUpNode(Task task, ulong address)
    {
        Span<Pfn> page = stackalloc Pfn[1];
        int taken = task.Mm.GetUserPages(task, address, FollFlags.None, page);
        if (taken < 0)
            return taken;
        task.Mm.Pages.Put(page[0]);
        return 0;
    }

    /// <summary>copy_nodes_to_user: what the mask has room for beyond the nodes there are is cleared.</summary>
    private static long CopyNodes(Task task, ulong mask, ulong maxNode, ulong nodes)
    {
        ulong bytes = (maxNode - 1 + 63) / 64 * 8;
        if (bytes > 8)
        {
            if (bytes > Pfn.Size)
                return -Errno.EINVAL;
            if (!task.ClearUser(mask + 8, bytes - 8))
                return -Errno.EFAULT;
        }
        return bytes == 0 || task.TryWrite(mask, nodes) ? 0 : -Errno.EFAULT;
    }

    private static long MigratePages(Task task, in SyscallArgs a)
    {
        long error = GetNodes(task, a.A2, a.A1, out _, out _);
        if (error < 0)
            return error;
        error = GetNodes(task, a.A3, a.A1, out _, out ulong to);
        if (error < 0)
            return error;
        if ((int)a.A0 != 0 && task.Machine.Processes.FindTask((int)a.A0) is null)
            return -Errno.ESRCH;
        // From a node to itself: nothing moves, and nothing is left behind.
        return to == 0 ? -Errno.EINVAL : 0;
    }

    /// <summary>kernel_move_pages: with nodes, moves pages there; without, says where they are.</summary>
    private static long MovePages(Task task, in SyscallArgs a)
    {
        if ((a.A5 & ~(ulong)(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) != 0)
            return -Errno.EINVAL;
        if ((a.A5 & MPOL_MF_MOVE_ALL) != 0)
            return -Errno.EPERM;
        Task? target = (int)a.A0 == 0 ? task : task.Machine.Processes.FindTask((int)a.A0);
        if (target is null)
            return -Errno.ESRCH;
        if (target.Mm is not { } mm || !mm.TryGet())
            return -Errno.EINVAL;
        long result = MovePages(task, mm, a.A1, a.A2, a.A3, a.A4);
        mm.Put(task);
        return result;
    }

    private static long MovePages(Task task, Memory.Mm mm, ulong count, ulong pages, ulong nodes, ulong status)
    {
        for (ulong i = 0; i < count; i++)
        {
            if (!task.TryRead(pages + i * 8, out ulong address))
                return -Errno.EFAULT;
            if (nodes != 0)
            {
                if (!task.TryRead(nodes + i * 4, out int node))
                    return -Errno.EFAULT;
                if (node != 0)
                    return -Errno.ENODEV;
            }
            // A page is already on the only node there is.
            if (!task.TryWrite(status + i * 4, mm.NodeOf(task, address)))
                return -Errno.EFAULT;
            if (task.SignalPending && (i & 0xFFF) == 0xFFF)
                return -Errno.EINTR;
        }
        return 0;
    }
}
