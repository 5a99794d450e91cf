using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>A piece of a device's memory (dmirror_chunk).</summary>
internal sealed class DmirrorChunk(DmirrorDevice device) : DevPagemap(device)
{
    /// <summary>In bounds: by frames of the chunk, for <see cref="DeviceMemory.Find"/> has led here.</summary>
    private readonly Pfn[] _backing = new Pfn[DmirrorDevice.ChunkPages];
    private int _used;

    /// <summary>Pages in use.</summary>
    public int UsedPages => Volatile.Read(ref _used);

    public Pfn BackingOf(Pfn frame) => _backing[(int)(frame.Value - First.Value)];

    public void SetBacking(Pfn frame, Pfn backing)
    {
        _backing[(int)(frame.Value - First.Value)] = backing;
        Interlocked.Increment(ref _used);
    }

    public Pfn TakeBacking(Pfn frame)
    {
        Pfn backing = BackingOf(frame);
        _backing[(int)(frame.Value - First.Value)] = default;
        Interlocked.Decrement(ref _used);
        return backing;
    }

    public override void PageFree(Pfn frame) => device.Free(this, frame);

    /// <summary>dmirror_devmem_fault.</summary>
    public override FaultOutcome MigrateToRam(Task? task, Vma vma, ulong address, Pfn frame)
    {
        var args = new MigrateVma(vma, address, address + Pfn.Size)
        {
            PagemapOwner = device,
            Select = MigrateVmaSelect.DevicePrivate,
            FaultPage = frame,
        };
        if (args.Setup(task) != 0)
            return FaultOutcome.BusError;
        bool enough = device.CopyToSystem(task, args);
        args.MigratePages(task);
        args.Complete(task);
        return enough ? FaultOutcome.Done : FaultOutcome.OutOfMemory;
    }

    /// <summary>
    /// Moves all pages of the chunk to the machine's memory, wherever they are mapped (dmirror_device_evict_chunk); tries again as long as some go.
    /// Mirrors hear of it as of any change.
    /// </summary>
    public void Evict(Task task)
    {
        MemorySystem system = device.Machine.MemorySystem;
        var source = new MigratePfn[DmirrorDevice.ChunkPages];
        var destination = new MigratePfn[DmirrorDevice.ChunkPages];
        for (int before = int.MaxValue; UsedPages > 0 && UsedPages < before;)
        {
            before = UsedPages;
            MigrateDevice.Setup(task, system, First, source);
            for (int i = 0; i < source.Length; i++)
                destination[i] = source[i].Migrate && device.TryCopyToSystem(source[i].Frame, out MigratePfn copy) ? copy : default;
            MigrateDevice.MigratePages(task, system, source, destination);
            MigrateDevice.Complete(task, system, source, destination);
            task.PreemptionPoint();
        }
    }
}
