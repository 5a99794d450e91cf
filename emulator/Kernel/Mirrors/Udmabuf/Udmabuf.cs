using Emulator.Hardware.Memory;
using Emulator.Kernel.Memory;
using Emulator.Kernel.Tasks;

namespace Emulator.Kernel.Mirrors;

/// <summary>A buffer made of pages of memfds (drivers/dma-buf/udmabuf.c, <c>struct udmabuf</c>); the designs derive from it.</summary>
/// <remarks>In bounds: a buffer has pages up to size_limit_mb, counted in the kernel's memory; a page of it is compared with the count where a program names one, and one of a file with what the item has of it.</remarks>
internal abstract class Udmabuf : DmaBufExporter
{
    private bool _cpuMapped;

    protected Udmabuf(Machine machine, UdmabufItem[] items)
    {
        Machine = machine;
        Items = items;
        PageCount = items[^1].Start + items[^1].Pages;
        // The device has asked whether there is room, and has compared the count with size_limit_mb.
        machine.KernelMemory.Charge(Cost);
        Area = new UdmabufMapping(this, machine.Pages, PageCount << Pfn.Shift);
    }

    public Machine Machine { get; }

    public UdmabufItem[] Items { get; }

    public ulong PageCount { get; }

    /// <summary>The buffer; set once it is exported.</summary>
    public DmaBuf Buffer { get; set; } = null!;

    public override DeviceMapping Mapping => Area;

    protected UdmabufMapping Area { get; }

    protected PageAllocator Pages => Machine.Pages;

    /// <summary>Whether holes of hugetlb files are filled when a buffer is made (memfd_pin_folios), or refused.</summary>
    protected bool FillsHuge => Machine.Options.Profile != KernelProfile.V6_1;

    /// <summary>Takes the pages; whatever it returns, <see cref="Release"/> gives back what was taken.</summary>
    /// <param name="task">Who makes the buffer.</param>
    public abstract int Populate(Task task);

    /// <summary>The fault of a mapping: <see cref="DeviceMapping.Fault"/>.</summary>
    public abstract FaultOutcome Fault(Task? task, Vma vma, ulong address, ulong page);

    public virtual FaultOutcome Prepare(Task? task, ulong page) => FaultOutcome.BusError;

    public UdmabufItem ItemOf(ulong page)
    {
        int low = 0, high = Items.Length - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            if (Items[middle].Start <= page)
                low = middle;
            else
                high = middle - 1;
        }
        return Items[low];
    }

    /// <summary>The page of the buffer's file that a page of the buffer is.</summary>
    protected int Lookup(Task? task, ulong page, bool fillHuge, out Pfn frame)
    {
        UdmabufItem item = ItemOf(page);
        int error = item.Lookup(task, item.First + (page - item.Start), fillHuge, out frame);
        if (error == 0)
            Machine.DmaBufs.Count(DmaBufCounter.Acquired);
        return error;
    }

    public override bool IsCurrent(ulong page, Pfn frame) => ItemOf(page).Holds(Pages, page, frame);

    protected SgTable MakeTable(Pfn[] frames, DmaDirection direction, bool pinned = false) =>
        new(frames, [.. frames.Select(frame => Pages[frame].Generation)], direction) { IsPinned = pinned };

    /// <summary>Reports that pages left the file and that these users keep them.</summary>
    protected void ReportKept(ulong first, ulong last, string who)
    {
        UdmabufMode mode = Machine.Options.Udmabuf.Mode;
        string pages = first == last ? $"page {first}" : $"pages {first} to {last}";
        Machine.DmaBufs.Report($"{pages} of a buffer of {PageCount} left the file; {who} keep{(who.EndsWith(')') ? "s" : "")} the old ones",
            byDesign: mode.Soundness != UdmabufSoundness.Unsound);
    }

    /// <summary>begin_cpu_udmabuf: the first call maps the buffer for the driver's own device.</summary>
    public override int BeginCpuAccess(Task task, DmaDirection direction)
    {
        _cpuMapped = true;
        return 0;
    }

    /// <summary>end_cpu_udmabuf.</summary>
    public override int EndCpuAccess(Task task, DmaDirection direction) => _cpuMapped ? 0 : -Errno.EINVAL;

    private long Cost => (long)PageCount * KernelMemory.BufferPage;

    public override void Release(Task? task)
    {
        Machine.KernelMemory.Uncharge(Cost);
        Area.Free();
    }
}

/// <summary>What a program maps of a buffer.</summary>
internal sealed class UdmabufMapping(Udmabuf buffer, PageAllocator pages, ulong bytes) : DeviceMapping(pages, bytes)
{
    internal override FaultOutcome Fault(Task? task, Vma vma, ulong address, ulong index, bool write) =>
        index >= buffer.PageCount ? FaultOutcome.BusError : buffer.Fault(task, vma, address, index);

    internal override FaultOutcome Prepare(Task? task, ulong index, bool write) => buffer.Prepare(task, index);
}
