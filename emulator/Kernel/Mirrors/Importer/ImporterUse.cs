using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;
using Emulator.Kernel.Tasks.Locks;

namespace Emulator.Kernel.Mirrors;

/// <summary>A buffer that a device is attached to. Jobs are committed under the dma_resv, and done one after the other without it.</summary>
/// <remarks>In bounds: a job's range lies inside its buffer before there is a job; its fence keeps the table, and with it the frames, until it is done.</remarks>
internal sealed class ImporterUse : IDmaBufImporter
{
    /// <summary>How long a buffer may move away again and again before a job is given up.</summary>
    private const long Timeout = 1000 * Clock.Millisecond;

    private static readonly LockClass EngineClass = new("dmabuf_importer_engine");

    private readonly DmaBufFile _file;
    private readonly Mutex _engine = new(EngineClass);
    private readonly Iotlb _iotlb = new();
    private DmaBufAttachment _attachment = null!;
    private SgTable? _table;

    private ImporterUse(DmaBufFile file) => _file = file;

    public DmaBuf Buffer => _file.Buffer;

    public bool HasMoveNotify => true;

    public ulong Maps { get; private set; }

    public ulong MoveNotifies { get; private set; }

    public ulong Revokes { get; private set; }

    public ulong Jobs { get; private set; }

    public ulong Orphans { get; private set; }

    private KernelMemory Memory => Buffer.Machine.KernelMemory;

    /// <summary>Each job that waits has a list of all that it waits for.</summary>
    private static long CostOf(DmaFence[] dependencies) => dependencies.Length * (long)sizeof(long);

    private DmaBufs Counters => Buffer.Machine.DmaBufs;

    /// <summary>Attaches a device; the use holds a reference to the buffer's file until <see cref="Detach"/>.</summary>
    public static int Attach(Task task, DmaBufFile file, string device, bool dynamic, out ImporterUse? use)
    {
        use = new ImporterUse(file);
        int error = file.Buffer.Attach(task, dynamic ? use : null, device, out DmaBufAttachment? attachment);
        if (error != 0)
        {
            use = null;
            return error;
        }
        use._attachment = attachment!;
        if (attachment!.Cached is not null)
            use.Maps++;
        file.Get();
        return 0;
    }

    public void Detach(Task? task)
    {
        // No job needs the lock to end.
        Buffer.Resv.Wait(task, DmaResvUsage.Bookkeep, interruptible: false);
        using (Buffer.Resv.Lock.Enter(task))
            DropTable(task);
        Buffer.Detach(task, _attachment);
        _file.Put();
    }

    private void DropTable(Task? task)
    {
        if (_table is null)
            return;
        _iotlb.Flush(Counters);
        Buffer.Unmap(task, _attachment, _table);
        _table = null;
    }

    /// <summary>Called under the dma_resv: the mapping is dropped at the next use, and not used any more until then.</summary>
    public void MoveNotify(Task? task, DmaBufAttachment attachment) => MoveNotifies++;

    /// <inheritdoc/>
    public void Revoke(Task? task, DmaBufAttachment attachment) => Revokes++;

    /// <summary>Maps the buffer if need be, and puts the job into its dma_resv: from now on its pages stay until it is done. 0 or a negative errno.</summary>
    public int Commit(Task task, DmaJob job)
    {
        for (long deadline = Buffer.Machine.Clock.MonotonicNs + Timeout; ;)
        {
            // What brings pages in takes locks that come before the dma_resv.
            int error = _attachment.IsDynamic ? Buffer.Exporter.Prepare(task) : 0;
            if (error == 0)
                error = TryCommit(task, job);
            if (error != -Errno.EAGAIN)
                return error;
            if (Buffer.Machine.Clock.MonotonicNs > deadline)
                return -Errno.EBUSY;
            task.PreemptionPoint();
        }
    }

    private int TryCommit(Task task, DmaJob job)
    {
        using Mutex.Scope scope = Buffer.Resv.Lock.Enter(task);
        if (_table is { IsRevoked: true })
        {
            // Jobs that were committed with it have ended, for whoever took it back has waited for them.
            Buffer.Resv.Wait(task, DmaResvUsage.Bookkeep, interruptible: false);
            DropTable(task);
        }
        if (_table is null)
        {
            int error = Buffer.Map(task, _attachment, DmaDirection.Bidirectional, out _table);
            if (error != 0)
                return error;
            if (_attachment.Cached != _table || Maps == 0)
                Maps++;
        }
        DmaFence[] before = Buffer.Resv.Pending(DmaResv.Before(job.Writes));
        if (!Memory.TryCharge(CostOf(before)))
            return -Errno.ENOMEM;
        if (!Buffer.Exporter.TryCommit(task, Buffer, _table!, job.Fence, job.Writes ? DmaResvUsage.Write : DmaResvUsage.Read))
        {
            Memory.Uncharge(CostOf(before));
            return -Errno.EAGAIN;
        }
        (job.Table, job.Dependencies) = (_table, before);
        return 0;
    }

    /// <summary>Does a committed job, and signals it: takes no lock that anybody holds who waits for it, and allocates nothing.</summary>
    public void Execute(Task task, DmaJob job)
    {
        foreach (DmaFence fence in job.Dependencies)
            fence.Wait(task, Counters.FenceMap, interruptible: false);
        Memory.Uncharge(CostOf(job.Dependencies));
        job.Dependencies = [];
        using (Counters.FenceMap.Enter(task))
        using (_engine.Enter(task))
        {
            ulong end = job.Offset + job.Length, orphans = 0, firstOrphan = 0;
            for (ulong at = job.Offset, next; at < end; at = next)
            {
                next = Math.Min(end, (at & ~(Pfn.Size - 1)) + Pfn.Size);
                task.PreemptionPoint();
                (Pfn frame, uint generation) = _iotlb.Translate(job.Table!, at >> Pfn.Shift, Counters);
                if (IsOrphan(task, job, at >> Pfn.Shift, frame, generation) && orphans++ == 0)
                    firstOrphan = at >> Pfn.Shift;
                job.Touch(Buffer.Machine.Memory, frame, at, (int)(next - at));
            }
            Counters.Count(DmaBufCounter.Bytes, (long)job.Length);
            Orphans += orphans;
            if (orphans != 0)
                Report(job, firstOrphan, orphans);
            Jobs++;
        }
        job.Table = null; // The result may be kept for long.
        Counters.Count(DmaBufCounter.Jobs);
        job.Fence.Signal();
    }

    /// <summary>Judges an access as no device could: whether the frame is the buffer's page now, another one's, or was freed.</summary>
    private bool IsOrphan(Task task, DmaJob job, ulong page, Pfn frame, uint generation)
    {
        if (Buffer.Machine.Pages[frame].Generation != generation)
        {
            Counters.Count(job.Writes ? DmaBufCounter.FreedWrites : DmaBufCounter.FreedReads);
            Counters.ReportFreed(task, $"{_attachment} {(job.Writes ? "writes" : "reads")} page {page} of a buffer in {frame}, which has been freed since it was mapped");
            return true;
        }
        if (Buffer.Exporter.IsCurrent(page, frame))
            return false;
        Counters.Count(job.Writes ? DmaBufCounter.OrphanWrites : DmaBufCounter.OrphanReads);
        return true;
    }

    private void Report(DmaJob job, ulong first, ulong count) =>
        Counters.Report($"{_attachment} {(job.Writes ? "wrote" : "read")} {count} pages from page {first} on that its file has no more: {(job.Writes ? "the data are lost" : "the data are old")}",
            byDesign: job.Table!.IsPinned);
}
