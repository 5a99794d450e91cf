using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>Which way data goes between the CPU's view and a device (enum dma_data_direction).</summary>
internal enum DmaDirection
{
    Bidirectional,
    ToDevice,
    FromDevice,
}

/// <summary>A device that uses other drivers' buffers (<c>struct dma_buf_attach_ops</c>): one that has this attaches dynamically.</summary>
internal interface IDmaBufImporter
{
    /// <summary>Whether buffers may move under its attachments (move_notify is there).</summary>
    bool HasMoveNotify { get; }

    /// <summary>
    /// The buffer moves (move_notify): the mapping is to be dropped, and made again when it is needed. The dma_resv is held; the old mapping is good until
    /// the fences that are in the dma_resv now are signalled.
    /// </summary>
    void MoveNotify(Task? task, DmaBufAttachment attachment);

    /// <summary>
    /// As <see cref="MoveNotify"/>, but from inside a notifier: no dma_resv is held and none may be taken, nothing is allocated. The device starts nothing
    /// new with the mapping, and forgets its translations.
    /// </summary>
    void Revoke(Task? task, DmaBufAttachment attachment);
}

/// <summary>The frames of a buffer as one device sees them (<c>struct sg_table</c>), a page an entry.</summary>
internal sealed class SgTable(Pfn[] frames, uint[] generations, DmaDirection direction)
{
    private int _revoked;

    public Pfn[] Frames { get; } = frames;

    /// <summary>What <see cref="Page.Generation"/> was when the table was made: another one now means that the frame was freed under the device.</summary>
    public uint[] Generations { get; } = generations;

    public DmaDirection Direction { get; } = direction;

    /// <summary>The frames are pinned for this table: it is good whatever becomes of the buffer.</summary>
    public bool IsPinned { get; init; }

    /// <summary>The buffer has moved: work under way ends with it, none begins.</summary>
    public bool IsRevoked => Volatile.Read(ref _revoked) != 0;

    public void Revoke() => Volatile.Write(ref _revoked, 1);
}

/// <summary>A device's use of a buffer (<c>struct dma_buf_attachment</c>).</summary>
internal sealed class DmaBufAttachment(DmaBuf buffer, IDmaBufImporter? importer, string device)
{
    public DmaBuf Buffer => buffer;

    /// <summary>Null: the device is static, and keeps its mapping.</summary>
    public IDmaBufImporter? Importer => importer;

    public string Device => device;

    public bool IsDynamic => importer is not null;

    /// <summary>The mapping that is kept for the attachment's life, if one is.</summary>
    public SgTable? Cached { get; set; }

    /// <summary>The buffer is pinned on the attachment's behalf.</summary>
    public bool IsPinned { get; set; }

    public override string ToString() => $"{device} ({(IsDynamic ? "dynamic" : "static")})";
}

/// <summary>What a driver that shares its buffers does (<c>struct dma_buf_ops</c>).</summary>
internal abstract class DmaBufExporter
{
    /// <summary>cache_sgt_mapping: an attachment's first mapping is kept.</summary>
    public virtual bool CachesMappings => false;

    public virtual bool HasPin => false;

    /// <summary>Gets the buffer's pages together, so that <see cref="Map"/> finds them; the caller holds no lock, since it may wait for anything.</summary>
    public virtual int Prepare(Task task) => 0;

    public virtual bool HasUnpin => HasPin;

    /// <summary>What mmap maps; null: it is refused.</summary>
    public virtual DeviceMapping? Mapping => null;

    /// <summary>Keeps the buffer where it is for an attachment. The dma_resv is held.</summary>
    public virtual int Pin(Task? task, DmaBufAttachment attachment) => -Errno.EOPNOTSUPP;

    public virtual void Unpin(Task? task, DmaBufAttachment attachment)
    {
    }

    /// <summary>Gives the device the buffer's frames. The dma_resv is held. -EAGAIN: call <see cref="Prepare"/> again, without it.</summary>
    public abstract int Map(Task? task, DmaBufAttachment attachment, DmaDirection direction, out SgTable? table);

    public abstract void Unmap(Task? task, DmaBufAttachment attachment, SgTable table);

    /// <summary>
    /// Puts work into the buffer's dma_resv, if the mapping that it uses is still good; false: map again first. From then on whoever moves the buffer waits for it.
    /// </summary>
    public virtual bool TryCommit(Task? task, DmaBuf buffer, SgTable table, DmaFence fence, DmaResvUsage usage)
    {
        buffer.Resv.Add(fence, usage);
        return true;
    }

    /// <summary>Whether a frame is what the buffer shows at a page, now; for the judgement of what devices do, which no driver could make.</summary>
    public abstract bool IsCurrent(ulong page, Pfn frame);

    public virtual int BeginCpuAccess(Task task, DmaDirection direction) => 0;

    public virtual int EndCpuAccess(Task task, DmaDirection direction) => 0;

    /// <summary>The last user is gone.</summary>
    public abstract void Release(Task? task);
}

/// <summary>A buffer that devices and programs share (drivers/dma-buf/dma-buf.c).</summary>
internal sealed class DmaBuf
{
    private readonly List<DmaBufAttachment> _attachments = [];

    private DmaBuf(Machine machine, DmaBufExporter exporter, string exporterName, ulong size)
    {
        Machine = machine;
        Exporter = exporter;
        ExporterName = exporterName;
        Size = size;
        Resv = new DmaResv(machine.DmaBufs.FenceMap);
    }

    public Machine Machine { get; }

    public DmaBufExporter Exporter { get; }

    public string ExporterName { get; }

    /// <summary>In bytes; whole pages.</summary>
    public ulong Size { get; }

    /// <summary>What the <see cref="SgTable"/> of an attachment takes.</summary>
    private long TableCost => (long)(Size >> Pfn.Shift) * KernelMemory.TablePage;

    public DmaResv Resv { get; }

    /// <summary>DMA_BUF_SET_NAME's; null until then.</summary>
    public string? Name { get; set; }

    /// <summary>A dynamic exporter may move the buffer, and pins it for those who cannot bear that (dma_buf_is_dynamic).</summary>
    public bool IsDynamic => Exporter.HasPin;

    /// <summary>The attachments now; the dma_resv is held.</summary>
    public IReadOnlyList<DmaBufAttachment> Attachments => _attachments;

    /// <summary>dma_buf_export: -EINVAL, reported, for operations that do not go together.</summary>
    public static int Export(Task? task, Machine machine, DmaBufExporter exporter, string name, ulong size, out DmaBuf? buffer)
    {
        buffer = null;
        if ((exporter.CachesMappings && (exporter.HasPin || exporter.HasUnpin)) || exporter.HasPin != exporter.HasUnpin)
        {
            machine.Violations.Report(task, DmaBufRules.ExportOps, $"{name} exports a buffer with {(exporter.CachesMappings ? "cache_sgt_mapping" : "only one of the two")}");
            return -Errno.EINVAL;
        }
        buffer = new DmaBuf(machine, exporter, name, size);
        machine.DmaBufs.Count(DmaBufCounter.Exports);
        return 0;
    }

    /// <summary>
    /// dma_buf_dynamic_attach. Where one side may move the buffer and the other one does not understand that, the core maps at once, for the attachment's
    /// life, and has the exporter pin if there is one that pins.
    /// </summary>
    public int Attach(Task task, IDmaBufImporter? importer, string device, out DmaBufAttachment? attachment)
    {
        attachment = null;
        if (importer is { HasMoveNotify: false })
        {
            Machine.Violations.Report(task, DmaBufRules.DynamicImporter, $"{device} attaches");
            return -Errno.EINVAL;
        }
        if (!Machine.KernelMemory.TryCharge(TableCost))
            return -Errno.ENOMEM;
        var made = new DmaBufAttachment(this, importer, device);
        while (true)
        {
            int error = made.IsDynamic != IsDynamic ? Exporter.Prepare(task) : 0;
            if (error == 0)
                error = AttachLocked(task, made);
            if (error == 0)
                attachment = made;
            else if (error != -Errno.EAGAIN)
                Machine.KernelMemory.Uncharge(TableCost);
            if (error != -Errno.EAGAIN)
                return error;
        }
    }

    private int AttachLocked(Task task, DmaBufAttachment made)
    {
        using Tasks.Locks.Mutex.Scope scope = Resv.Lock.Enter(task);
        if (made.IsDynamic != IsDynamic)
        {
            int error = IsDynamic ? Pin(task, made) : 0;
            if (error == 0)
            {
                error = Exporter.Map(task, made, DmaDirection.Bidirectional, out SgTable? table);
                made.Cached = table;
            }
            if (error != 0)
            {
                Unpin(task, made);
                return error;
            }
            Machine.DmaBufs.Count(DmaBufCounter.Maps);
        }
        _attachments.Add(made);
        return 0;
    }

    /// <summary>dma_buf_detach.</summary>
    public void Detach(Task? task, DmaBufAttachment attachment)
    {
        using Tasks.Locks.Mutex.Scope scope = Resv.Lock.Enter(task);
        if (attachment.Cached is { } table)
        {
            attachment.Cached = null;
            Exporter.Unmap(task, attachment, table);
        }
        Unpin(task, attachment);
        _attachments.Remove(attachment);
        Machine.KernelMemory.Uncharge(TableCost);
    }

    private int Pin(Task? task, DmaBufAttachment attachment)
    {
        int error = Exporter.Pin(task, attachment);
        attachment.IsPinned = error == 0;
        return error;
    }

    private void Unpin(Task? task, DmaBufAttachment attachment)
    {
        if (!attachment.IsPinned)
            return;
        Exporter.Unpin(task, attachment);
        attachment.IsPinned = false;
    }

    /// <summary>dma_buf_map_attachment. The caller holds the dma_resv.</summary>
    /// <returns>0; -EBUSY: a mapping is kept that goes another way; or the exporter's error.</returns>
    public int Map(Task? task, DmaBufAttachment attachment, DmaDirection direction, out SgTable? table)
    {
        RequireLocked(task);
        table = attachment.Cached;
        if (table is not null)
        {
            if (table.Direction == direction || table.Direction == DmaDirection.Bidirectional)
                return 0;
            table = null;
            return -Errno.EBUSY;
        }
        int error = Exporter.Map(task, attachment, direction, out table);
        if (error != 0)
            return error;
        Machine.DmaBufs.Count(DmaBufCounter.Maps);
        // A static importer does not know of fences that say when the kernel has moved the buffer.
        if (!attachment.IsDynamic && Resv.Wait(task, DmaResvUsage.Kernel, interruptible: true) != WaitResult.Ok)
        {
            Exporter.Unmap(task, attachment, table!);
            table = null;
            return -Errno.ERESTARTSYS;
        }
        if (Exporter.CachesMappings)
            attachment.Cached = table;
        return 0;
    }

    /// <summary>dma_buf_unmap_attachment. The caller holds the dma_resv.</summary>
    public void Unmap(Task? task, DmaBufAttachment attachment, SgTable table)
    {
        RequireLocked(task);
        if (attachment.Cached == table)
            return;
        Exporter.Unmap(task, attachment, table);
        Machine.DmaBufs.Count(DmaBufCounter.Unmaps);
    }

    /// <summary>Tells all dynamic importers that the buffer moves (dma_buf_move_notify). The caller holds the dma_resv.</summary>
    public void MoveNotify(Task? task)
    {
        RequireLocked(task);
        foreach (DmaBufAttachment attachment in _attachments)
        {
            if (attachment.Importer is not { } importer)
                continue;
            Machine.DmaBufs.Count(DmaBufCounter.MoveNotifies);
            importer.MoveNotify(task, attachment);
        }
    }

    /// <summary>dma_buf_begin_cpu_access, or its end: waits for devices that are at work with the buffer.</summary>
    public int CpuAccess(Task task, DmaDirection direction, bool begin)
    {
        if (!begin)
            return Exporter.EndCpuAccess(task, direction);
        int error = Exporter.BeginCpuAccess(task, direction);
        if (error != 0)
            return error;
        bool write = direction != DmaDirection.FromDevice;
        return Resv.Wait(task, DmaResv.Before(write), interruptible: true) == WaitResult.Ok ? 0 : -Errno.ERESTARTSYS;
    }

    /// <summary>The last descriptor and mapping are gone; devices let go of it before.</summary>
    public void Release(Task? task)
    {
        Resv.Wait(task, DmaResvUsage.Bookkeep, interruptible: false);
        Exporter.Release(task);
        Machine.DmaBufs.Count(DmaBufCounter.Releases);
    }

    /// <summary>dma_resv_assert_held.</summary>
    private void RequireLocked(Task? task)
    {
        if (!Resv.Lock.IsHeld)
            Machine.Violations.Report(task, DmaBufRules.ResvHeld, $"a buffer of {ExporterName}");
    }
}
