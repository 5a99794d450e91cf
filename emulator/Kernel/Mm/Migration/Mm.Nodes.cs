using Emulator.Hardware.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>NUMA as a machine of one node has it (mm/mempolicy.c, mm/migrate.c:do_pages_stat).</summary>
public sealed unsafe partial class Mm
{
    /// <summary>The node of the page at an address: 0, -EFAULT for the page of zeroes and where nothing is mapped, -ENOENT where no page is.</summary>
    internal int NodeOf(Task? task, ulong address)
    {
        LockRead(task);
        int node = -Errno.EFAULT;
        if (Vmas.Find(address) is not null)
        {
            using (PageTableLock.Enter(task))
            {
                ulong* entry = Tables.Find(address, out _);
                ulong value = entry is null ? 0 : *entry;
                node = !PageTables.IsMapped(value) ? -Errno.ENOENT : PageTables.FrameOf(value) == Pages.Zero || PageTables.IsSpecial(value) ? -Errno.EFAULT : 0;
            }
        }
        UnlockRead();
        return node;
    }

    /// <summary>The policy of the mapping at an address; false: nothing is mapped there.</summary>
    internal bool TryGetPolicy(Task task, ulong address, out MemoryPolicy? policy)
    {
        LockRead(task);
        Vma? vma = Vmas.Find(address);
        policy = vma?.Policy;
        UnlockRead();
        return vma is not null;
    }

    /// <summary>mbind(2) once its arguments are checked: gives a range a policy. 0, -EFAULT for a hole, -ENOMEM.</summary>
    internal long SetPolicy(Task task, ulong start, ulong end, MemoryPolicy? policy)
    {
        LockWrite(task);
        try
        {
            ulong covered = start;
            for (Vma? vma = Vmas.Find(start); vma is not null && vma.Start <= covered && covered < end; vma = Vmas.Next(vma))
                covered = vma.End;
            if (covered < end)
                return -Errno.EFAULT;
            for (ulong at = start; at < end;)
            {
                Vma vma = Vmas.Find(at)!;
                ulong to = Math.Min(end, vma.End);
                if (vma.Policy != policy)
                {
                    long error = Isolate(task, ref vma, at, to);
                    if (error < 0)
                        return error;
                    vma.Policy = policy;
                    Rejoin(task, vma);
                }
                at = to;
            }
            return 0;
        }
        finally
        {
            UnlockWrite();
        }
    }
}
