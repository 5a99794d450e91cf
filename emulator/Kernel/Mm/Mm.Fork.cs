using Emulator.Hardware.Memory;
using Emulator.Kernel.Notifiers;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Memory;

/// <summary>fork: a second address space with the same contents, pages shared until one side writes (kernel/fork.c:dup_mmap).</summary>
public sealed unsafe partial class Mm
{
    /// <summary>Copies the address space; null when memory is exhausted.</summary>
    public Mm? Fork(Task? task)
    {
        if (Create(_system) is not { } child)
            return null;
        LockWrite(task);
        bool complete = true;
        try
        {
            CopyBounds(child);
            for (Vma? vma = Vmas.First; vma is not null && complete; vma = Vmas.Next(vma))
            {
                if ((vma.Flags & VmFlags.DontCopy) == 0)
                    complete = ForkVma(task, vma, child);
            }
            // The parent's writable entries of private pages are gone; its vCPUs must not write through remembered ones.
            Shootdown.FlushMm(task?.Vcpu, this, freedTables: false);
        }
        finally
        {
            UnlockWrite();
        }
        if (complete)
            return child;
        child.Put(task);
        return null;
    }

    private void CopyBounds(Mm child)
    {
        child.MmapBase = MmapBase;
        child.StartBrk = StartBrk;
        child.CurrentBrk = CurrentBrk;
        child.StartCode = StartCode;
        child.EndCode = EndCode;
        child.StartData = StartData;
        child.EndData = EndData;
        child.StartStack = StartStack;
        child.ArgStart = ArgStart;
        child.ArgEnd = ArgEnd;
        child.EnvStart = EnvStart;
        child.EnvEnd = EnvEnd;
        child.AuxiliaryVector = AuxiliaryVector;
        child.ExecutableFile = ExecutableFile?.Get();
        child.VdsoBase = VdsoBase;
    }

    private bool ForkVma(Task? task, Vma vma, Mm child)
    {
        // Locks are not inherited.
        var copy = new Vma(child, vma.Start, vma.End, vma.Flags & ~VmFlags.LockedMask)
        {
            PageOffset = vma.PageOffset,
            File = vma.File?.Get(),
            Cache = vma.Cache,
            Name = vma.Name,
            Observer = vma.Observer,
            HasAnon = vma.HasAnon,
        };
        child.Vmas.Insert(copy);
        child.Account(copy, copy.Pages, add: true);
        Open(copy);
        LinkToFile(task, copy);
        if ((vma.Flags & VmFlags.WipeOnFork) != 0)
        {
            copy.HasAnon = false;
            return true;
        }
        // A mapping whose pages can all be had again from its file starts empty (vma_needs_copy).
        if (vma.IsShared || (!vma.HasAnon && vma.Cache is not null))
            return true;
        // Only what is copied on write loses write permission, and only that is announced; the child has nobody to tell.
        if (!vma.IsCow)
            return CopyPages(task, vma, child);
        using OperationScope operation = task.Operation("fork", vma.Start, vma.End);
        var range = new MmuNotifierRange(this, vma.Start, vma.End, MmuNotifyEvent.ProtectionPage);
        InvalidateRangeStart(task, range);
        bool complete = CopyPages(task, vma, child);
        InvalidateRangeEnd(task, range);
        return complete;
    }

    private bool CopyPages(Task? task, Vma vma, Mm child)
    {
        ulong at = vma.Start;
        while (Tables.NextRun(ref at, vma.End, out ulong* entries, out int count, out int level))
        {
            if (level > 0)
            {
                if (!CopyLeaf(task, entries, at, child, out bool copied))
                    return false;
                if (copied)
                    at = PageTables.NextBoundary(at, vma.End, level);
                continue;
            }
            using (PageTableLock.Enter(task))
            {
                ulong* target = null;
                for (int i = 0; i < count; i++)
                {
                    if (!PageTables.IsMapped(entries[i]))
                        continue;
                    if (target is null)
                    {
                        // Runs do not cross a table, so one table of the child serves the whole run.
                        ulong* first = child.Tables.FindOrCreate(at);
                        if (first is null)
                            return false;
                        target = first;
                    }
                    CopyEntry(entries + i, target + i, child);
                }
            }
            at += (ulong)count << 12;
        }
        return true;
    }

    /// <summary>copy_present_pte: both sides lose write permission. The child is not running yet, so nobody needs its lock.</summary>
    private void CopyEntry(ulong* entry, ulong* target, Mm child)
    {
        PageTables.Modify(entry, Pte.Writable, Pte.None);
        ulong value = Volatile.Read(ref *entry);
        Pfn frame = PageTables.FrameOf(value);
        if (frame != Pages.Zero)
        {
            Pages.Get(frame);
            child.Map(frame);
        }
        PageTables.Set(target, value & ~(ulong)Pte.Accessed);
    }
}
