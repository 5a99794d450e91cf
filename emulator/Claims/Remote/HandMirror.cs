using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Notifiers;

namespace Emulator.Claims.Remote;

/// <summary>
/// A page of the target that was put into the client's anonymous memory by number, without being counted, and that a notifier of the target takes out again by emptying the entry
/// and flushing, without a word to whoever mirrors the client.
/// </summary>
internal sealed unsafe class HandMirror(Mm client, ulong at) : MmuIntervalNotifier
{
    /// <summary>Whether it takes the page out at all.</summary>
    public bool Listens { get; init; } = true;

    public override bool Invalidate(Task? task, in MmuNotifierRange range, ulong sequence)
    {
        SetSequence(sequence);
        if (!Listens)
            return true;
        using (client.PageTableLock.Enter(task))
        {
            ulong* entry = client.Tables.Find(at);
            if (entry is not null)
                PageTables.Clear(entry, out _);
        }
        client.Shootdown.FlushPage(task?.Vcpu, client, at);
        return true;
    }

    /// <summary>Makes one for a page of the target.</summary>
    public static HandMirror Make(Inspection inspection, ulong at, bool listens)
    {
        var mirror = new HandMirror(inspection.Client.Mm, at) { Listens = listens };
        inspection.Target.Do(task => mirror.Insert(task, task.Mm, inspection.Memory, Pfn.Size));
        Claim.Require(inspection.Target.Mm.TryWalk(inspection.Memory, write: false, out Pfn frame), "the target's page is not there");
        inspection.Client.Do(task =>
        {
            task.Mm.Madvise(task, at, Pfn.Size, MmanAbi.MADV_DONTNEED);
            using (task.Mm.EnterRead(task))
                task.Mm.InsertPfn(task, task.Mm.Vmas.Find(at)!, at, frame);
        });
        return mirror;
    }

    /// <summary>Takes everything away, so that nothing uncounted is left behind.</summary>
    public void End(Inspection inspection)
    {
        inspection.Target.Do(Remove);
        inspection.Client.Do(task => task.Mm.Munmap(task, at, Pfn.Size));
    }
}
