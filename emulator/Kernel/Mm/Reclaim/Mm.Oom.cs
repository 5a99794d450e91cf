using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>What becomes of the address space of an OOM victim (mm/oom_kill.c:__oom_reap_task_mm).</summary>
public sealed partial class Mm
{
    /// <summary>The OOM killer has had what there is to be had (MMF_OOM_SKIP).</summary>
    internal bool OomSkip { get; set; }

    /// <summary>Private memory has been taken away under a program that may still run for a moment (MMF_UNSTABLE): nobody may read zeroes there.</summary>
    internal bool Unstable { get; private set; }

    /// <summary>Takes a victim's private memory without waiting for anybody. The victim needs no list of what went, for it never returns to its program.</summary>
    /// <returns>False: somebody changes the address space, or a mirror would have to wait.</returns>
    internal bool ReapByOom(Task task)
    {
        bool complete = false;
        if (MmapLock.TryLockRead())
        {
            Unstable = true;
            complete = true;
            for (Vma? vma = Vmas.First; vma is not null; vma = Vmas.Next(vma))
            {
                if (!vma.IsShared && !vma.IsContainer && (vma.Flags & VmFlags.HugeTlb) == 0)
                    complete &= TryZapNonBlocking(task, vma);
            }
            UnlockRead();
        }
        OomSkip = true;
        return complete;
    }

    private bool TryZapNonBlocking(Task task, Vma vma)
    {
        var gather = new MmuGather(this, task);
        var range = new MmuNotifierRange(this, vma.Start, vma.End, MmuNotifyEvent.Unmap, Blockable: false);
        bool allowed = InvalidateRangeStart(task, range) == 0;
        if (allowed)
        {
            Zap(gather, task, vma, vma.Start, vma.End);
            InvalidateRangeEnd(task, range);
        }
        gather.Finish();
        return allowed;
    }

    /// <summary>No memory was found: reclaims or has somebody killed, and says whether to try again. No spin lock is held.</summary>
    internal bool MakeRoom(Task? task) => _system.Reclaim.MakeRoom(task);
}
