using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>
/// The third of Daniel Vetter's shapes: the file that owns the pages is the exporter, so whoever takes pages out of it does what any driver does before
/// it moves a buffer. The dma_resv comes inside the inode's lock and outside of everything that reclaim takes, so no circle can close.
/// </summary>
internal sealed class AllocatorUdmabuf(Machine machine, UdmabufItem[] items) : FileNotifierUdmabuf(machine, items)
{
    protected override void OnStart(Task? task, ulong first, ulong last)
    {
        // The pages are taken before a buffer is exported, and there is nobody to tell then.
        if (Buffer is null)
        {
            BeginChange(task, first, last, lasts: true);
            return;
        }
        using Tasks.Locks.Mutex.Scope scope = Buffer.Resv.Lock.Enter(task);
        Buffer.MoveNotify(task);
        BeginChange(task, first, last, lasts: true);
    }
}
